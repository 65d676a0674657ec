"""The provenance of results: the command, the machine, and the versions of the software."""

import importlib.metadata
import os
import platform
import shlex
import sys
from pathlib import Path
from typing import Any

from .. import __version__

LIBRARIES = ("numpy", "scipy", "keras", "tensorflow", "tensorflow-cpu", "jax")


def of_this_run(device: str) -> dict[str, Any]:
    """The provenance that files record: {"command", "machine", "versions"}.

    device   description of the devices that the networks run on
    """
    return {"command": command(), "machine": f"{cpu_model()}; {device}", "versions": versions()}


def command() -> str:
    """The command of this process, as a user would type it."""
    given = sys.argv[1:]
    for k, word in enumerate(given[:-1]):
        if word in ("-d", "--data"):    # train.sbatch reads a copy on the node, which is deleted after the job
            given[k + 1] = os.environ.get("BG_DATA_FROM", given[k + 1])
    name = Path(sys.argv[0]).name
    return shlex.join(["biogans" if name == "__main__.py" else name, *given])


def cpu_model() -> str:
    """Name of the processor on Linux, its kind on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def versions() -> dict[str, str]:
    """{name: version} of BioGANs, Python and the libraries on which numerical results depend."""
    found = {name: importlib.metadata.version(name) for name in LIBRARIES
             if any(True for _ in importlib.metadata.distributions(name=name))}
    return {"biogans": __version__, "python": platform.python_version(), **found}
