"""Keras and TensorFlow, imported at their first use: they take 3 s and 500 MB, and `--help` needs neither."""

import contextlib
import importlib
import logging
import os
import sys

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
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
            with _silenced_standard_error():
                importlib.import_module(self._name)
        return getattr(sys.modules[self._name], attribute)


@contextlib.contextmanager
def _silenced_standard_error():
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


keras = _AtFirstUse("keras")
tensorflow = _AtFirstUse("tensorflow")
