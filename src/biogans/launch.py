"""Starting and ending a command: which sources run, which Python runs them, how a mistake is told.

This file is read by whatever `python3` a machine has before the right one is found: no syntax newer than Python 3.6.
"""

import errno
import importlib
import importlib.util
import os
import signal
import sys
from pathlib import Path

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


def run_copy(script):
    """Run a module of a copied source folder (`cp $BG_SRC/* .; python train.py`): that folder becomes the package.

    So the edited copy is what runs, from any working directory, and never the installed sources. A Python without
    our libraries is exchanged for that of the loaded module (BG_HOME).
    """
    folder = Path(script).resolve().parent
    _let_signals_wait(Path(script).stem)
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != folder]
    spec = importlib.util.spec_from_file_location("biogans", str(folder / "__init__.py"),
                                                  submodule_search_locations=[str(folder)])
    package = importlib.util.module_from_spec(spec)
    sys.modules["biogans"] = package
    spec.loader.exec_module(package)
    if "BG_HOME" in os.environ and importlib.util.find_spec("keras") is None:
        _use_python_of(Path(os.environ["BG_HOME"]))
    sys.exit(_call(Path(script).stem))


def run_installed(command):
    """Run `biogans.<command>` of the installation, under the installation's own virtual environment if it has one."""
    home = Path(__file__).resolve().parents[2]
    _let_signals_wait(command)
    _use_python_of(home)
    sys.exit(_call(command))


def _let_signals_wait(command):
    """Until train() is there to answer them: requests to stop then survive the imports, and another Python's start."""
    if command == "train":
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


def _use_python_of(home):
    """Start this command again under the virtual environment of an installation, if it has one and it is another."""
    python = home / ".venv" / "bin" / "python"
    if python.exists() and Path(sys.executable).parent != python.parent:
        os.execv(str(python), [str(python)] + sys.argv)


def _call(command):
    """Call the main function of `biogans.<command>` and return the exit status."""
    if sys.version_info < (3, 10):
        return fail("{} is older than Python 3.10: run 'make' in the BioGANs folder".format(sys.executable))
    try:
        main = importlib.import_module("biogans." + command).main
    except ModuleNotFoundError as missing:
        if str(missing.name).startswith("biogans"):
            raise
        return fail("{} ({}): run 'make' in the BioGANs folder, or load its module".format(missing, sys.executable))
    except KeyboardInterrupt:
        return 130
    return main()


def run(command, options):
    """Call `command(options)` and return the exit status of the process.

    A user's mistake (InputError, a folder that can't be written, a full disk) is one line on standard error and
    status 2; an interrupt before there is anything to save is 130.
    """
    from .errors import InputError
    try:
        return command(options) or 0
    except InputError as mistake:
        return fail(mistake)
    except OSError as problem:
        if isinstance(problem, BrokenPipeError) or problem.errno not in _DISK_PROBLEMS:
            raise
        where = problem.filename or "the output folder"
        return fail("{}: {}; {}".format(where, os.strerror(problem.errno), _DISK_PROBLEMS[problem.errno]))
    except KeyboardInterrupt:
        return 130


def announce():
    """Print which version runs, and from which folder: a user may have edited a copy of it."""
    from . import __version__
    sources = Path(__file__).resolve().parent
    print("biogans {}, sources in {}".format(__version__, sources), flush=True)
    if Path("launch.py").is_file() and not sources.samefile("."):
        print("(the copy of the sources in this folder is not what runs: for that, type python {})".format(
            Path(sys.argv[0]).name), flush=True)


def fail(message):
    """Print the one line that a user sees, and return the exit status that goes with it."""
    print("{}: {}".format(Path(sys.argv[0]).name, " ".join(str(message).split())), file=sys.stderr)
    return 2


_DISK_PROBLEMS = {
    errno.ENOSPC: "make room on this disk and run the command again",
    errno.EDQUOT: "make room within your quota and run the command again",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EROFS: "choose a folder that you may write to",
    errno.EEXIST: "a file stands where a folder is needed: rename it or choose another folder",
    errno.ENOTDIR: "a file stands where a folder is needed: rename it or choose another folder",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EISDIR: "a folder stands where a file is needed: rename it or choose another name",
}
