"""Run a copy of this folder (`cp $BG_SRC/* .; python train.py`) together with the rest of the installation.

Any `python3` may read this file, and train.py, predict.py and visualize.py, before the right one is found: they use no
syntax newer than Python 3.6.
"""

import os
import sys
from pathlib import Path


def run_copy(script: str) -> None:
    """Run the command of this name, with the script's folder as `biogans.core`, from any working directory.

    The rest of BioGANs comes from the loaded module (BG_HOME), or from what is installed in this Python. No file of the
    copy can hide a library of the same name.
    """
    folder = Path(script).resolve().parent
    os.environ["BG_SRC"] = str(folder)
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != folder]
    if (folder.parent / "commands.py").is_file():           # not a copy but the installation's own folder
        sys.path.insert(0, str(folder.parents[1]))
    elif "BG_HOME" in os.environ:
        sys.path.insert(0, os.path.join(os.environ["BG_HOME"], "src"))
    try:
        from biogans import commands
    except ImportError:
        sys.exit("{}: this copy needs an installation of BioGANs: load its module (module load biogans), or use a "
                 "Python that has biogans ({} does not)".format(Path(script).name, sys.executable))
    commands.run(Path(script).stem)
