"""Paths between latent vectors: on a sphere, at constant speed, through all keys."""

import numpy as np
import pytest

from biogans.core.codes import Code
from biogans.latent.paths import latent_path, slerp


def angles(z):
    """Angles (radians) between each z and the next."""
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    return np.arccos(np.clip((unit[1:] * unit[:-1]).sum(axis=1), -1, 1))


def test_slerp_of_a_right_angle():
    half = np.sqrt(0.5)
    np.testing.assert_allclose(slerp(np.array([1.0, 0]), np.array([0, 1.0]), [0, 1 / 3, 0.5, 1]),
                               [[1, 0], [np.sqrt(3) / 2, 0.5], [half, half], [0, 1]], atol=1e-12)


def test_slerp_has_constant_angular_speed_and_linear_length():
    start, end = np.random.default_rng(0).standard_normal((2, 100)) * [[1], [3]]
    z = slerp(start, end, np.linspace(0, 1, 11))
    np.testing.assert_allclose(z[[0, -1]], [start, end])
    np.testing.assert_allclose(angles(z), angles(np.array([start, end])).repeat(10) / 10, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(z, axis=1),
                               np.linspace(np.linalg.norm(start), np.linalg.norm(end), 11))


def test_slerp_of_the_same_and_of_opposite_directions():
    z = np.array([3.0, 4.0])
    np.testing.assert_allclose(slerp(z, 2 * z, [0, 0.5, 1]), [z, 1.5 * z, 2 * z])
    with pytest.raises(ValueError, match="opposite"):
        slerp(z, -z, [0.5])


def test_a_closed_path_returns_to_its_start():
    """It passes every key, and the step from its last frame to its first is like all others."""
    keys = np.eye(3)
    z = latent_path(keys, 5, closed=True)
    assert len(z) == 15
    np.testing.assert_allclose(z[::5], keys, atol=1e-12)
    np.testing.assert_allclose(angles(np.concatenate([z, z[:1]])), np.pi / 2 / 5)


def test_an_open_path_ends_with_the_last_key():
    z = latent_path(np.eye(3), 5, closed=False)
    assert len(z) == 11
    np.testing.assert_allclose(z[[0, 5, 10]], np.eye(3), atol=1e-12)


def test_codes_on_a_path():
    """The noise turns, a continuous code changes evenly, a category changes once, in the middle."""
    known = [Code("c0", 2, 3), Code("u0", 5, 1)]
    keys = np.array([[1, 0, 1, 0, 0, -1], [0, 1, 0, 0, 1, 1]], float)
    z = latent_path(keys, 4, closed=False, codes=known)
    np.testing.assert_allclose(angles(z[:, :2]), np.pi / 8)
    np.testing.assert_allclose(z[:, 5], [-1, -0.5, 0, 0.5, 1])
    assert z[:, 2:5].argmax(axis=1).tolist() == [0, 0, 2, 2, 2] and set(z[:, 2:5].ravel()) == {0, 1}
