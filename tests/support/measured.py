"""Peak memory of a command."""

import subprocess
import sys

# A child is a copy of its parent at first, with all its memory: so a small process starts the command.
SMALL_PARENT = """
import resource, signal, subprocess, sys
def limit():                        # a minute of computing, or ten of waiting: other programs may take the processor
    signal.setitimer(signal.ITIMER_PROF, 60)
    signal.alarm(600)
status = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL, preexec_fn=limit)
print(status, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def run_measured(command, **settings):
    """(exit status, peak memory in KB) of a command and of the processes that it waits for."""
    done = subprocess.run([sys.executable, "-c", SMALL_PARENT, *map(str, command)], stdout=subprocess.PIPE, text=True,
                          check=True, **settings)
    status, kilobytes = map(int, done.stdout.split())
    return status, kilobytes
