"""Start a command under the right Python and from the right sources; report user errors in one line.

Any `python3` may read this file before the right one is found: it uses no syntax newer than Python 3.6.
"""

import errno
import importlib.util
import os
import signal
import sys
from pathlib import Path

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
PACKAGE = Path(__file__).resolve().parents[1]
INSTALLED_CORE = PACKAGE / "core"


def hold_stop_signals():
    """Block requests to stop until train() can answer them: they survive the imports and a restart under another Python."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


def use_installed_python():
    """Restart this command under the virtual environment of the installation, if it has one that does not run already."""
    python = PACKAGE.parents[1] / ".venv" / "bin" / "python"
    if python.exists() and Path(sys.executable).parent != python.parent:
        os.execv(str(python), [str(python)] + sys.argv)


def use_edited_core():
    """Take `biogans.core` from the folder BG_SRC, if that is a copy that the user may have edited. Raises InputError.

    The core of an installation, as a loaded module sets it, is no copy: each installation runs its own.
    """
    folder = Path(os.environ.get("BG_SRC") or INSTALLED_CORE).resolve()
    if (folder.parent / "commands.py").is_file():
        return
    from .errors import InputError
    missing = [path.name for path in sorted(INSTALLED_CORE.glob("*.py")) if not (folder / path.name).is_file()]
    if missing:
        raise InputError("BG_SRC={}: this folder lacks {}: copy all sources into it (cp {}/* {}), or unset BG_SRC".format(
            folder, ", ".join(missing), INSTALLED_CORE, folder))
    spec = importlib.util.spec_from_file_location("biogans.core", str(folder / "__init__.py"),
                                                  submodule_search_locations=[str(folder)])
    core = importlib.util.module_from_spec(spec)
    sys.modules["biogans.core"] = sys.modules["biogans"].core = core
    spec.loader.exec_module(core)


def run(command, options):
    """Call `command(options)` and return the exit status of the process.

    A user error (InputError, a folder that can't be written, a full disk) is one line on standard error and status 2;
    an interrupt before there is anything to save is status 130.
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
    """Print the version, and the folder of the core sources that run: the user may have edited a copy."""
    from .. import __version__, core
    sources = Path(core.__file__).resolve().parent
    print("biogans {}, sources in {}".format(__version__, sources), flush=True)
    if Path("train.py").is_file() and Path("models.py").is_file() and not sources.samefile("."):
        print("(the copy of the sources in this folder does not run: for that, export BG_SRC=$PWD)", flush=True)


def program():
    """The command as its messages name it: "train.py", or "biogans evaluate"."""
    name = Path(sys.argv[0]).name
    return " ".join(["biogans"] + sys.argv[1:2]) if name in ("biogans", "__main__.py") else name


def fail(message):
    """Print the one line that a user sees, and return the exit status that goes with it."""
    print("{}: {}".format(program(), " ".join(str(message).split())), file=sys.stderr)
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
