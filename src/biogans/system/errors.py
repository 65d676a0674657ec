"""The exception that users see, and hints that its messages share."""

import difflib
from collections.abc import Iterable


class InputError(Exception):
    """A user error or a bad file. The message is one line: what is wrong, where, and what to do about it."""


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """"did you mean Alp14? " for a name that is similar to one of the `names`, otherwise ""."""
    spelled = {each.lower(): each for each in names}
    near = difflib.get_close_matches(name.lower(), spelled, n=1, cutoff=0.5)
    return f"did you mean {spelled[near[0]]}? " if near else ""
