"""Progress of work that several functions share."""

import io
import sys

import pytest

from biogans.system.steps import shared_steps


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_functions_share_one_bar(monkeypatch):
    """It counts the steps that all of them take, and is removed in the end."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    with shared_steps("two-sample test", "step", 3) as steps:
        assert [next(steps) for _ in range(3)] == [0, 1, 2]
    assert "two-sample test" in sys.stderr.getvalue() and "/3" in sys.stderr.getvalue()
    assert sys.stderr.getvalue().endswith("\r")


def test_a_step_too_many_is_noticed():
    with pytest.raises(StopIteration), shared_steps("work", "step", 1) as steps:
        next(steps)
        next(steps)
