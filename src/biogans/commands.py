"""The commands of BioGANs, and the program `biogans` that runs them.

Any `python3` may read this file before the right one is found, so it uses no syntax newer than Python 3.6.
"""

import difflib
import importlib
import re
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn, Optional, Sequence

from .system import launch, surroundings

GROUPS = {
    "train and generate": {
        "train": "core.train",
        "predict": "core.predict",
        "visualize": "core.visualize",
    },
    "get images": {
        "get_data": "data.get_data",
        "simulate": "data.simulate",
        "simulate_videos": "data.simulate_videos",
        "preprocess": "video.preprocess",
        "cells": "video.cells",
    },
    "evaluate": {
        "evaluate": "evaluation.evaluate",
        "diversity": "evaluation.diversity",
        "same_red": "evaluation.same_red",
        "atlas": "evaluation.atlas",
        "saliency": "evaluation.saliency",
        "card": "evaluation.card",
        "collect": "evaluation.collect",
        "compare": "evaluation.compare",
    },
    "look into the latent space": {
        "label": "latent.label",
        "reconstruct": "latent.reconstruct",
        "interpolate": "latent.interpolate",
        "traverse": "latent.traverse",
        "pseudotime": "latent.pseudotime",
        "explore": "latent.explore",
    },
    "learn what a GAN does": {
        "toy": "latent.toy",
    },
    "exchange models": {
        "export": "exchange.export",
        "import_torch": "exchange.import_torch",
    },
}
COMMANDS = {name: module for group in GROUPS.values() for name, module in group.items()}


def main() -> None:
    """Run `biogans COMMAND …`, or list all commands if none is given."""
    words = sys.argv[1:]
    name = words[0].replace("-", "_") if words else "help"
    if name in COMMANDS:
        run(name, words[1:])
    if name == "complete":
        launch.use_installed_python()
    surroundings.prepare_process()
    if name in ("help", "_h", "__help"):
        sys.exit(launch.run(lambda _: print(overview()), None))
    elif name in ("version", "__version"):
        from . import __version__

        sys.exit(launch.run(lambda _: print("biogans " + __version__), None))
    elif name == "complete":
        from .completion import complete

        complete(words[1:], list(COMMANDS), load)
    else:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = "did you mean biogans {}?".format(near[0]) if near else "`biogans` lists the commands"
        print("biogans: no command {}: {}".format(words[0], hint), file=sys.stderr)
        sys.exit(2)


def run(name: str, arguments: Optional[Sequence[str]] = None) -> NoReturn:
    """Run a command, and end the process with its exit status.

    arguments   by default those of the command line
    """
    if name == "train":
        launch.hold_stop_signals()
    launch.use_installed_python()
    surroundings.prepare_process()
    if sys.version_info < (3, 11):
        sys.exit(launch.fail("{} is older than Python 3.11: run 'make' in the BioGANs folder".format(sys.executable)))
    sys.dont_write_bytecode = True          # `cp $BG_SRC/* .` fails on folders
    try:
        status = launch.run(lambda _: launch.use_edited_core(), None)
        command = load(name).main if not status else None
    except ModuleNotFoundError as missing:
        if str(missing.name).startswith("biogans"):
            raise
        sys.exit(launch.fail("{} ({}): run 'make' in the BioGANs folder, or load its module".format(
            missing, sys.executable)))
    except KeyboardInterrupt:
        sys.exit(130)
    try:
        status = launch.run(command, arguments) if command else status
    except KeyboardInterrupt:
        status = 130
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)        # a further Ctrl-C would end in a traceback
    sys.exit(status)


def load(name: str) -> Any:
    """Import the module of a command: `main(arguments)` runs it, `parser()` is its command line."""
    return importlib.import_module("biogans." + COMMANDS[name])


def overview() -> str:
    """A list of all commands by group, with the first line of each docstring."""
    lines = ["usage: biogans COMMAND …          biogans COMMAND -h explains a command"]
    for title, group in GROUPS.items():
        lines += ["", title]
        lines += ["  {:16} {}".format(name, summary(name)) for name in group]
    return "\n".join(lines)


def summary(name: str) -> str:
    """The first line of a command's docstring, read without importing the command."""
    path = Path(__file__).resolve().parent.joinpath(*COMMANDS[name].split(".")).with_suffix(".py")
    found = re.search(r'^"""(.*?)(?:"""|\n)', path.read_text(encoding="utf-8"), re.MULTILINE)
    return found.group(1) if found else ""
