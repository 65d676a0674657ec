"""Run a copy of this folder (`cp $BG_SRC/* .; python train.py`) with the rest of the installation around it.

Any `python3` may read this file before the right one is found: it uses no syntax newer than Python 3.6.
"""

import os
import sys
from pathlib import Path


def run_copy(script):
    """Run the command of this name with the script's folder as `biogans.core`, from any working directory.

    The rest of BioGANs is that of the loaded module (BG_HOME), or what this Python has installed. No file of the copy
    hides a library of the same name.
    """
    folder = Path(script).resolve().parent
    os.environ["BG_SRC"] = str(folder)
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != folder]
    if (folder.parent / "commands.py").is_file():           # no copy: the installation's own folder
        sys.path.insert(0, str(folder.parents[1]))
    elif "BG_HOME" in os.environ:
        sys.path.insert(0, os.path.join(os.environ["BG_HOME"], "src"))
    try:
        from biogans import commands
    except ImportError:
        sys.exit("{}: no installation of BioGANs around this copy: load its module (module load biogans), or start it "
                 "with a Python that has biogans ({} has not)".format(Path(script).name, sys.executable))
    commands.run(Path(script).stem)
