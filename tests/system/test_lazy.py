"""Imports of large libraries."""

import subprocess
import sys

from conftest import ROOT


def test_keras_comes_without_what_is_not_used_here():
    """Otherwise each command would wait for plots, statistics and JAX; all can still be imported later.

    Nor do collections visit the hundreds of thousands of objects of the import.
    """
    done = subprocess.run([sys.executable, "-c", "import gc, sys; from biogans.system.lazy import keras, SPARED\n"
                           "keras.Model; print([name for name in SPARED if name in sys.modules])\n"
                           "print(len(gc.get_objects()) < 10_000 < 100_000 < gc.get_freeze_count())\n"
                           "import scipy.ndimage, matplotlib.pyplot"],
                          cwd=ROOT / "src", capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("[]\nTrue\n", 0), done.stderr
