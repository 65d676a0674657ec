"""Keras and TensorFlow or JAX, imported at their first use: that takes seconds, and `--help` needs neither."""

import contextlib
import gc
import importlib
import importlib.util
import logging
import os
import sys
from collections.abc import Iterator
from typing import Any

from .errors import InputError

BACKENDS = ("tensorflow", "jax")
# What Keras with TensorFlow also imports if it is installed, for parts that are not used here.
SPARED = ("jax", "matplotlib", "pandas", "scipy", "sklearn")
Tensor = Any            # for type hints: a tensor of the backend, …
Network = Any           # … keras.Model, …
Variable = Any          # … keras.Variable

os.environ["KERAS_BACKEND"] = os.environ.get("KERAS_BACKEND") or "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if os.environ["KERAS_BACKEND"] == "jax":    # Keras would import TensorFlow only to recognise its tensors
    sys.modules.setdefault("tensorflow", None)      # type: ignore[arg-type]  # None makes the import fail
if "SLURM_CPUS_PER_TASK" in os.environ:     # TensorFlow reads this variable on import; without it, it takes all cores
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", os.environ["SLURM_CPUS_PER_TASK"])
for library in ("tensorflow", "absl"):      # advice to programmers, for example that HDF5 is a legacy format
    logging.getLogger(library).setLevel(logging.ERROR)


class _AtFirstUse:
    """A module that is imported when one of its attributes is first used."""

    def __init__(self, name):
        self._name = name

    def __getattr__(self, attribute):
        if self._name not in sys.modules:
            spared = SPARED if self._name != "jax" and os.environ["KERAS_BACKEND"] == "tensorflow" else ()
            with silenced_standard_error(), no_garbage_collection(), _absent(spared):
                importlib.import_module(self._name)
            gc.freeze()         # what was imported stays to the end, when visiting it again would take a second
        return getattr(sys.modules[self._name], attribute)


@contextlib.contextmanager
def _absent(names):
    """Let imports of these libraries fail, unless they are already imported."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))       # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextlib.contextmanager
def silenced_standard_error() -> Iterator[None]:
    """Discard what libraries written in C++ print to standard error, past Python and before they read log settings."""
    sys.stderr.flush()
    saved = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def backend() -> str:
    """The backend of Keras that KERAS_BACKEND names. Raises InputError if it is not in BACKENDS, or not installed."""
    name = os.environ["KERAS_BACKEND"]
    if name not in BACKENDS:
        raise InputError(f"KERAS_BACKEND={name}: BioGANs runs on {' or '.join(BACKENDS)}: set it to one of these")
    if importlib.util.find_spec(name) is None:
        raise InputError(f"KERAS_BACKEND={name}, and {sys.executable} has no {name}: install it (pip install "
                         f"'biogans[{name}]'), or set KERAS_BACKEND to another of {', '.join(BACKENDS)}")
    return name


@contextlib.contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Suspend garbage collection for imports and traces, which create a million objects and no garbage.

    It saves up to a quarter of the time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextlib.contextmanager
def float32() -> Iterator[None]:
    """Build networks that compute in float32, whatever the precision of a training in this process."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


@contextlib.contextmanager
def without_values() -> Iterator[None]:
    """Build networks whose variables have shapes, but neither values nor memory until the block ends without an error.

    A small file may describe a huge network: compare its arrays with the variables in this block.
    """
    with keras.StatelessScope() as scope:
        try:
            yield
        except BaseException:
            scope.initialize_variables = False
            keras.utils.clear_session()         # otherwise the next such scope would give these variables values
            raise


def threads() -> int:
    """Number of threads that compute: as many as the job was given, else one for each core this process may use."""
    return int(os.environ.get("TF_NUM_INTRAOP_THREADS", 0)) or len(os.sched_getaffinity(0))


keras = _AtFirstUse("keras")
tensorflow = _AtFirstUse("tensorflow")
jax = _AtFirstUse("jax")
