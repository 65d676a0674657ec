"""The Tab key, in a real bash."""

import os
import pty
import select
import subprocess
import time

import pytest
from conftest import ROOT


def tab(command, word, previous):
    """The candidates that the program, called as bash does, prints."""
    done = subprocess.run([ROOT / "bin/completion.py", command, word, previous], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("command, word, previous, expected", [
    ("train.py", "dcgan-s", "-m", ["DCGAN-separable", "DCGAN-starshaped", "DCGAN-separable-multichannel",
                                "DCGAN-separable-independent"]),
    ("train.py", "", "--gan_algorithm", ["GAN", "WGAN", "WGAN-GP", "hinge", "R1"]),
    ("train.py", "--num", "data", ["--num_D_iters", "--num_G_iters", "--num_gpus"]),
    ("train.py", "", "-d", []),                         # a file: bash's own completion
    ("train.py", "da", "train.py", []),
    ("predict.py", "--eval", "-w", ["--evaluate"]),
    ("collect.py", "--o", "runs", ["--output"]),
    ("reconstruct.py", "", "--order", ["joint", "red-first", "both"])])
def test_candidates(command, word, previous, expected):
    assert tab(command, word, previous) == expected


def test_every_command_is_known():
    from biogans.completion import PARSERS
    assert {*PARSERS, "completion.py"} == {path.name for path in (ROOT / "bin").iterdir()}


def test_the_tab_key():
    """In an interactive bash under a terminal: the unique value is completed, the command runs with it."""
    process, terminal = pty.fork()
    if process == 0:
        os.execve("/bin/bash", ["bash", "--norc", "--noprofile", "-i"],
                  {"BG_BIN": f"{ROOT}/bin", "PATH": f"{ROOT}/bin:{os.environ['PATH']}", "TERM": "dumb", "PS1": "$ "})
    os.write(terminal, b"complete -o default -C '\"$BG_BIN/completion.py\"' train.py\n")
    time.sleep(0.3)
    os.write(terminal, b"train.py -m dcgan-st\t")
    shown, end = b"", time.monotonic() + 20
    while b"DCGAN-starshaped" not in shown and time.monotonic() < end:
        if select.select([terminal], [], [], 0.2)[0]:
            shown += os.read(terminal, 10000)
    os.close(terminal)
    os.waitpid(process, 0)
    assert b"train.py -m " in shown and b"DCGAN-starshaped" in shown, shown
