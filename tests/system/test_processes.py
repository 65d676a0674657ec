"""Pools of worker processes."""

import os
import subprocess
import sys

import pytest

from biogans.system.processes import process_pool
from conftest import TEST_MODULES

WORK = """
import multiprocessing, os, signal, sys, time
from biogans.system.processes import process_pool

def nothing(): pass
def deaf(): signal.signal(signal.SIGTERM, signal.SIG_IGN)

if __name__ == "__main__":
    pool = process_pool(3, sys.argv[1], globals()[sys.argv[2]])
    work = [pool.submit(time.sleep, 600) for _ in range(3)]
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("set_up", ["nothing", "deaf"])
def test_workers_end_with_a_killed_parent(tmp_path, method, set_up):
    """Their standard output, a pipe, is closed when the last one has ended."""
    script = tmp_path / "work.py"
    script.write_text(WORK)
    done = subprocess.run([sys.executable, script, method, set_up], capture_output=True, text=True, timeout=60,
                          env=os.environ | TEST_MODULES)
    assert len(done.stdout.split()) == 3, done.stderr


def test_results_of_processes():
    with process_pool(2, "spawn", int) as pool:
        assert list(pool.map(abs, range(-5, 0))) == [5, 4, 3, 2, 1]
