"""The sources and the Python that run: edited copies of the core, links to commands, `biogans`, the wheel."""

import csv
import errno
import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import biogans
import forked_python
from biogans import commands
from biogans.system import launch
from conftest import ROOT, SMALL, train_small_networks

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

def test_the_core_is_a_small_flat_folder():
    """Users copy and edit it: at most 20 files, under 300 KB, and no folders, which `cp $BG_SRC/* .` would report."""
    paths = list(CORE.iterdir())
    assert len(paths) <= 20 and all(path.is_file() for path in paths), sorted(path.name for path in paths)
    assert sum(path.stat().st_size for path in paths) < 300_000
    assert {"train.py", "predict.py", "visualize.py", "options.py", "dataloader.py", "models.py"} <= {
        path.name for path in paths}


@pytest.mark.parametrize("problem, words", [
    (lambda: np.array([10**30]).astype(np.int64), "OverflowError"), (lambda: b"\xe9".decode(), "not UTF-8"),
    (lambda: json.loads("[" * 100_000), "RecursionError"), (lambda: bytearray(1 << 60), "out of memory"),
    (lambda: list(csv.reader(["x" * 200_000])), "field limit")])
def test_what_no_reader_understands_is_one_line(capsys, problem, words):
    assert launch.run(lambda _: problem(), None) == 2
    line = capsys.readouterr().err
    assert words in line and line.count("\n") == 1


def test_mistakes_in_the_program_itself_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        launch.run(lambda _: 1 / 0, None)


def test_a_name_in_a_mistake_moves_no_cursor(capsys):
    assert launch.fail("a\x1b[Ab\u202ec.h5: no such file") == 2
    assert r"a\x1b[Ab\u202ec.h5" in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------- copies

@pytest.mark.parametrize("command", ["train", "predict", "visualize"])
def test_a_copy_runs_from_any_folder_and_by_a_relative_path(edited, tmp_path, command):
    (tmp_path / "elsewhere").mkdir()
    for script, cwd in ((f"../{edited.name}/{command}.py", tmp_path / "elsewhere"), (f"{command}.py", edited)):
        done = python(script, "-h", cwd=cwd)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"my networks\nusage: {command}.py")


def test_a_copy_takes_precedence_over_the_installation(edited):
    """Even if the installed folder or package is on Python's path."""
    for path in (CORE, ROOT / "src", edited):
        done = python(edited / "train.py", "-h", cwd=CORE, PYTHONPATH=str(path))
        assert done.stdout.startswith("my networks") and not done.stderr


def test_installed_commands_ignore_a_copy(edited, run):
    """Even if it is the working directory."""
    for command in commands.COMMANDS:
        done = run(command, "-h", cwd=edited)
        assert done.returncode == 0 and done.stdout.startswith("usage:"), done.stderr
    done = python("-P", "-m", "biogans", "train", "-h", cwd=edited, PYTHONPATH=str(ROOT / "src"))
    assert done.returncode == 0 and done.stdout.startswith("usage:")


def test_a_copy_imports_all_its_own_modules(copy, tmp_path):
    """None comes from the installation, and none hides a library of the same name."""
    names = sorted(path.stem for path in copy.glob("*.py") if path.stem != "__init__")
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
    """A folder with data and small trained networks."""
    folder = tmp_path_factory.mktemp("trained")
    train_small_networks(folder)
    return folder


@pytest.mark.parametrize("command, arguments", [
    ("train", ["-d", "data", "-m", "DCGAN", *SMALL, "-e", "1", "-c", "own"]),
    ("predict", ["-i", "checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5"]),
    *(pytest.param(command, ["-i", f"checkpoints/weights.generator.{name}.h5", *words], marks=pytest.mark.slow)
      for command, name, *words in (
          ("card", "DCGAN.WGAN-GP.1"), ("interpolate", "DCGAN-starshaped.WGAN-GP.2", "-n", "2", "--frames", "2"),
          ("explore", "DCGAN-starshaped.WGAN-GP.2", "-o", "page.html")))])
def test_every_command_uses_edited_networks(copy, trained, run, command, arguments):
    """After `export BG_SRC=$PWD` in the copy, from another folder."""
    with open(copy / "models.py", "a") as file:
        file.write("\noriginal = build_generator\n"
                   "def build_generator(spec):\n    print('my generator')\n    return original(spec)\n")
    done = run(command, *arguments, cwd=trained, env=os.environ | {"BG_SRC": str(copy), "DISPLAY": ""})
    assert "my generator" in done.stdout and f"sources in {copy}" in done.stdout, done.stderr
    assert done.returncode == 0, done.stderr


def test_a_copy_trains_an_edited_network(copy, data, tmp_path):
    """train.py of the copy trains a critic with another slope; predict.py and visualize.py of the copy run, too."""
    models, figures = copy / "models.py", copy / "figures.py"
    text = models.read_text()
    models.write_text(re.sub(r"negative_slope=[\d.]+", "negative_slope=print('my slope') or 0.375", text))
    assert models.read_text() != text
    with open(figures, "a") as file:
        file.write("\nprint('my figures')\n")
    done = python(copy / "train.py", "-d", data, "-m", "DCGAN", *SMALL, "-e", "1", cwd=tmp_path)
    assert done.returncode == 0 and "my slope" in done.stdout, done.stderr
    done = forked_python.run([sys.executable, copy / "predict.py", "-i",
                              "checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5"], tmp_path)
    assert "Output image stack" in done.stdout, done.stderr
    done = python(copy / "visualize.py", "-i", "images/stack2.DCGAN.WGAN-GP.h5", cwd=tmp_path,
                  DISPLAY="", WAYLAND_DISPLAY="")
    assert "my figures" in done.stdout and "Output picture to file" in done.stdout and not done.stderr


def test_an_incomplete_copy_is_refused(copy, run):
    (copy / "engine.py").unlink()
    done = run("train.py", "-h", env=os.environ | {"BG_SRC": str(copy)})
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "engine.py" in done.stderr and "unset BG_SRC" in done.stderr
    done = run("train.py", "-h", env=os.environ | {"BG_SRC": str(copy / "nowhere")})
    assert done.returncode == 2 and "unset BG_SRC" in done.stderr and done.stderr.count("\n") == 1


def test_the_core_of_another_installation_is_no_copy(tmp_path, run):
    """If the module of another version is loaded, an installation still runs its own core."""
    home = tmp_path / "apps"
    shutil.copytree(CORE.parent, home / "src/biogans", ignore=shutil.ignore_patterns("__pycache__", "page"))
    module = {"BG_HOME": str(home), "BG_SRC": str(home / "src/biogans/core")}
    assert f"sources in {CORE}\n" in run("train.py", "-d", "nowhere", env=os.environ | module).stdout


def bare_python():
    """A Python without the libraries of BioGANs, such as that of a cluster's nodes; skips the test without one."""
    for folders in (os.defpath, f"{sys.base_prefix}/bin"):
        executable = shutil.which("python3", path=folders)
        if executable and subprocess.run([executable, "-c", "import keras, PIL"], capture_output=True,
                                         cwd="/").returncode:
            return executable
    pytest.skip("no Python without Keras on this machine")


def test_a_copy_finds_the_python_of_the_module(edited, tmp_path):
    """After `module load biogans`, whichever Python runs it."""
    done = python(edited / "train.py", "-h", cwd=tmp_path, executable=bare_python(), PYTHONPATH="")
    assert done.returncode == 1 and "module load biogans" in done.stderr and done.stderr.count("\n") == 1
    if not (ROOT / ".venv").exists():
        pytest.skip("this installation has no environment of its own")
    done = python(edited / "train.py", "-h", cwd=tmp_path, executable=bare_python(), BG_HOME=str(ROOT))
    assert done.returncode == 0 and done.stdout.startswith("my networks\nusage: train.py")


@pytest.mark.slow
def test_a_wheel_runs_commands_and_copies(tmp_path, data, copy):
    """pip installs `biogans` with all its files, and copies of the core work with it."""
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir",
                    tmp_path / "wheels", ROOT], check=True, capture_output=True)
    wheel, = (tmp_path / "wheels").glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--system-site-packages", tmp_path / "venv"], check=True)
    packages, = (tmp_path / "venv/lib").glob("python*/site-packages")
    site, = {Path(path) for path in sys.path if path.endswith("site-packages")}
    (packages / "libraries.pth").write_text(f"{site}\n")
    subprocess.run([tmp_path / "venv/bin/python", "-m", "pip", "install", "--quiet", "--no-deps", "--force-reinstall",
                    wheel], check=True, capture_output=True)
    assert (packages / "biogans/latent/page/explore.html").is_file()
    with open(copy / "models.py", "a") as file:
        file.write("\nprint('my networks')\n")
    for environment, words in (({}, f"sources in {packages}"), ({"BG_SRC": str(copy)}, "my networks")):
        done = subprocess.run([tmp_path / "venv/bin/biogans", "train", "-d", data, "-m", "DCGAN", *SMALL, "-e", "1"],
                              cwd=tmp_path, capture_output=True, text=True,
                              env=os.environ | {"PYTHONPATH": ""} | environment)
        assert done.returncode == 0 and words in done.stdout, done.stderr
    done = python(copy / "train.py", "-h", cwd=tmp_path, executable=tmp_path / "venv/bin/python", PYTHONPATH="")
    assert done.returncode == 0 and done.stdout.startswith("my networks"), done.stderr


# ---------------------------------------------------------------------------------------------- the installation

@pytest.mark.parametrize("script", ["train.py", "predict.py", "visualize.py", "biogans"])
def test_commands_can_be_linked(tmp_path, script):
    """They run through links in a folder on PATH, without a Python on the command line."""
    assert os.access(ROOT / "bin" / script, os.X_OK)
    assert {path.name for path in (ROOT / "bin").iterdir()} == {"train.py", "predict.py", "visualize.py", "biogans"}
    (tmp_path / "on path").mkdir()
    os.symlink(ROOT / "bin" / script, tmp_path / "on path" / script)
    path = os.pathsep.join([str(tmp_path / "on path"), str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(["/bin/sh", "-c", f"{script} -h"], cwd=tmp_path, capture_output=True, text=True,
                          env={**os.environ, "PATH": path})
    assert done.returncode == 0 and done.stdout.startswith(f"usage: {script}") and not done.stderr


def test_a_broken_environment_is_not_restarted_forever(tmp_path):
    """.venv/bin/python without a pyvenv.cfg is just another name of the running Python."""
    shutil.copytree(CORE.parent, tmp_path / "src" / "biogans", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "bin", tmp_path / "bin")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    os.symlink(bare_python(), tmp_path / ".venv" / "bin" / "python")
    done = subprocess.run([sys.executable, tmp_path / "bin" / "train.py", "-h"], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 2 and "No module named" in done.stderr and done.stderr.count("\n") == 1


def test_a_python_that_is_too_old_is_refused(monkeypatch, capsys):
    """The minor version before that of pyproject.toml, which itself is accepted."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    minimum = project["requires-python"].removeprefix(">=")
    major, minor = map(int, minimum.split("."))
    monkeypatch.setattr(launch, "use_installed_python", lambda: None)
    monkeypatch.setattr(launch, "run", lambda *arguments: 7)        # the exit status of an accepted command
    for version, status in (((major, minor - 1), 2), ((major, minor), 7)):
        monkeypatch.setattr(sys, "version_info", version)
        with pytest.raises(SystemExit) as end:
            commands.run("evaluate", [])
        assert end.value.code == status
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and f"is older than Python {minimum}: run 'make'" in line


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
    """It has a parser, a main function and a summary of one line; its exit status reports a mistake."""
    with pytest.raises(SystemExit) as end:
        commands.load(name).main(["--no-such-option"])
    assert end.value.code == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1 and printed.startswith(commands.load(name).parser().prog + ": ")
    core = name in commands.GROUPS["train and generate"]
    assert commands.load(name).parser().prog == (f"{name}.py" if core else f"biogans {name}")
    assert 10 < len(commands.summary(name)) < 100


def test_main_returns_the_exit_status(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command, option in (("train", "-d"), ("predict", "-i"), ("visualize", "-i")):
        assert importlib.import_module(f"biogans.core.{command}").main([option, "missing"]) == 2
        assert "missing" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def fail(problem):
    """A command that raises the exception that it gets as its options."""
    raise problem


@pytest.mark.parametrize("number, words", [
    (errno.ENOSPC, "make room"), (errno.EACCES, "may write"), (errno.EROFS, "may write"),
    (errno.ENOTDIR, "a file stands"), (errno.ENAMETOOLONG, "shorter")])
def test_problems_with_the_disk_are_one_line(capsys, number, words):
    assert launch.run(fail, OSError(number, os.strerror(number), "results/x.h5")) == 2
    line = capsys.readouterr().err
    assert "results/x.h5" in line and words in line and line.count("\n") == 1


@pytest.mark.parametrize("problem", [ValueError("a bug"), OSError(errno.EIO, "Input/output error")])
def test_bugs_are_not_hidden(problem):
    with pytest.raises(type(problem)):
        launch.run(fail, problem)


def test_commands_print_the_folder_of_their_sources(run, copy):
    """In a folder with a copy of the sources they also print how to run that."""
    assert run("train.py", "-d", "nowhere").stdout == f"biogans {biogans.__version__}, sources in {CORE}\n"
    assert "export BG_SRC=$PWD" in run("train.py", "-d", "nowhere", cwd=copy).stdout
    done = python("train.py", "-d", "nowhere", cwd=copy)
    assert f"sources in {copy}\n" in done.stdout and "BG_SRC=" not in done.stdout


@pytest.mark.parametrize("name", OTHERS)
def test_commands_start_from_anywhere(tmp_path, run, name):
    done = run(name, "-h")
    assert done.returncode == 0 and done.stdout.startswith(f"usage: biogans {name}") and not done.stderr


# ---------------------------------------------------------------------------------------------- pipes

@pytest.mark.parametrize("command", ["biogans", "biogans version", "biogans predict --help_all", "train.py -h",
                                     "biogans simulate -o data --train 6 --test 6 --joint 1 --overwrite"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_nobody_reads_ends_quietly(command, unbuffered, tmp_path):
    """As in `biogans … | head -1`, where the reader may leave before or after the first line."""
    for reader, shown in (("head -1", 1), ("true", 0)):
        done = subprocess.run(["bash", "-c", f"{shlex.quote(sys.executable)} {ROOT}/bin/{command} | {reader}; "
                                             "exit ${PIPESTATUS[0]}"], cwd=tmp_path, capture_output=True, text=True,
                              env=os.environ | {"PYTHONUNBUFFERED": unbuffered})
        assert done.returncode in (0, 141) and done.stdout.count("\n") == shown and not done.stderr, done


def test_a_closed_pipe_of_another_kind_is_an_error():
    def command(_):
        raise BrokenPipeError(errno.EPIPE, "a worker has died")
    with pytest.raises(BrokenPipeError, match="a worker has died"):
        launch.run(command, None)


def test_a_long_output_without_a_reader(tmp_path):
    """The status is that of a program that SIGPIPE ends, as a shell reports it."""
    code = ("import sys; from biogans.system import launch\n"
            "def command(_):\n    for line in range(10**6): print(line)\n"
            "sys.exit(launch.run(command, None))")
    done = subprocess.run(["bash", "-c", f"{shlex.join([sys.executable, '-c', code])} | head -1; "
                                         "exit ${PIPESTATUS[0]}"], env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
                          cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (141, "0\n", "")
