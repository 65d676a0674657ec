"""Measurements in a process of their own, whose peak memory is theirs alone."""

import concurrent.futures
import multiprocessing
import resource
from pathlib import Path


def measured(function, *arguments):
    """`function(*arguments)`, a dict, computed in a fresh process, with that process's "peak_mb"."""
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_with_peak, function, arguments).result()


def _with_peak(function, arguments):
    result = function(*arguments)
    return {"peak_mb": megabytes("VmHWM"), **result}


def megabytes(kind):
    """Memory of this process: "VmHWM" is the peak, "RssAnon" the present one without mapped files."""
    try:
        status = Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(kind)) / 1024
    except OSError:             # no Linux: the peak of all
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
