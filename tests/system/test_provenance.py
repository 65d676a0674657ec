"""The provenance of output files."""

import importlib.metadata
import shlex
import sys

import pytest

from biogans.core.trained import read_weights
from biogans.system import provenance
from conftest import SMALL


@pytest.mark.parametrize("words, expected", [
    (["/apps/bin/train.py", "-d", "my cells", "-e", "5"], "train.py -d 'my cells' -e 5"),
    (["train.py", "--data", "$HOME;x"], "train.py --data '$HOME;x'"), (["train.py"], "train.py")])
def test_the_command_can_be_typed_again(monkeypatch, words, expected):
    monkeypatch.setattr(sys, "argv", words)
    assert provenance.command() == expected and shlex.split(expected)[1:] == words[1:]


def test_the_command_names_the_original_of_copied_data(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "-d", "/lscratch/7/data", "-e", "5"])
    monkeypatch.setenv("BG_DATA_FROM", "data")
    assert provenance.command() == "train.py -d data -e 5"


def test_the_versions_are_the_installed_ones():
    versions = provenance.versions()
    assert versions["keras"] == importlib.metadata.version("keras")
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert all(versions.values()) and versions.keys() <= {"biogans", "python", *provenance.LIBRARIES}


def test_every_file_of_a_run_records_its_provenance(data, run, tmp_path):
    """After a resume it is that of the later command."""
    arguments = ["-d", "data", "-m", "DCGAN", *SMALL]
    assert run("train.py", *arguments, "-e", "1").returncode == 0
    paths = sorted((tmp_path / "checkpoints").glob("*.h5"))
    made = [read_weights(path)[1].made for path in paths]
    assert len(paths) == 5 and all(each == made[0] for each in made)
    assert made[0]["command"] == shlex.join(["train.py", *arguments, "-e", "1"])
    assert made[0]["versions"] == provenance.versions() and "CPU core" in made[0]["machine"]
    assert run("train.py", *arguments, "-e", "2", "-w").returncode == 0
    assert read_weights(paths[0])[1].made["command"] == shlex.join(["train.py", *arguments, "-e", "2", "-w"])
