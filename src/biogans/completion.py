"""Tab completion for bash, read from the commands' parsers.

    complete -o default -C 'biogans complete' biogans train.py predict.py visualize.py
"""

import argparse
import os
import shlex
from collections.abc import Callable, Sequence
from typing import Any


def complete(words: Sequence[str], commands: Sequence[str], load: Callable[[str], Any]) -> None:
    """Print the candidates, one per line.

    words      program, word to complete and previous word, as bash passes them
    commands   names of all commands
    load       returns the module of a command
    """
    program, word, previous = words
    name = program.rpartition("/")[2].removesuffix(".py")
    if name == "biogans":
        name = _subcommand(os.environ.get("COMP_LINE", ""), commands)
        if name is None or previous.rpartition("/")[2] == "biogans":
            print(*(command for command in commands if command.startswith(word)), sep="\n")
            return
    print(*candidates(load(name).parser(), word, previous), sep="\n")


def _subcommand(line, commands):
    """The command in a line such as "biogans evaluate …", None if it has none yet."""
    try:
        typed = shlex.split(line)[1:2]
    except ValueError:                  # an open quotation mark
        typed = line.split()[1:2]
    name = typed[0].replace("-", "_") if typed else None
    return name if name in commands else None


def candidates(parser: argparse.ArgumentParser, word: str, previous: str) -> list[str]:
    """The options that begin with `word` or, after an option, its values that do; none lets bash complete files."""
    expecting = [action for action in parser._actions if previous in action.option_strings and action.nargs != 0]
    if expecting:
        names = expecting[0].choices or getattr(expecting[0].type, "names", None) or ()
        return [name for name in names if name.lower().startswith(word.lower())]
    if not word.startswith("-"):
        return []
    return [name for action in parser._actions for name in action.option_strings if name.startswith(word)]
