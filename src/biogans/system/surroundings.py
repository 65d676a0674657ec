"""Independence of a command from the shell that starts it: other modules' settings, closed streams, odd names.

Any `python3` may read this file before the right one is found, so it uses no syntax newer than Python 3.6.
"""

import contextlib
import importlib.abc
import importlib.machinery
import io
import logging
import os
import re
import site
import sys
import warnings
from typing import Any, Optional

# Terminals obey the first; the others change the direction of a text, or begin a line.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
CONTROL_BUT_BARS = re.compile("(?!\r|\x1b\\[A)" + CONTROL.pattern)         # tqdm returns to the start, and moves up
HARMLESS_WARNINGS = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)
OF_OTHER_PROGRAMS = ("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH", "KERAS_NNX_ENABLED")


def prepare_process() -> None:
    """Prepare the process of a command: its streams, the order of its libraries, and their settings.

    For the start of a program only. Python that imports BioGANs as a library keeps its settings.
    """
    _open_standard_streams()
    _prefer_installed_libraries()
    _ignore_settings()


def changes_python(variable: str) -> bool:
    """Whether a variable changes how Python runs. One that keeps folders out of BG_SRC does not count."""
    return variable.startswith("PYTHON") and variable != "PYTHONDONTWRITEBYTECODE"


def _open_standard_streams():
    """Open closed streams on the null device, and show control characters of names as text.

    Otherwise the next file to be opened would get the number of the closed stream, and all output.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)        # gets the lowest free number
    sys.stdin = sys.stdin or open(os.devnull)                               # noqa: SIM115 (open to the end)
    for name, hidden in (("stdout", CONTROL), ("stderr", CONTROL_BUT_BARS)):
        stream = getattr(sys, name) or open(os.devnull, "w")                # noqa: SIM115
        if type(stream) is io.TextIOWrapper:
            stream = _Harmless(stream, hidden)
        setattr(sys, name, stream)
        setattr(sys, "__{}__".format(name), stream)


def harmless(text: str, hidden: "re.Pattern[str]" = CONTROL) -> str:
    """A text with the `hidden` characters as they are written in Python, with a backslash."""
    def written(found):
        number = ord(found.group())
        return ("\\x{:02x}" if number < 256 else "\\u{:04x}").format(number)

    return hidden.sub(written, text)


class _Harmless(io.TextIOWrapper):
    """Takes the place of a text stream; writes what is `hidden` and what its encoding lacks with backslashes.

    A terminal obeys control characters, and any folder may have a name with such. Each line appears at once.
    """

    def __init__(self, stream, hidden):
        settings = {"encoding": stream.encoding, "write_through": getattr(stream, "write_through", False)}
        super().__init__(stream.detach(), errors="backslashreplace", line_buffering=True, **settings)
        self._hidden = hidden

    def write(self, text):
        super().write(harmless(text, self._hidden))
        return len(text)


def _prefer_installed_libraries():
    """Search PYTHONPATH and ~/.local after the libraries that this Python has installed.

    They are often of another module, or of another Python. If Keras is only there, they keep their place. Child
    processes search in the same order.
    """
    if sys.flags.ignore_environment:
        for name in filter(changes_python, list(os.environ)):
            del os.environ[name]
        return
    paths = os.environ["PYTHONPATH"].split(os.pathsep) if os.environ.get("PYTHONPATH") else []
    added = [os.path.abspath(path) for path in paths] + [site.getusersitepackages()]
    late = [entry for entry in sys.path if entry in added]
    own = [entry for entry in sys.path if entry not in late]
    if late and importlib.machinery.PathFinder.find_spec("keras", own):
        sys.path[:] = own + late
        os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)


def _ignore_settings():
    """Ignore settings of libraries that users make for other programs: they change networks or pictures."""
    if os.environ.pop("PYTHONWARNINGS", ""):
        warnings.resetwarnings()
        for category in HARMLESS_WARNINGS:
            warnings.simplefilter("ignore", category)
    warnings.filterwarnings("ignore", "Glyph .* missing from font")         # of a name: the picture shows a box
    os.environ["HDF5_PLUGIN_PRELOAD"] = "::"        # no plugins: a file can name filters, which HDF5 would load
    os.environ["KERAS_HOME"] = os.path.join(os.devnull, "keras")            # there is no keras.json
    for name in OF_OTHER_PROGRAMS:
        os.environ.pop(name, None)
    sys.meta_path.insert(0, _MatplotlibFinder())


class _MatplotlibFinder(importlib.abc.MetaPathFinder):
    """Finds Matplotlib, for an import without matplotlibrc."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Optional[importlib.machinery.ModuleSpec]:
        """Where to import `fullname` from; None for all but Matplotlib."""
        if fullname != "matplotlib":
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _MatplotlibLoader(spec.loader.name, spec.loader.path)
        return spec


class _MatplotlibLoader(importlib.machinery.SourceFileLoader):
    """Imports Matplotlib with its own settings, whatever files named matplotlibrc and the environment say.

    A backend that MPLBACKEND names is used if Matplotlib knows it.
    """

    def exec_module(self, module: Any) -> None:
        """Execute the module while files named matplotlibrc do not exist for it, except its own."""
        logging.getLogger("matplotlib").setLevel(logging.ERROR)     # remarks on folders that can't be written
        settings = {name: os.environ.pop(name, "") for name in ("MATPLOTLIBRC", "MPLBACKEND")}
        exists, own = os.path.exists, os.path.dirname(self.path)

        def exists_for_matplotlib(path):
            folder, name = os.path.split(os.fspath(path))
            return exists(path) and (name != "matplotlibrc" or folder.startswith(own))

        os.path.exists = exists_for_matplotlib
        try:
            super().exec_module(module)
        finally:
            os.path.exists = exists
            os.environ.update({name: value for name, value in settings.items() if value})
        if settings["MPLBACKEND"]:
            with contextlib.suppress(ValueError):
                module.rcParams["backend"] = settings["MPLBACKEND"]
