"""A small InfoGAN and a DCGAN trained on round cells, for the tests of codes."""

import pytest

from biogans.core import train
from biogans.data import get_data
from conftest import SMALL

MODEL = "checkpoints/weights.generator.InfoGAN.GAN.1.h5"
DCGAN = "checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5"
INFO = (*SMALL[:4], "-z", "12", "-b", "4", "-d", "data", "-m", "InfoGAN", "-a", "GAN", "--categorical", "3",
        "--continuous", "2", "-M", "2")


def train_both(folder):
    """Write data to `folder`, and train an InfoGAN for 4 iterations and a DCGAN for 2 there."""
    get_data.main(["round", "-o", str(folder / "data"), "-n", "120"])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train.main([*INFO, "-e", "4"])
        train.main([*SMALL, "-d", "data", "-m", "DCGAN", "-e", "2"])


def refused(capsys, command, arguments):
    """The one line on standard error of a command that must be refused."""
    assert command.main(arguments) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    return line
