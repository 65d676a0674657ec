"""The progress of a run: a bar on a terminal, lines elsewhere."""

import fcntl
import os
import pty
import re
import struct
import termios

from biogans.system import progress
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
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    meter = progress.Progress(100, 10_000_000)
    for done in (101, 102, 103):
        meter.update(done, (-1.5, 0.25))
    meter.close()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "iteration 101/10000000  critic -1.5, generator 0.25  0.1 it/s  1157 d 09:29:50 left"
    assert [line.split("/")[0] for line in lines] == ["iteration 101", "iteration 103"]
