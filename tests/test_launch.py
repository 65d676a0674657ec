"""Which sources and which Python run: edited copies of the source folder, links to commands, modules, entry points."""

import errno
import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import biogans
import pytest
from conftest import ROOT, SMALL

COMMANDS = ("train", "predict", "visualize", "simulate", "reconstruct", "interpolate", "evaluate", "explore",
            "traverse", "pseudotime", "get_data", "diversity", "saliency", "preprocess", "cells",
            "simulate_videos", "card", "export", "import_torch")
SOURCES = ROOT / "src" / "biogans"


def python(*arguments, cwd, executable=sys.executable, **environment):
    return subprocess.run([executable, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=300,
                          env={**os.environ, **environment})


def edit(path, before, after):
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))


@pytest.fixture
def copy(tmp_path):
    """An edited copy of the source folder, as `cp $BG_SRC/* .` makes it: each module tells that it is read."""
    folder = tmp_path / "my own sources"
    folder.mkdir()
    for path in SOURCES.glob("*.py"):
        shutil.copy(path, folder)
    for name in COMMANDS:
        edit(folder / f"{name}.py", "\ndef main(", f"\nprint('the copy of {name}')\n\n\ndef main(")
    return folder


# ---------------------------------------------------------------------------------------------- copies

@pytest.mark.parametrize("command", COMMANDS)
def test_a_copy_runs_from_any_folder_and_with_a_relative_name(copy, tmp_path, command):
    (tmp_path / "elsewhere").mkdir()
    for script, cwd in ((f"../{copy.name}/{command}.py", tmp_path / "elsewhere"), (f"{command}.py", copy)):
        done = python(script, "-h", cwd=cwd)
        assert (done.returncode, done.stderr) == (0, "")
        assert f"the copy of {command}\nusage: {command}.py" in done.stdout      # which may read other commands


def test_a_copy_wins_over_the_installation(copy, tmp_path):
    """Even where the installed folder or package is on Python's path."""
    for path in (SOURCES, ROOT / "src", copy):
        done = python(copy / "train.py", "-h", cwd=SOURCES, PYTHONPATH=str(path))
        assert done.stdout.startswith("the copy of train") and not done.stderr


def test_the_installation_does_not_see_a_copy(copy, run):
    for command in COMMANDS:
        done = run(f"{command}.py", "-h", cwd=copy)
        assert done.returncode == 0 and done.stdout.startswith("usage:")
        done = python("-m", f"biogans.{command}", "-h", cwd=copy, PYTHONPATH=str(ROOT / "src"))
        assert done.returncode == 0 and done.stdout.startswith("usage:")


def test_every_module_of_a_copy_is_its_own(copy, tmp_path):
    """No module is taken from the installation, and none of them hides a library of the same name."""
    names = sorted(path.stem for path in copy.glob("*.py") if path.stem != "__init__")
    edit(copy / "train.py", "\ndef main(arguments=None):\n", "\ndef main(arguments=None):\n"
         "    import importlib\n"
         f"    for name in {names}:\n"
         "        module = importlib.import_module('biogans.' + name)\n"
         "        print('from', Path(module.__file__).parent)\n"
         "    import files\n")
    done = python(copy / "train.py", cwd=tmp_path, PYTHONPATH=str(SOURCES.parent))
    assert re.findall("^from (.*)", done.stdout, re.MULTILINE) == [str(copy)] * len(names)
    assert "No module named 'files'" in done.stderr


def test_an_edited_network_is_what_is_trained(copy, data, tmp_path):
    """A critic of another slope is trained by the copy; then predict.py and visualize.py of the copy draw."""
    edit(copy / "models.py", "negative_slope=0.2", "negative_slope=0.375")
    edit(copy / "models.py", "\ndef build_generator(spec):\n",
         "\ndef build_generator(spec):\n    print('my generator')\n")
    edit(copy / "train.py", "    print(device_name())\n",
         "    print([l.negative_slope for l in engine.critics[0].layers if 'negative_slope' in vars(l)])\n")
    edit(copy / "figures.py", '"""\n', '"""\nprint("my figures")\n')
    done = python(copy / "train.py", "-d", data, "-m", "DCGAN", *SMALL, "-e", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "my generator" in done.stdout and "[0.375, 0.375]" in done.stdout
    weights = "checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5"
    done = python(copy / "predict.py", "-i", weights, cwd=tmp_path)
    assert all(words in done.stdout for words in ("the copy of predict", "my generator", "Output image stack"))
    done = python(copy / "visualize.py", "-i", "images/stack2.DCGAN.WGAN-GP.h5", cwd=tmp_path,
                  DISPLAY="", WAYLAND_DISPLAY="")
    assert "my figures" in done.stdout and "Output picture to file" in done.stdout and not done.stderr


def bare_python():
    """A Python without our libraries, as a batch system's nodes have it, or skip."""
    for executable in filter(None, (shutil.which("python3", path=os.defpath), sys._base_executable)):
        if subprocess.run([executable, "-c", "import keras, PIL"], capture_output=True, cwd="/").returncode:
            return executable
    pytest.skip("no Python without Keras on this machine")


def test_a_copy_finds_the_python_of_the_module(copy, tmp_path):
    """After `module load biogans`, whatever `python` is."""
    done = python(copy / "train.py", "-h", cwd=tmp_path, executable=bare_python(), BG_HOME="")
    assert done.returncode == 2 and "No module named" in done.stderr and "module" in done.stderr
    assert done.stderr.count("\n") == 1
    if not (ROOT / ".venv").exists():
        pytest.skip("this installation has no environment of its own")
    done = python(copy / "train.py", "-h", cwd=tmp_path, executable=bare_python(), BG_HOME=str(ROOT))
    assert done.returncode == 0 and done.stdout.startswith("the copy of train\nusage: train.py")


# ---------------------------------------------------------------------------------------------- the installation

@pytest.mark.parametrize("command", COMMANDS)
def test_commands_can_be_linked(tmp_path, command):
    """From a folder on PATH, and started without naming a Python."""
    script = ROOT / "bin" / f"{command}.py"
    assert os.access(script, os.X_OK)
    (tmp_path / "on path").mkdir()
    os.symlink(script, tmp_path / "on path" / script.name)
    path = os.pathsep.join([str(tmp_path / "on path"), str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(["/bin/sh", "-c", f"{script.name} -h"], cwd=tmp_path, capture_output=True, text=True,
                          env={**os.environ, "PATH": path})
    assert done.returncode == 0 and done.stdout.startswith(f"usage: {script.name}") and not done.stderr


def test_a_broken_environment_is_not_started_for_ever(tmp_path):
    """.venv/bin/python without a pyvenv.cfg is just another name of the Python that runs already."""
    shutil.copytree(SOURCES, tmp_path / "src" / "biogans", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "bin", tmp_path / "bin")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    os.symlink(bare_python(), tmp_path / ".venv" / "bin" / "python")
    done = subprocess.run([sys.executable, tmp_path / "bin" / "train.py", "-h"], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 2 and "No module named" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_modules_can_be_run(tmp_path, command):
    done = python("-m", f"biogans.{command}", "-h", cwd=tmp_path, PYTHONPATH=str(ROOT / "src"))
    assert done.returncode == 0 and done.stdout.startswith("usage:") and not done.stderr


def test_entry_points(capsys):
    """What setup.py installs as biogans-train and so on exists, and tells a mistake by its status."""
    found = dict(re.findall(r'"(biogans-\w+) = (biogans\.\w+:main)"', (ROOT / "setup.py").read_text()))
    assert {f"biogans-{command}" for command in COMMANDS} <= found.keys()
    for name, target in found.items():
        main = getattr(importlib.import_module(target.split(":")[0]), "main")
        with pytest.raises(SystemExit) as end:
            main(["--no-such-option"])
        assert end.value.code == 2 and capsys.readouterr().err, name


def test_main_returns_the_status(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command, option in (("train", "-d"), ("predict", "-i"), ("visualize", "-i")):
        assert importlib.import_module(f"biogans.{command}").main([option, "missing"]) == 2
        assert "missing" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_full_disks_and_the_like_are_one_line(capsys):
    from biogans import launch
    for number, words in ((errno.ENOSPC, "make room"), (errno.EACCES, "may write"), (errno.EROFS, "may write"),
                          (errno.ENOTDIR, "a file stands"), (errno.ENAMETOOLONG, "shorter")):
        def command(options):
            raise OSError(number, os.strerror(number), "results/x.h5")
        assert launch.run(command, None) == 2
        line = capsys.readouterr().err
        assert "results/x.h5" in line and words in line and line.count("\n") == 1


def test_a_bug_is_not_hidden():
    from biogans import launch
    for problem in (ValueError("a bug"), OSError(errno.EIO, "Input/output error")):
        def command(options):
            raise problem
        with pytest.raises(type(problem)):
            launch.run(command, None)


def test_the_sources_that_run_are_named(run, data, tmp_path):
    """And in a folder with a copy of them a user is told how to run that."""
    out = run("train.py", "-d", "nowhere").stdout
    assert out == f"biogans {biogans.__version__}, sources in {ROOT / 'src' / 'biogans'}\n"
    for source in (ROOT / "src" / "biogans").glob("*.py"):
        shutil.copy(source, tmp_path)
    assert "type python train.py" in run("train.py", "-d", "nowhere").stdout
    copy = subprocess.run([sys.executable, "train.py", "-d", "nowhere"], cwd=tmp_path, capture_output=True, text=True)
    assert f"sources in {tmp_path}" in copy.stdout and "python train.py" not in copy.stdout
