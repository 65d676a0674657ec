"""Run measurements in a process of their own, so that its peak memory is theirs alone."""

import concurrent.futures
import multiprocessing
import os
import resource
from pathlib import Path

PEAK, ANONYMOUS = "VmHWM", "RssAnon"    # peak of resident memory; current memory without mapped files
INTERVAL = 0.005                        # seconds between two samples of a memory that the system keeps no peak of


def measured(function, *arguments, memory=PEAK):
    """Call `function`, which returns a dict, in a new process; return its result with the process's "peak_mb".

    With memory=ANONYMOUS the peak is the largest of samples taken from outside, so that no thread disturbs the times.
    """
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        process, samples = pool.submit(os.getpid).result(), []
        call = pool.submit(_with_peak, function, arguments)
        while memory != PEAK and not call.done():
            samples.append(megabytes(memory, process))
            concurrent.futures.wait([call], INTERVAL)
        result = call.result()
    return result | ({"peak_mb": max(samples)} if any(samples) else {})


def _with_peak(function, arguments):
    result = function(*arguments)
    peak = megabytes(PEAK) or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20        # macOS reports bytes
    return {"peak_mb": peak, **result}


def megabytes(kind, process="self"):
    """Memory of a process in MB, by a name in /proc/PID/status; 0 where the system is not Linux."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith(kind)), 0.0)
