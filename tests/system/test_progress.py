"""The progress of a run: a bar on a terminal, lines elsewhere."""

import contextlib
import fcntl
import io
import os
import pty
import re
import struct
import sys
import termios
import time

import pytest

from biogans.system import progress
from biogans.system.progress import shared_steps
from conftest import ROOT, SMALL


def test_a_terminal_shows_a_bar(data):
    """Iterations, rate, time left and both losses, in a terminal of 120 columns."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(data.parent)
        os.execv(ROOT / "bin" / "train.py", ["train.py", *SMALL, "-d", "data", "-m", "DCGAN", "-e", "20"])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    shown = b""
    try:
        while part := os.read(terminal, 4096):
            shown += part
    except OSError:         # the command has ended
        pass
    assert os.waitpid(child, 0)[1] == 0, shown.decode()
    assert re.search(r"100%.*20/20 \[.*it/s, critic .*, generator .*\]", shown.decode())
    assert "iteration 20/20" not in shown.decode()


def test_lines_with_the_remaining_time_elsewhere(capsys, monkeypatch):
    """One for the first and the last iteration, and one every 30 seconds; days are separate from hours."""
    clock = iter([0.0, 10.0, 15.0, 45.0, 50.0])
    monkeypatch.setattr(progress, "repeating", lambda function: contextlib.nullcontext())
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    meter = progress.Progress(100, 10_000_000)
    for done in (101, 102, 103):
        meter.update(done, (-1.5, 0.25))
    meter.close()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "iteration 101/10000000  critic -1.5, generator 0.25  0.1 it/s  1157 d 09:29:50 left"
    assert [line.split("/")[0] for line in lines] == ["iteration 101", "iteration 103"]


@pytest.fixture
def impatient(monkeypatch):
    """Lines as often as possible instead of every 30 seconds."""
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.3)


def test_work_without_a_terminal_prints_lines_with_the_time_left(impatient, capsys):
    """Also while one element takes long."""
    read = []
    for each in progress.reading("reading images", "block")([5, 6, 7]):
        time.sleep(1.3)
        read.append(each)
    assert read == [5, 6, 7]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "reading images: 0 of 3 blocks in 1 s"
    assert re.fullmatch(r"reading images: [12] of 3 blocks in [234] s, [1-4] s left", lines[1])


def test_a_wait_without_a_terminal_prints_lines(impatient, capsys):
    with progress.waiting("compiling"):
        time.sleep(1.3)
    assert capsys.readouterr().out == "compiling: 1 s so far\n"


def test_short_work_prints_nothing(capsys):
    with progress.waiting("compiling"):
        assert list(progress.reading("reading images")(range(3))) == [0, 1, 2]
    assert capsys.readouterr().out == ""


def test_a_long_iteration_is_reported(impatient, capsys, monkeypatch):
    """With the estimate of its duration."""
    clock = [100.0]
    monkeypatch.setattr(progress, "repeating", lambda function: contextlib.nullcontext())
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    meter = progress.Progress(7, 1000, pace=4.0)
    with meter.iteration(5):
        clock[0] += 12
        meter.report_long_iteration()
        soon, loss = meter.outlook()
    meter.close()
    assert capsys.readouterr().out == "iteration 8/1000: 12 s of about 20 s so far\n"
    assert (soon, loss) == ("after this iteration (about 8 s)", "1 iteration")
    meter.done = 1200
    assert meter.outlook()[1] == "1,194 iterations"


@pytest.mark.parametrize("seconds, words", [
    (0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h"), (2 * 86400, "2 days"),
    (60.4 * 86400, "60 days")])
def test_durations(seconds, words):
    assert progress.duration(seconds) == words


@pytest.mark.parametrize("distance, words", [(0.1234, "0.123"), (999.4, "999"), (2.65e6, "far (over 1000)")])
def test_distances_that_say_nothing_are_not_shown_as_numbers(distance, words):
    assert progress.distance_text(distance) == words


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
