"""Start a command with the right Python and the right sources, and report user errors in one line.

Any `python3` may read this file before the right one is found, so it uses no syntax newer than Python 3.6.
"""

import csv
import errno
import importlib.util
import os
import re
import select
import signal
import sys
import traceback
from pathlib import Path
from typing import Any, Callable

from . import surroundings

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
READER_GONE = 128 + signal.SIGPIPE      # exit status if nobody reads the output any more, as of `yes | head`
PACKAGE = Path(__file__).resolve().parents[1]
INSTALLED_CORE = PACKAGE / "core"


def hold_stop_signals() -> None:
    """Block requests to stop until a StopRequest can handle them, through imports and a restart with another Python."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


def use_installed_python() -> None:
    """Restart this command in the virtual environment of the installation, if there is one and it does not run yet.

    It then ignores the environment variables of Python, which other modules set for other versions. Without a virtual
    environment, restart only a Python that drops docstrings, or whose texts are not UTF-8.
    """
    python = PACKAGE.parents[1] / ".venv" / "bin" / "python"
    if os.access(str(python), os.X_OK) and Path(sys.executable).parent != python.parent:
        _restart([str(python), "-I"], [str(PACKAGE.parents[1] / "bin" / "biogans")])
    elif sys.flags.optimize > 1 or sys.getfilesystemencoding().lower() not in ("utf-8", "utf8"):
        _restart([sys.executable], ["-m", "biogans"])


def _restart(python, module):
    """Restart with another Python, or other options; `module` are the words that start this package as a program."""
    script = module if Path(sys.argv[0]).name == "__main__.py" else sys.argv[:1]
    environment = {name: value for name, value in os.environ.items()
                   if not surroundings.changes_python(name) or name == "PYTHONPATH" and "-I" not in python}
    os.execve(python[0], python + ["-B", "-X", "utf8"] + script + sys.argv[1:], environment)


def use_edited_core() -> None:
    """Import `biogans.core` from the folder BG_SRC if it is a copy, which the user may have edited.

    The core of an installation, to which a loaded module sets BG_SRC, is no copy: each installation runs its own core.
    Raises InputError if the copy is incomplete.
    """
    folder = Path(os.environ.get("BG_SRC") or INSTALLED_CORE).resolve()
    if (folder.parent / "commands.py").is_file():
        return
    from .errors import InputError

    missing = [path.name for path in sorted(INSTALLED_CORE.glob("*.py")) if not (folder / path.name).is_file()]
    if missing:
        raise InputError("BG_SRC={}: this folder lacks {}: copy all sources into it (cp {}/* {}), or unset "
                         "BG_SRC".format(folder, ", ".join(missing), INSTALLED_CORE, folder))
    spec = importlib.util.spec_from_file_location("biogans.core", str(folder / "__init__.py"),
                                                  submodule_search_locations=[str(folder)])
    assert spec is not None and spec.loader is not None
    core = importlib.util.module_from_spec(spec)
    sys.modules["biogans.core"] = core
    setattr(sys.modules["biogans"], "core", core)       # noqa: B010 (the package has no such attribute yet)
    spec.loader.exec_module(core)


def run(command: Callable[[Any], Any], options: Any) -> int:
    """Call `command(options)`, and return the exit status for the process.

    A user error (InputError, a folder that can't be written, a full disk, an input that exhausts the memory or that no
    reader understands) becomes one line on standard error and status 2; an interrupt before there is anything to save
    becomes status 130; output into a pipe whose reader has left, as in `| head -1`, becomes status 141, without a
    traceback.
    """
    status = 0
    try:
        try:
            status = _status(command, options)
            return status
        finally:
            sys.stdout.flush()      # a short output, or that of -h, meets the closed pipe only here
    except BrokenPipeError:
        unread = [_drop_unread_output(stream) for stream in (sys.stdout, sys.stderr)]
        if not any(unread):
            raise
        return READER_GONE
    except OSError as problem:          # as in `biogans … > file` on a full disk
        if problem.errno not in _DISK_PROBLEMS:
            raise
        _discard_output(sys.stdout.fileno())
        return status or _report_disk_problem(problem, "the output")


def _status(command, options):
    """The exit status of `command(options)`; user errors are reported."""
    from .errors import InputError

    try:
        return command(options) or 0
    except InputError as mistake:
        return fail(mistake)
    except OSError as problem:
        if problem.errno == errno.ENOENT and _folder_is_gone():
            return fail("this folder has been removed: cd to another one")
        if isinstance(problem, BrokenPipeError) or problem.errno not in _DISK_PROBLEMS:
            raise
        return _report_disk_problem(problem, "the output folder")
    except KeyboardInterrupt:
        return 130
    except Exception as problem:
        if isinstance(problem, MemoryError) or re.search("ResourceExhausted|RESOURCE_EXHAUSTED", repr(problem)):
            return fail("out of memory: ask for more, or for less at a time, such as smaller batches or images")
        if not isinstance(problem, _BAD_INPUT):
            raise
        return fail("an input can't be read ({}: {}; in {}): look for a file that is damaged, not UTF-8, or from "
                    "elsewhere".format(type(problem).__name__, str(problem)[:200], _place(problem)))


def _place(problem):
    """Where an exception was raised, as "function, file.py line 7"."""
    last = traceback.extract_tb(problem.__traceback__)[-1]
    return "{}, {} line {}".format(last.name, Path(last.filename).name, last.lineno)


def _folder_is_gone():
    """Whether the current folder has been removed, perhaps from another machine."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def _report_disk_problem(problem, place):
    """Report an OSError that the user can cure; `place` is where it happened if it names no file."""
    where = problem.filename or place
    return fail("{}: {}; {}".format(where, os.strerror(problem.errno), _DISK_PROBLEMS[problem.errno]))


def _drop_unread_output(stream):
    """Whether a stream is a pipe without a reader; if so, all that is still written to it is discarded.

    Otherwise the interpreter would meet the pipe again when it ends, and print a traceback.
    """
    try:
        number = stream.fileno()
    except (AttributeError, OSError, ValueError):       # no stream, or one in memory
        return False
    poll = select.poll()
    poll.register(number, 0)
    gone = any(event & select.POLLERR for _, event in poll.poll(0))
    if gone:
        _discard_output(number)
    return gone


def _discard_output(number):
    """Discard all that is still written to the stream with this file number."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)


def announce() -> None:
    """Print the version, and the folder of the sources of the core, which may be the user's edited copy."""
    from .. import __version__, core

    sources = Path(core.__file__).resolve().parent
    print("biogans {}, sources in {}".format(__version__, sources), flush=True)
    if Path("train.py").is_file() and Path("models.py").is_file() and not sources.samefile("."):
        variable = "APPTAINERENV_BG_SRC" if "APPTAINER_CONTAINER" in os.environ else "BG_SRC"
        print("(the copy of the sources in this folder is not used: to use it, export {}=$PWD)".format(variable),
              flush=True)


def program() -> str:
    """The name of the command in its messages: "train.py" or "biogans evaluate"."""
    name = Path(sys.argv[0]).name
    return " ".join(["biogans"] + sys.argv[1:2]) if name in ("biogans", "__main__.py") else name


def fail(message: Any) -> int:
    """Print a user error as one line on standard error, and return its exit status."""
    print("{}: {}".format(program(), surroundings.harmless(" ".join(str(message).split()))), file=sys.stderr)
    return 2


# What readers raise on text of another encoding, numbers beyond 64 bits, and nesting beyond what Python follows.
_BAD_INPUT = (csv.Error, OverflowError, RecursionError, UnicodeError)
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
