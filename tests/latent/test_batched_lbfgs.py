"""Many minimisations in one batch: the same results as one by one, and an end at every interrupt."""

import signal
import threading
import time

import numpy as np
import pytest
from scipy import optimize

from biogans.latent.batched_lbfgs import minimize_batch


def valleys(rows, values):
    """Rosenbrock's function, each row with a valley of its own."""
    bend = 1.0 + np.asarray(rows)[:, None]
    x, y = values[:, :1], values[:, 1:]
    errors = (1 - x) ** 2 + bend * (y - x ** 2) ** 2
    return errors[:, 0], np.hstack([-2 * (1 - x) - 4 * bend * x * (y - x ** 2), 2 * bend * (y - x ** 2)])


@pytest.mark.parametrize("together", [1, 3, 50])
def test_in_step_is_exactly_one_by_one(together):
    starts = np.random.default_rng(0).standard_normal((7, 2))
    ended = []
    found = minimize_batch(valleys, starts, 100, together, lambda: ended.append(1))
    for k, start in enumerate(starts):
        def alone(values, k=k):
            errors, gradients = valleys([k], values[None])
            return errors[0], gradients[0]
        assert np.array_equal(found[k], optimize.minimize(alone, start, jac=True, method="L-BFGS-B").x)
    np.testing.assert_allclose(found, 1, atol=1e-3)
    assert len(ended) == 7


def test_so_many_are_asked_together():
    asked = []

    def counted(rows, values):
        asked.append(len(rows))
        return valleys(rows, values)

    minimize_batch(counted, np.zeros((10, 2)), 100, 4)
    assert max(asked) == 4 and asked[0] == 4 and np.mean(asked) > 3


@pytest.mark.parametrize("where", ["function", "done"])
@pytest.mark.parametrize("problem", [KeyboardInterrupt, ZeroDivisionError])
def test_an_interrupt_ends_all_searches(problem, where):
    calls = []

    def fail():
        calls.append(1)
        if len(calls) == 5:
            raise problem

    def function(rows, values):
        if where == "function":
            fail()
        return valleys(rows, values)

    before = threading.active_count()
    with pytest.raises(problem):
        minimize_batch(function, np.zeros((20, 2)), 100, 6, fail if where == "done" else lambda: None)
    assert len(calls) == 5 and threading.active_count() == before


def test_ctrl_c_ends_all_searches():
    """At any moment: the interrupt comes from another thread, again and again."""
    before, caught = threading.active_count(), 0
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    for delay in np.linspace(0.01, 0.1, 10):
        timer, end = threading.Timer(delay, signal.raise_signal, [signal.SIGINT]), time.monotonic() + 2
        try:
            timer.start()
            while time.monotonic() < end:       # Python drops an interrupt that comes within a garbage collector's call
                minimize_batch(valleys, np.zeros((40, 2)), 100, 16)
        except KeyboardInterrupt:
            caught += 1
        timer.join()
    signal.signal(signal.SIGINT, handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    for _ in range(100):        # an interrupt in the pool's own end leaves its threads to end by themselves
        if threading.active_count() == before:
            break
        time.sleep(0.1)
    assert caught >= 5 and threading.active_count() == before
