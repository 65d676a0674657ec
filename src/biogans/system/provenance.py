"""Where a result comes from: the command, the machine, and the versions of what computed it."""

import importlib.metadata
import os
import platform
import shlex
import sys
from pathlib import Path

from .. import __version__

LIBRARIES = ("numpy", "scipy", "keras", "tensorflow", "tensorflow-cpu", "jax")


def of_this_run(device):
    """What a file says of the run that wrote it; `device` is what the networks run on, in words."""
    return {"command": command(), "machine": f"{cpu_model()}; {device}", "versions": versions()}


def command():
    """The command of this process, as one would type it."""
    given = sys.argv[1:]
    for k, word in enumerate(given[:-1]):
        if word in ("-d", "--data"):    # train.sbatch reads a copy on the node, which goes with the job
            given[k + 1] = os.environ.get("BG_DATA_FROM", given[k + 1])
    return shlex.join([Path(sys.argv[0]).name, *given])


def cpu_model():
    """The processor's name, where the system is Linux; elsewhere its kind."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def versions():
    """{name: version} of what the numbers depend on."""
    found = {name: importlib.metadata.version(name) for name in LIBRARIES
             if any(True for _ in importlib.metadata.distributions(name=name))}
    return {"biogans": __version__, "python": platform.python_version(), **found}
