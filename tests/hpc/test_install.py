"""`make install PREFIX=…`: the module of a prefix, versions side by side, and nothing written at run time."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from module_shell import LOAD_LINE, SHOW, VERSION, shown

from .cluster import ROOT, need, show


@pytest.fixture(autouse=True)
def tools():
    need("environment-modules")
    need("lmod")


@pytest.fixture(scope="module")
def apps():
    """A site's folder: version 1.0.0 from `make install`, then moved; 1.1.0, made from it; a module tree with both."""
    folder = Path(tempfile.mkdtemp(prefix="biogans-apps-"))         # other users can't enter tmp_path
    folder.chmod(0o755)
    done = subprocess.run(["make", "install", f"PREFIX={folder}/first", "PYTHON=/usr/bin/python3"], cwd=ROOT,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (folder / "biogans").mkdir()
    home = (folder / "first").rename(folder / "biogans" / VERSION)
    show(f"make install, then moved to …/{VERSION}:", *sorted(path.name for path in home.iterdir()))
    later = folder / "biogans/1.1.0"
    shutil.copytree(home, later, ignore=shutil.ignore_patterns(".venv"))
    (later / ".venv").symlink_to(home / ".venv")
    (later / "modulefiles/biogans" / VERSION).rename(later / "modulefiles/biogans/1.1.0")
    (folder / "installed").touch()
    tree = folder / "modulefiles/biogans"
    tree.mkdir(parents=True)
    (tree / VERSION).symlink_to(home / "modulefiles/biogans" / VERSION)
    (tree / "1.1.0").symlink_to(later / "modulefiles/biogans/1.1.0")
    shutil.copy(ROOT / "modulefiles/biogans/.version", tree)
    yield folder
    shutil.rmtree(folder)


def test_a_session_under_the_installed_module(module, apps):
    """A user's session, up to a picture of a cell that the user's own network generated."""
    home = apps / "biogans" / VERSION
    done = module(f"module load biogans; {SHOW}; ls $BG_BIN $BG_SRC > names; "
                  "cp -r ${BG_DATA}_48-80/* .; cp $BG_SRC/* . && "
                  "train.py -d data -m DCGAN -a GAN --ngf 4 --ndf 4 -b 4 -e 1 | tail -n 1 && "
                  "predict.py -i checkpoints/weights.generator.DCGAN.GAN.1.h5 | tail -n 1 && "
                  "visualize.py -i images/stack2.DCGAN.GAN.h5 -o cell.png", use=apps / "modulefiles")
    assert done.returncode == 0 and done.stderr == LOAD_LINE, done.stderr
    assert done.stdout.startswith(shown(home)) and done.stdout.endswith("cell.png\n")
    show(f"{module.name}, installed in a prefix:", done.stdout)


def test_an_edited_copy_runs_with_the_installed_environment(module, apps):
    """Even if `python` is the machine's own, without the libraries."""
    done = module("module load biogans; cp $BG_SRC/* .; "
                  "echo 'import tifffile; print(\"my networks\", tifffile.__file__)' >> models.py; "
                  "/usr/bin/python3 train.py -h", use=apps / "modulefiles")
    assert done.returncode == 0 and done.stdout.startswith(f"my networks {apps}/biogans/{VERSION}/.venv/"), done.stderr


def test_versions_side_by_side(module, apps):
    done = module("module avail biogans 2>&1 | cat; module load biogans; echo $BG_HOME; "
                  "module switch biogans biogans/1.1.0; echo $BG_HOME; train.py -h | head -n 1; "
                  "module unload biogans; echo [$BG_HOME]", use=apps / "modulefiles")
    assert VERSION in done.stdout and "1.1.0" in done.stdout
    first, second, usage, unloaded = done.stdout.splitlines()[-4:]
    assert (first, second, unloaded) == (f"{apps}/biogans/{VERSION}", f"{apps}/biogans/1.1.0", "[]")
    assert usage.startswith("usage: train.py")
    show(f"{module.name}, two versions:", *done.stdout.splitlines()[-4:])


def test_nothing_was_written_to_the_prefix(apps):
    """Neither by another user, who may not, nor in the earlier tests by root, who could."""
    home = apps / "biogans" / VERSION
    work = apps / "work"
    work.mkdir()
    work.chmod(0o777)
    done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-ec",
                           f"cp -r {home}/data_48-80/* .; "
                           f"{home}/bin/train.py -d data -m DCGAN -a GAN --ngf 4 -b 4 -e 1"],
                          cwd=work, capture_output=True, text=True, env={"PATH": os.defpath, "HOME": str(work)})
    assert done.returncode == 0, done.stdout + done.stderr
    files = set(home.rglob("*"))
    show(f"none of {len(files)} files was written at run time")
    assert not {path for path in files if path.lstat().st_mtime > (apps / "installed").stat().st_mtime}


def test_tensorboard_starts_in_a_moved_installation(apps):
    """With the numpy of another module on PYTHONPATH."""
    (apps / "other/numpy").mkdir(parents=True)
    (apps / "other/numpy/__init__.py").write_text("raise ImportError('numpy of another Python')")
    done = subprocess.run([apps / "biogans" / VERSION / ".venv/bin/tensorboard", "--version"], capture_output=True,
                          text=True, env={"PATH": os.defpath, "PYTHONPATH": str(apps / "other")})
    assert done.returncode == 0 and done.stdout.startswith("2."), done.stderr
