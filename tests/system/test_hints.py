"""Mistakes of students become hints, whatever their functions do."""

import math

import numpy as np
import pytest

from biogans.system.hints import checked

NUMBERS = np.array([1.0, 2.0, 3.0])


@pytest.mark.parametrize("function, options, hint", [
    (lambda x: None, {}, "returns nothing.*return"),
    (lambda x: print(), {"kind": str}, "returns nothing.*return"),
    (lambda x: [math.exp(-x)], {}, "TypeError.*`math`.*np.exp"),
    (lambda x: x[7], {}, "stops with IndexError"),
    (lambda x: x ^ 2, {}, r"TypeError.*powers are written \*\*$"),
    (lambda x: 1 if x > 0 else 0, {"hint": "one number each"}, r"[^.]\. `if` takes one.*np.where\. One number each$"),
    (lambda x: 1 / 0, {"hint": "divide by the number of samples"}, "ZeroDivisionError.*Divide by the number"),
    (lambda x: [][0], {}, "stops with IndexError"),
    (lambda x: "0.5", {}, "numbers, not str"),
    (lambda x: [[1, 2], [3]], {}, "numbers, not list"),
    (lambda x: {"p": 1}, {}, "numbers, not dict"),
    (lambda x: x.sum(), {"shape": np.shape}, r"array of shape \(3,\), not one number"),
    (lambda x: x, {"shape": ()}, r"one number, not an array of shape \(3,\)"),
    (lambda x: x[:, None], {"shape": (3,)}, r"shape \(3,\), not an array of shape \(3, 1\)"),
    (lambda x: x, {"kind": (list, tuple), "hint": "one array for each layer"}, "list or tuple, not ndarray. One array"),
])
def test_a_mistake_becomes_a_hint(function, options, hint):
    with pytest.raises(AssertionError, match=hint):
        checked(function, **options)(NUMBERS)


def test_a_right_result_passes_unchanged():
    result = checked(lambda x, factor=1: factor * x, shape=lambda x, factor: x.shape)(NUMBERS, factor=2)
    assert np.array_equal(result, 2 * NUMBERS)
    assert checked(lambda x: (x[0], 2), shape=(2,))(NUMBERS) == (1.0, 2)
    assert np.isnan(checked(lambda x: np.nan, shape=())(NUMBERS))
