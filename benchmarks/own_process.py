"""Run measurements in a process of their own, so that its peak memory is theirs alone."""

import concurrent.futures
import multiprocessing
import resource
from pathlib import Path


def measured(function, *arguments):
    """Call `function`, which returns a dict, in a new process; return its result with the process's "peak_mb"."""
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_with_peak, function, arguments).result()


def _with_peak(function, arguments):
    result = function(*arguments)
    return {"peak_mb": megabytes("VmHWM"), **result}


def megabytes(kind):
    """Memory of this process in MB: "VmHWM" is its peak, "RssAnon" its current memory without mapped files."""
    try:
        status = Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(kind)) / 1024
    except OSError:             # not Linux: always the peak
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
