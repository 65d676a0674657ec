"""Hints for the checks of the course: a student's mistake becomes one line, not a traceback.

A check wraps the student's function first: `_entropy = checked(entropy, shape=())`. A call of `_entropy` that fails, or
returns nothing, another type or another shape, raises AssertionError with a hint, like every other failed check.
"""

import re
from collections.abc import Callable
from typing import Any

import numpy as np

USE_OPS = "use the functions of `ops` or TensorFlow, through which gradients pass"
# What beginners meet: a type of error, a pattern of its text, and a hint.
COMMON = [
    (TypeError, re.compile(r"only (size|length|0-dim)\S* .*(convert|scalar)|must be real number"),     # float(array)
     "The functions of `math` take one number; those of NumPy, such as np.exp, take arrays"),
    (TypeError, re.compile(r"bitwise_xor|for \^"), "In Python, powers are written **"),
    (ValueError, re.compile("truth value"), "`if` takes one value; for arrays there is np.where"),
]


def checked(function: Callable[..., Any], shape: tuple[int, ...] | Callable[..., tuple[int, ...]] | None = None,
            kind: type | tuple[type, ...] | None = None, hint: str = "") -> Callable[..., Any]:
    """`function`, which raises AssertionError where it fails or where its result is nothing or of the wrong kind.

    shape   of the result, or a function of the arguments that returns it; None: not checked
    kind    type or types of the result; None: numbers, as an array, a sequence or one number
    hint    added where the function fails or returns another kind
    """
    name = getattr(function, "__name__", "your function")

    def call(*arguments: Any, **named: Any) -> Any:
        try:
            result = function(*arguments, **named)
        except Exception as error:
            raise AssertionError(_sentences(f"{name} stops with {_described(error)}", hint)) from error
        assert result is not None, f"{name} returns nothing (None): does it end with `return`?"
        _check_kind(name, result, kind, hint)
        if shape is not None:
            expected = tuple(shape(*arguments, **named) if callable(shape) else shape)
            assert np.shape(result) == expected, \
                f"{name} should return {_of_shape(expected)}, not {_of_shape(np.shape(result))}"
        return result

    return call


def _described(error: Exception) -> str:
    """Type and text of an error, and a hint for those that beginners meet."""
    text = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no further text'}"
    return _sentences(text, *(hint for kind, pattern, hint in COMMON
                              if isinstance(error, kind) and pattern.search(str(error))))


def _check_kind(name: str, result: Any, kind: type | tuple[type, ...] | None, hint: str) -> None:
    """Raise AssertionError if a result is not of the kind, or without a kind no numbers."""
    if kind is not None:
        kinds = kind if isinstance(kind, tuple) else (kind,)
        wanted = " or ".join(each.__name__ for each in kinds)
        assert isinstance(result, kind), \
            _sentences(f"{name} should return an object of type {wanted}, not {type(result).__name__}", hint)
        return
    try:
        numbers = np.asarray(result).dtype.kind in "biuf"
    except ValueError:                  # rows of different lengths
        numbers = False
    assert numbers, _sentences(f"{name} should return numbers, not {type(result).__name__}", hint)


def _of_shape(shape: tuple[int, ...]) -> str:
    return f"an array of shape {shape}" if shape else "one number"


def _sentences(*parts: str) -> str:
    """The parts, as sentences without the last full stop."""
    return ". ".join((part[0].upper() + part[1:] if n else part).removesuffix(".")
                     for n, part in enumerate(parts) if part)
