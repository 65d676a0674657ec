"""The Tab key, in a real bash."""

import os
import pty
import select
import subprocess
import time

import pytest

from biogans.commands import COMMANDS
from conftest import ROOT


def tab(line, word, previous):
    """The candidates that the program prints if it is called as bash calls it for a line."""
    done = subprocess.run([ROOT / "bin/biogans", "complete", line.split()[0], word, previous], capture_output=True,
                          text=True, env=os.environ | {"COMP_LINE": line})
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("line, word, previous, expected", [
    ("train.py -m dcgan-s", "dcgan-s", "-m", ["DCGAN-separable", "DCGAN-starshaped", "DCGAN-separable-multichannel",
                                              "DCGAN-separable-independent"]),
    ("train.py --gan_algorithm ", "", "--gan_algorithm", ["GAN", "WGAN", "WGAN-GP", "hinge", "R1", "RpGAN"]),
    ("train.py -d data --num", "--num", "data", ["--num_D_iters", "--num_G_iters", "--num_gpus"]),
    ("train.py -d ", "", "-d", []),                         # a file: bash's own completion
    ("train.py da", "da", "train.py", []),
    ("predict.py -w --eval", "--eval", "-w", ["--evaluate"]),
    ("biogans collect runs --o", "--o", "runs", ["--output"]),
    ("biogans reconstruct --order ", "", "--order", ["joint", "red-first", "both"]),
    ("biogans train -m infog", "infog", "-m", ["InfoGAN"]),
    ("biogans tra", "tra", "biogans", ["train", "traverse"]),
    ("biogans ", "", "biogans", list(COMMANDS)),
    ("biogans nosuch --o", "--o", "nosuch", []),
    ("biogans evaluate -d 'my da", "da", "my", [])])
def test_candidates(line, word, previous, expected):
    assert tab(line, word, previous) == expected


@pytest.mark.parametrize("keys, expected", [("train.py -m dcgan-st\t", "DCGAN-starshaped"),
                                            ("biogans recon\t", "reconstruct")])
def test_the_tab_key(keys, expected):
    """An interactive bash in a terminal completes a unique value."""
    process, terminal = pty.fork()
    if process == 0:
        os.execve("/bin/bash", ["bash", "--norc", "--noprofile", "-i"],
                  {"BG_BIN": f"{ROOT}/bin", "PATH": f"{ROOT}/bin:{os.environ['PATH']}", "TERM": "dumb", "PS1": "$ "})
    os.write(terminal, b"complete -o default -C '\"$BG_BIN/biogans\" complete' biogans train.py\n")
    time.sleep(0.3)
    os.write(terminal, keys.encode())
    shown, end = b"", time.monotonic() + 20
    while expected.encode() not in shown and time.monotonic() < end:
        if select.select([terminal], [], [], 0.2)[0]:
            shown += os.read(terminal, 10000)
    os.close(terminal)
    os.waitpid(process, 0)
    assert expected.encode() in shown, shown
