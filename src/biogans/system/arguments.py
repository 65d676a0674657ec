"""Command lines: a parser with one-line errors and short help, and argument types that commands share.

An argument type is a function of the text that a user typed. It raises argparse.ArgumentTypeError, or ValueError, if
the text is not valid.
"""

import argparse
import difflib
import math
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable
from typing import Any, NoReturn


class Help(argparse.RawDescriptionHelpFormatter):
    """Help as wide as the terminal, up to 120 columns, that does not break names such as DCGAN-starshaped."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=34, width=min(120, shutil.get_terminal_size().columns))

    def _split_lines(self, text, width):
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser with one-line errors and a short -h.

    Options are spelled with underscores, such as --batch_size; hyphens (--batch-size) are accepted too. Options marked
    as `rare` appear only under --help_all. The parsed options have an attribute `given`: the names of those that the
    command line gives, a frozenset.

    help_all     whether the parser has the option --help_all
    arguments    those of argparse.ArgumentParser
    """

    def __init__(self, help_all: bool = False, **arguments: Any) -> None:
        super().__init__(formatter_class=Help, allow_abbrev=False, **arguments)
        self.shows_rare = False
        if help_all:
            self.add_argument("--help_all", action=_HelpAll, nargs=0, help="show all options")

    def parse_known_args(self, args=None, namespace=None):
        words = list(sys.argv[1:] if args is None else args)
        end = words.index("--") if "--" in words else len(words)
        words = [*map(self._spelled, words[:end]), *words[end:]]
        parsed, rest = super().parse_known_args(words, namespace)
        parsed.given = self._given(words)
        return parsed, rest

    def _given(self, words):
        """Names of the options in `words`: those that are still set if no option has a default."""
        defaults = {action: action.default for action in self._actions}
        self._defaults, set_defaults = {}, self._defaults
        try:
            for action in defaults:
                action.default = argparse.SUPPRESS
            return frozenset(vars(super().parse_known_args(words)[0]))
        finally:
            self._defaults = set_defaults
            for action, default in defaults.items():
                action.default = default

    def _spelled(self, word):
        """`word` with the underscores of the option that it names."""
        name, equals, value = word.partition("=")
        spelled = name[:2] + name[2:].replace("-", "_")
        known = word.startswith("--") and spelled in self._option_string_actions
        return spelled + equals + value if known else word

    def format_usage(self):
        return self._without_rare(super().format_usage)

    def format_help(self):
        return self._without_rare(super().format_help)

    def _without_rare(self, make):
        """The text that make() returns, without rare options unless they are to be shown."""
        hidden = [] if self.shows_rare else [action for action in self._actions if getattr(action, "rare", False)]
        helps = [action.help for action in hidden]
        for action in hidden:
            action.help = argparse.SUPPRESS
        try:
            return make()
        finally:
            for action, text in zip(hidden, helps, strict=True):
                action.help = text

    def error(self, message: str) -> NoReturn:
        """Print one line to standard error, and exit with status 2."""
        print(f"{self.prog}: {' '.join(message.split())} ({self.prog} -h explains the options)", file=sys.stderr)
        sys.exit(2)


class _HelpAll(argparse.Action):
    def __call__(self, parser, namespace, values, option_string=None):
        parser.shows_rare = True
        parser.print_help()
        parser.exit()


def rare(action: argparse.Action) -> argparse.Action:
    """Mark an option, as `add_argument` returns it, as one that few runs need."""
    action.rare = True      # type: ignore[attr-defined]    # Parser reads it
    return action


# ---------------------------------------------------------------------------------------------- types of arguments

def one_of(names: Iterable[str]) -> Callable[[str], str]:
    """A type: one of `names`, in upper or lower case."""
    def choose(text):
        for name in names:
            if name.lower() == text.lower():
                return name
        hint = f": {near.strip()}" if (near := did_you_mean(text, names)) else ""
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(names)}{hint}")
    choose.names = tuple(names)         # type: ignore[attr-defined]    # Tab completion reads it
    return choose


def some_of(names: Iterable[str]) -> Callable[[str], tuple[str, ...]]:
    """A type: some of `names`, separated by commas, in upper or lower case; a tuple in the order of `names`."""
    def choose(text):
        chosen = {one_of(names)(name) for name in comma_separated(text)}
        return tuple(name for name in names if name in chosen)
    choose.names = tuple(names)         # type: ignore[attr-defined]    # Tab completion reads it
    return choose


def checked(kind: Callable[[str], Any], accept: Callable[[Any], Any], meaning: str) -> Callable[[str], Any]:
    """A type: kind(text), if accept(kind(text)) is true; `meaning` describes valid values in the error message."""
    def convert(text):
        try:
            result = kind(text)
        except ValueError:
            result = None
        if result is None or not accept(result):
            raise argparse.ArgumentTypeError(f"{text!r} is not {meaning}")
        return result
    return convert


positive_int = checked(int, lambda number: 0 < number < 2**31, "a whole number above 0")
seed = checked(int, lambda number: 0 <= number < 2**31, "a whole number from 0 to 2147483647")
index = checked(int, lambda number: 0 <= number < 2**31, "a whole number, 0 or more")
at_least_two = checked(int, lambda number: 2 <= number < 2**31, "a whole number above 1")
positive_float = checked(float, lambda number: 0 < number < float("inf"), "a number above 0")
below_one = checked(float, lambda number: 0 <= number < 1, "a number from 0 up to, but not including, 1")


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """"did you mean Alp14? " for a name that is similar to one of the `names`, otherwise ""."""
    spelled = {each.lower(): each for each in names}
    near = difflib.get_close_matches(name.lower(), spelled, n=1, cutoff=0.5)
    return f"did you mean {spelled[near[0]]}? " if near else ""


def comma_separated(text: str) -> tuple[str, ...]:
    """A type: the names in "A,B,C" as a tuple; () for an empty text."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def several(convert: Callable[[str], Any]) -> Callable[[str], tuple]:
    """A type: a tuple of comma-separated values, each of the type `convert`."""
    return lambda text: tuple(convert(part) for part in comma_separated(text))


def axes(text: str) -> str:
    """A type: the letters of axes, in capitals, each once and Y and X among them; or none."""
    letters = text.strip().upper()
    if letters and (len(set(letters)) < len(letters) or not {"Y", "X"} <= set(letters) <= set("PTZCSYX")):
        raise argparse.ArgumentTypeError(f"{text!r}: give one of the letters PTZCSYX for each axis, slowest first, "
                                         f"including Y and X")
    return letters


def intensity_range(text: str) -> tuple[float, ...]:
    """A type: black and white of each of four channels, one after the other, from those of one or of each channel."""
    numbers = _numbers(text)
    if len(numbers) % 2 or not numbers or any(not low < high for low, high in zip(numbers[::2], numbers[1::2])):
        raise argparse.ArgumentTypeError(f"{text!r} is not BLACK,WHITE, two numbers for all channels or for each, of "
                                         f"which the second is larger")
    return numbers * 4 if len(numbers) == 2 else numbers


def percentiles(text: str) -> tuple[float, ...]:
    """A type: a low and a high percentile."""
    numbers = _numbers(text)
    if len(numbers) != 2 or not 0 <= numbers[0] < numbers[1] <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not LOW,HIGH, two percentiles from 0 to 100")
    return numbers


def _numbers(text):
    """Finite numbers separated by commas, as a tuple; () if one is none."""
    try:
        found = tuple(float(part) for part in comma_separated(text))
    except ValueError:
        return ()
    return found if all(map(math.isfinite, found)) else ()


def channel_numbers(text: str) -> tuple[int, ...]:
    """A type: channels, counted from 1; () for "none"."""
    return () if text.strip().lower() == "none" else several(positive_int)(text)


def category_counts(text: str) -> tuple[int, ...]:
    """A type: the number of categories of each categorical code; () for "0"."""
    return () if text.strip() == "0" else several(at_least_two)(text)
