"""Pools of worker processes that end with the process that started them, however it ends."""

import concurrent.futures
import multiprocessing
import os
import threading
from collections.abc import Callable


def process_pool(number: int, method: str, set_up: Callable[[], None]) -> concurrent.futures.Executor:
    """An executor with so many worker processes, or threads where the system can't connect processes.

    method   "fork" or "spawn"
    set_up   is called first in each process

    Processes are connected by semaphores, which Linux keeps in /dev/shm. Containers may lack it, or forbid to write
    there.
    """
    try:
        return concurrent.futures.ProcessPoolExecutor(number, multiprocessing.get_context(method), _begin, (set_up,))
    except (OSError, ImportError, NotImplementedError):
        return concurrent.futures.ThreadPoolExecutor(number)


def _begin(set_up):
    """Prepare a worker process."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    set_up()


def _end_with_parent():
    """End this process when its parent has ended: a killed parent could not end it, and its queue is never closed."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)
