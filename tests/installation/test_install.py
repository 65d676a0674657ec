"""`make install` is whole or absent: from a small checkout, whose only library is a wheel that lies beside it."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import pytest

from conftest import ROOT

TINY = """import json, os, sys
def main():
    print(json.dumps({"python": sys.executable, "isolated": sys.flags.isolated, "file": __file__}))
"""
KERNEL = {"argv": ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"], "language": "python"}


def make_wheel(folder):
    """A wheel with one program, `tiny`, and a Jupyter kernel; its line of a lock."""
    path, info = folder / "tiny-1.0-py3-none-any.whl", "tiny-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("tiny.py", TINY)
        wheel.writestr("tiny-1.0.data/data/share/jupyter/kernels/python3/kernel.json", json.dumps(KERNEL))
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.4\nName: tiny\nVersion: 1.0\nLicense-Expression: MIT\n"
                       "License-File: LICENSE\n")
        wheel.writestr(f"{info}/licenses/LICENSE", "the licence of tiny")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/entry_points.txt", "[console_scripts]\ntiny = tiny:main\n")
        wheel.writestr(f"{info}/RECORD", "")
    return f"tiny==1.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


class Site:
    """A checkout with a lock of one wheel, and a folder `apps` for installations."""

    def __init__(self, folder):
        self.apps, self.checkout = folder / "apps", folder / "checkout"
        self.apps.mkdir()
        for name in ("src", "data", "data_48-80", "docs", "course"):
            (self.checkout / name).mkdir(parents=True)
        for name in ("bin", "modulefiles", "hpc"):
            shutil.copytree(ROOT / name, self.checkout / name)
        for name in ("Makefile", "README.md", "requirements-gpu.lock", "requirements-course.lock"):
            shutil.copy(ROOT / name, self.checkout)
        self.lock = self.checkout / "requirements.lock"
        self.lock.write_text(make_wheel(folder))
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C.UTF-8", "PIP_NO_INDEX": "1",
                            "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": str(folder),
                            "PIP_DISABLE_PIP_VERSION_CHECK": "1"}

    def start(self, prefix, *settings):
        return subprocess.Popen(["make", "install", f"PREFIX={prefix}", f"PYTHON={sys.executable}", *settings],
                                cwd=self.checkout, env=self.environment, umask=0o077, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)

    def install(self, prefix, *settings):
        process = self.start(prefix, *settings)
        output, errors = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return Site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def home(site):
    """An installation in folders that did not exist; below one with a space, for which pip writes other scripts."""
    prefix = site.apps / "new folder/biogans/1.0.0"
    done = site.install(prefix)
    assert (done.returncode, done.stdout) == (0, f"module use {prefix}/modulefiles; module load biogans\n"), done.stderr
    return prefix


def test_everyone_can_read_it(site, home):
    """Although the administrator's umask is 077; the folders above it, too."""
    for path in (*home.relative_to(site.apps).parents, home.relative_to(site.apps)):
        if path.parts:
            assert (site.apps / path).stat().st_mode & 0o777 == 0o755, path
    assert [path for path in home.rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o044 != 0o044] == []
    assert os.listdir(home.parent) == [home.name]


def test_it_states_what_it_contains(site, home):
    digest = hashlib.sha256(site.lock.read_bytes()).hexdigest()
    assert (home / ".venv/installed").read_text() == f"requirements.lock sha256:{digest}\n"
    notices = (home / "THIRD-PARTY.txt").read_text()
    path, = re.findall(r"^tiny 1\.0: MIT\n    (.*)$", notices, re.MULTILINE)
    libraries, = home.glob(".venv/lib/python*/site-packages")
    assert (libraries / path).read_text() == "the licence of tiny"
    assert "ffmpeg" in notices and "ONNX Runtime Web" in notices


def test_it_may_be_moved(site, home, tmp_path):
    """Its programs find the Python beside them, also through links, and no library of another module."""
    moved = shutil.move(home, tmp_path / "elsewhere")
    try:
        (tmp_path / "json").mkdir()
        (tmp_path / "json/__init__.py").write_text("raise ImportError('of another Python')")
        (tmp_path / "link").symlink_to(moved / ".venv/bin/tiny")
        surroundings = site.environment | {"PYTHONPATH": str(tmp_path), "PYTHONHOME": str(tmp_path)}
        for program in (moved / ".venv/bin/tiny", tmp_path / "link"):
            done = subprocess.run([program], env=surroundings, cwd=tmp_path, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            started = json.loads(done.stdout)
            assert (started["python"], started["isolated"]) == (f"{moved}/.venv/bin/python", 1)
            assert started["file"].startswith(str(moved))
        kernel = json.loads((moved / ".venv/share/jupyter/kernels/python3/kernel.json").read_text())
        assert kernel["argv"][:6] == ["python", "-E", "-s", "-B", "-m", "ipykernel_launcher"]
        assert not list((moved / ".venv/bin").glob("[aA]ctivate*"))
        assert b".new-" not in (moved / ".venv/pyvenv.cfg").read_bytes()
    finally:
        shutil.move(moved, home)


def test_a_failure_leaves_what_was_there(site, home, monkeypatch):
    """Here a library that can't be had."""
    monkeypatch.setitem(site.environment, "PIP_FIND_LINKS", "")
    (home / "mine").touch()
    done = site.install(home)
    assert done.returncode == 2 and "nothing was installed" in done.stderr
    assert (home / "mine").exists() and (home / ".venv/installed").exists()
    assert os.listdir(home.parent) == [home.name]


def test_an_interrupted_one_leaves_nothing(site):
    """After SIGTERM, in the middle of the environment."""
    prefix = site.apps / "interrupted"
    process = site.start(prefix)
    until = time.monotonic() + 60
    while not list(site.apps.glob(".interrupted.new-*/.venv/bin/python")):
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode != 0
    time.sleep(0.5)                     # a process that still wrote would make the folder again
    assert [name for name in os.listdir(site.apps) if "interrupted" in name] == []


def test_it_can_be_repeated(site, home):
    """The old installation goes when the new one is there; this one has a further package."""
    (home / "mine").touch()
    done = site.install(home, "PACKAGES=tiny>=1.0")
    assert done.returncode == 0, done.stderr
    assert not (home / "mine").exists() and (home / ".venv/installed").read_text().endswith("\ntiny>=1.0\n")
    assert os.listdir(home.parent) == [home.name]
    assert not [name for name in os.listdir(site.checkout) if "=" in name]      # a file, if the shell read the `>`


@pytest.mark.parametrize("stamp", [None, ""])
def test_nothing_else_is_replaced(site, stamp):
    """A folder with somebody's files; a checkout, whose own stamp is empty."""
    other = site.apps / "other"
    (other / ".venv").mkdir(parents=True, exist_ok=True)
    (other / "work").touch()
    if stamp is not None:
        (other / ".venv/installed").write_text(stamp)
    done = site.install(other)
    assert done.returncode == 2 and (other / "work").exists()
    assert f"{other} already exists, and is no installation" in done.stderr
    shutil.rmtree(other)


@pytest.mark.parametrize("setting, words", [("PREFIX=", "where?"), ("TENSORFLOW=torch", "tensorflow-cpu or tensor")])
def test_mistakes_are_one_line(site, setting, words):
    done = subprocess.run(["make", "install", f"PREFIX={site.apps}/wrong", f"PYTHON={sys.executable}", setting],
                          cwd=site.checkout, env=site.environment, capture_output=True, text=True)
    first, last = done.stderr.splitlines()
    assert done.returncode == 2 and words in first and last.startswith("make: ***")
    assert not (site.apps / "wrong").exists()
