"""The exception that users see."""


class InputError(Exception):
    """A user error or a bad file. The message is one line: what is wrong, where, and what to do about it."""
