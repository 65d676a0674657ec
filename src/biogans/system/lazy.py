"""Keras and TensorFlow or JAX, imported at their first use: they take 3 s and 500 MB, and `--help` needs neither."""

import contextlib
import gc
import importlib
import importlib.util
import logging
import os
import sys

from .errors import InputError

BACKENDS = ("tensorflow", "jax")

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if os.environ["KERAS_BACKEND"] == "jax":    # Keras would import TensorFlow only to ask whether a thing is its tensor
    sys.modules.setdefault("tensorflow", None)
if "SLURM_CPUS_PER_TASK" in os.environ:         # TensorFlow reads it once, when it is imported, and else takes all cores
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", os.environ["SLURM_CPUS_PER_TASK"])
for library in ("tensorflow", "absl"):      # advice to programmers, such as that HDF5 is an old format
    logging.getLogger(library).setLevel(logging.ERROR)


class _AtFirstUse:
    """Stands for a module until one of its attributes is asked for."""

    def __init__(self, name):
        self._name = name

    def __getattr__(self, attribute):
        if self._name not in sys.modules:
            with silenced_standard_error(), no_garbage_collection():
                importlib.import_module(self._name)
        return getattr(sys.modules[self._name], attribute)


@contextlib.contextmanager
def silenced_standard_error():
    """TensorFlow's C++ code writes there before it reads any log setting, and an error of ours is one line."""
    sys.stderr.flush()
    saved = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def backend():
    """What Keras runs on: a name in BACKENDS, from KERAS_BACKEND. Raises InputError for another or a missing one."""
    name = os.environ["KERAS_BACKEND"]
    if name not in BACKENDS:
        raise InputError(f"KERAS_BACKEND={name}: BioGANs runs on {' or '.join(BACKENDS)}: set it to one of these")
    if importlib.util.find_spec(name) is None:
        raise InputError(f"KERAS_BACKEND={name}, and {sys.executable} has no {name}: install it (pip install "
                         f"'biogans[{name}]'), or set KERAS_BACKEND to another of {', '.join(BACKENDS)}")
    return name


@contextlib.contextmanager
def no_garbage_collection():
    """For work that makes a million objects and no garbage, such as an import or a trace: up to a quarter less time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def threads():
    """How many threads compute: as many as the job was given, else one for each core that this process may use."""
    return int(os.environ.get("TF_NUM_INTRAOP_THREADS", 0)) or len(os.sched_getaffinity(0))


keras = _AtFirstUse("keras")
tensorflow = _AtFirstUse("tensorflow")
jax = _AtFirstUse("jax")
