"""Which sources and which Python run: edited copies of the core, links to commands, `biogans`, module, wheel."""

import errno
import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import biogans
from biogans import commands
from conftest import ROOT, SMALL, typed

CORE = ROOT / "src" / "biogans" / "core"
OTHERS = [name for name in commands.COMMANDS if name not in commands.GROUPS["train and generate"]]


def python(*arguments, cwd, executable=sys.executable, **environment):
    return subprocess.run([executable, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=300,
                          env={**os.environ, **environment})


@pytest.fixture
def copy(tmp_path):
    """A copy of the core, as `cp $BG_SRC/* .` makes it."""
    folder = tmp_path / "my own sources"
    folder.mkdir()
    done = subprocess.run(["sh", "-c", f"cp {CORE}/* ."], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def edited(copy):
    """A copy in which a student has added a line to models.py."""
    with open(copy / "models.py", "a") as file:
        file.write("\nprint('my networks')\n")
    return copy


# ---------------------------------------------------------------------------------------------- the folder

def test_the_core_is_a_leaf_that_one_copies():
    """At most 20 files, no folders, under 300 KB; every other room imports it, so it is all that a student edits."""
    paths = list(CORE.iterdir())
    assert len(paths) <= 20 and all(path.is_file() for path in paths), sorted(path.name for path in paths)
    assert sum(path.stat().st_size for path in paths) < 300_000
    assert {"train.py", "predict.py", "visualize.py", "options.py", "dataloader.py", "models.py"} <= {
        path.name for path in paths}


# ---------------------------------------------------------------------------------------------- copies

@pytest.mark.parametrize("command", ["train", "predict", "visualize"])
def test_a_copy_runs_from_any_folder_and_with_a_relative_name(edited, tmp_path, command):
    (tmp_path / "elsewhere").mkdir()
    for script, cwd in ((f"../{edited.name}/{command}.py", tmp_path / "elsewhere"), (f"{command}.py", edited)):
        done = python(script, "-h", cwd=cwd)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"my networks\nusage: {command}.py")


def test_a_copy_wins_over_the_installation(edited):
    """Even where the installed folder or package is on Python's path."""
    for path in (CORE, ROOT / "src", edited):
        done = python(edited / "train.py", "-h", cwd=CORE, PYTHONPATH=str(path))
        assert done.stdout.startswith("my networks") and not done.stderr


def test_the_installation_does_not_see_a_copy(edited, run):
    for command in commands.COMMANDS:
        done = run(command, "-h", cwd=edited)
        assert done.returncode == 0 and done.stdout.startswith("usage:"), done.stderr
    done = python("-P", "-m", "biogans", "train", "-h", cwd=edited, PYTHONPATH=str(ROOT / "src"))
    assert done.returncode == 0 and done.stdout.startswith("usage:")


def test_every_module_of_a_copy_is_its_own(copy, tmp_path):
    """No module of the core is taken from the installation, and none hides a library of the same name."""
    names = sorted(path.stem for path in copy.glob("*.py") if path.stem not in ("__init__", "backend_jax"))
    with open(copy / "options.py", "a") as file:
        file.write("\nimport importlib\n"
                   f"for name in {names}:\n"
                   "    module = importlib.import_module('biogans.core.' + name)\n"
                   "    print('from', module.__file__.rpartition('/')[0])\n"
                   "import dataloader\n")
    done = python(copy / "train.py", "-h", cwd=tmp_path, PYTHONPATH=str(ROOT / "src"))
    assert re.findall("^from (.*)", done.stdout, re.MULTILINE) == [str(copy)] * len(names)
    assert "No module named 'dataloader'" in done.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with data and a small trained InfoGAN-free DCGAN, for the commands that need both."""
    from conftest import train_small_networks
    folder = tmp_path_factory.mktemp("trained")
    train_small_networks(folder)
    return folder


@pytest.mark.parametrize("command, arguments", [
    ("train", ["-d", "data", "-m", "DCGAN", *SMALL, "-e", "1", "-c", "own"]),
    ("predict", ["-i", "checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5"]),
    ("evaluate", ["-i", "checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5", "-d", "data", "--codes"]),
    ("interpolate", ["-i", "checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.2.h5", "-n", "2", "--frames", "2"]),
    ("explore", ["-i", "checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.2.h5", "-o", "page.html"])])
def test_an_edit_of_the_networks_is_seen_by_every_command(copy, trained, run, command, arguments):
    """`export BG_SRC=$PWD` in the copy, then any command from another folder."""
    with open(copy / "models.py", "a") as file:
        file.write("\n_build = build_generator\ndef build_generator(spec):\n    print('my generator')\n    return _build(spec)\n")
    arguments = [word.replace("WGAN-GP.1.h5", "WGAN-GP.0.h5") if not (trained / word).exists() else word for word in arguments]
    done = run(command, *arguments, cwd=trained, env=os.environ | {"BG_SRC": str(copy), "DISPLAY": ""})
    assert "my generator" in done.stdout and f"sources in {copy}" in done.stdout, done.stderr
    if command != "evaluate":           # which refuses a network without codes, once it has built it
        assert done.returncode == 0, done.stderr


def test_an_edited_network_is_what_is_trained(copy, data, tmp_path):
    """A critic of another slope is trained by the copy; then predict.py and visualize.py of the copy draw."""
    models, figures = copy / "models.py", copy / "figures.py"
    text = models.read_text()
    models.write_text(re.sub(r"negative_slope=[\d.]+", "negative_slope=print('my slope') or 0.375", text))
    assert models.read_text() != text
    with open(figures, "a") as file:
        file.write("\nprint('my figures')\n")
    done = python(copy / "train.py", "-d", data, "-m", "DCGAN", *SMALL, "-e", "1", cwd=tmp_path)
    assert done.returncode == 0 and "my slope" in done.stdout, done.stderr
    done = python(copy / "predict.py", "-i", "checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5", cwd=tmp_path)
    assert "Output image stack" in done.stdout, done.stderr
    done = python(copy / "visualize.py", "-i", "images/stack2.DCGAN.WGAN-GP.h5", cwd=tmp_path,
                  DISPLAY="", WAYLAND_DISPLAY="")
    assert "my figures" in done.stdout and "Output picture to file" in done.stdout and not done.stderr


def test_a_copy_that_is_not_whole_is_refused(copy, run):
    (copy / "engine.py").unlink()
    done = run("train.py", "-h", env=os.environ | {"BG_SRC": str(copy)})
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "engine.py" in done.stderr and "unset BG_SRC" in done.stderr
    done = run("train.py", "-h", env=os.environ | {"BG_SRC": str(copy / "nowhere")})
    assert done.returncode == 2 and "unset BG_SRC" in done.stderr and done.stderr.count("\n") == 1


def test_the_core_of_another_installation_is_no_copy(tmp_path, run):
    """A module of another version may be loaded: each installation runs its own core."""
    other = tmp_path / "apps/src/biogans"
    shutil.copytree(CORE.parent, other, ignore=shutil.ignore_patterns("__pycache__", "page"))
    done = run("train.py", "-d", "nowhere", env=os.environ | {"BG_SRC": str(other / "core"), "BG_HOME": str(tmp_path / "apps")})
    assert f"sources in {CORE}\n" in done.stdout


def bare_python():
    """A Python without our libraries, as a batch system's nodes have it, or skip."""
    for executable in filter(None, (shutil.which("python3", path=os.defpath), sys._base_executable)):
        if subprocess.run([executable, "-c", "import keras, PIL"], capture_output=True, cwd="/").returncode:
            return executable
    pytest.skip("no Python without Keras on this machine")


def test_a_copy_finds_the_python_of_the_module(edited, tmp_path):
    """After `module load biogans`, whatever `python` is."""
    done = python(edited / "train.py", "-h", cwd=tmp_path, executable=bare_python())
    assert done.returncode == 1 and "module load biogans" in done.stderr and done.stderr.count("\n") == 1
    if not (ROOT / ".venv").exists():
        pytest.skip("this installation has no environment of its own")
    done = python(edited / "train.py", "-h", cwd=tmp_path, executable=bare_python(), BG_HOME=str(ROOT))
    assert done.returncode == 0 and done.stdout.startswith("my networks\nusage: train.py")


@pytest.mark.slow
def test_a_wheel_runs_commands_and_copies(tmp_path, data, copy):
    """pip installs `biogans`, every file that it needs, and the same copies work with it."""
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir",
                    tmp_path / "wheels", ROOT], check=True, capture_output=True)
    wheel, = (tmp_path / "wheels").glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--system-site-packages", tmp_path / "venv"], check=True)
    packages, = (tmp_path / "venv/lib").glob("python*/site-packages")
    site, = {Path(path) for path in sys.path if path.endswith("site-packages")}
    (packages / "libraries.pth").write_text(f"{site}\n")
    subprocess.run([tmp_path / "venv/bin/python", "-m", "pip", "install", "--quiet", "--no-deps", "--force-reinstall", wheel],
                   check=True, capture_output=True)
    assert (packages / "biogans/latent/page/explore.html").is_file()
    with open(copy / "models.py", "a") as file:
        file.write("\nprint('my networks')\n")
    for environment, words in (({}, f"sources in {packages}"), ({"BG_SRC": str(copy)}, "my networks")):
        done = subprocess.run([tmp_path / "venv/bin/biogans", "train", "-d", data, "-m", "DCGAN", *SMALL, "-e", "1"],
                              cwd=tmp_path, capture_output=True, text=True, env=os.environ | environment)
        assert done.returncode == 0 and words in done.stdout, done.stderr
    done = python(copy / "train.py", "-h", cwd=tmp_path, executable=tmp_path / "venv/bin/python")
    assert done.returncode == 0 and done.stdout.startswith("my networks"), done.stderr


# ---------------------------------------------------------------------------------------------- the installation

@pytest.mark.parametrize("script", ["train.py", "predict.py", "visualize.py", "biogans"])
def test_commands_can_be_linked(tmp_path, script):
    """From a folder on PATH, and started without naming a Python."""
    assert os.access(ROOT / "bin" / script, os.X_OK)
    assert {path.name for path in (ROOT / "bin").iterdir()} == {"train.py", "predict.py", "visualize.py", "biogans"}
    (tmp_path / "on path").mkdir()
    os.symlink(ROOT / "bin" / script, tmp_path / "on path" / script)
    path = os.pathsep.join([str(tmp_path / "on path"), str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(["/bin/sh", "-c", f"{script} -h"], cwd=tmp_path, capture_output=True, text=True,
                          env={**os.environ, "PATH": path})
    assert done.returncode == 0 and done.stdout.startswith(f"usage: {script}") and not done.stderr


def test_a_broken_environment_is_not_started_for_ever(tmp_path):
    """.venv/bin/python without a pyvenv.cfg is just another name of the Python that runs already."""
    shutil.copytree(CORE.parent, tmp_path / "src" / "biogans", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "bin", tmp_path / "bin")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    os.symlink(bare_python(), tmp_path / ".venv" / "bin" / "python")
    done = subprocess.run([sys.executable, tmp_path / "bin" / "train.py", "-h"], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 2 and "No module named" in done.stderr and done.stderr.count("\n") == 1


def test_biogans_lists_its_commands(run):
    for words in ([], ["-h"], ["help"]):
        done = subprocess.run([sys.executable, ROOT / "bin/biogans", *words], capture_output=True, text=True)
        assert done.returncode == 0 and not done.stderr
        assert all(re.search(rf"^  {name} +\w", done.stdout, re.MULTILINE) for name in commands.COMMANDS)
        assert max(map(len, done.stdout.splitlines())) <= 120
    assert run("--version").stdout == f"biogans {biogans.__version__}\n"


def test_a_mistyped_command_suggests_the_nearest(run):
    done = run("evalaute", "-d", "data")
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.count("\n") == 1
    assert "did you mean biogans evaluate?" in done.stderr
    assert "lists the commands" in run("xyz").stderr
    assert run("simulate-videos", "-h").returncode == 0         # either spelling


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_every_command_of_the_registry(name, capsys):
    """It has a parser and a main, explains itself in one line, and reports a mistake by its status."""
    with pytest.raises(SystemExit) as end:
        commands.load(name).main(["--no-such-option"])
    assert end.value.code == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1 and printed.startswith(commands.load(name).parser().prog + ": ")
    core = name in commands.GROUPS["train and generate"]
    assert commands.load(name).parser().prog == (f"{name}.py" if core else f"biogans {name}")
    assert 10 < len(commands.summary(name)) < 100


def test_main_returns_the_status(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command, option in (("train", "-d"), ("predict", "-i"), ("visualize", "-i")):
        assert importlib.import_module(f"biogans.core.{command}").main([option, "missing"]) == 2
        assert "missing" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_full_disks_and_the_like_are_one_line(capsys):
    from biogans.system import launch
    for number, words in ((errno.ENOSPC, "make room"), (errno.EACCES, "may write"), (errno.EROFS, "may write"),
                          (errno.ENOTDIR, "a file stands"), (errno.ENAMETOOLONG, "shorter")):
        def command(options):
            raise OSError(number, os.strerror(number), "results/x.h5")
        assert launch.run(command, None) == 2
        line = capsys.readouterr().err
        assert "results/x.h5" in line and words in line and line.count("\n") == 1


def test_a_bug_is_not_hidden():
    from biogans.system import launch
    for problem in (ValueError("a bug"), OSError(errno.EIO, "Input/output error")):
        def command(options):
            raise problem
        with pytest.raises(type(problem)):
            launch.run(command, None)


def test_the_sources_that_run_are_named(run, copy):
    """And in a folder with a copy of them a user is told how to run that."""
    assert run("train.py", "-d", "nowhere").stdout == f"biogans {biogans.__version__}, sources in {CORE}\n"
    assert "export BG_SRC=$PWD" in run("train.py", "-d", "nowhere", cwd=copy).stdout
    done = python("train.py", "-d", "nowhere", cwd=copy)
    assert f"sources in {copy}\n" in done.stdout and "BG_SRC=" not in done.stdout


@pytest.mark.parametrize("name", OTHERS)
def test_commands_start_from_anywhere(tmp_path, run, name):
    done = run(name, "-h")
    assert done.returncode == 0 and done.stdout.startswith(f"usage: biogans {name}") and not done.stderr
