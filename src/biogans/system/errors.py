"""The one exception that a user is meant to see."""


class InputError(Exception):
    """A user's mistake or a bad file. The message is one line: what is wrong, where, and what to do about it."""
