"""Install BioGANs into a folder, whole or not at all: `make install PREFIX=…` starts this.

The installation is made in a folder beside PREFIX, which then takes the place of PREFIX by a rename. Whatever happens
before that leaves PREFIX as it was: absent, or with the earlier installation. The environment has no paths of its own
place, so that it works in its final one, and in any other. Any `python3` may read this file: no syntax newer than 3.6.
"""

import argparse
import contextlib
import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1]
FILES = ["LICENSE", "*.md", "CITATION.cff", "setup.py", "pyproject.toml", "requirements.lock", "requirements-gpu.lock",
         "requirements-course.lock"]
FOLDERS = ["bin", "src", "data", "data_48-80", "modulefiles", "hpc", "docs", "course"]
LOCKS = {"tensorflow-cpu": "requirements.lock", "tensorflow[and-cuda]": "requirements-gpu.lock"}
STAMP = ".venv/installed"               # the modulefile loads nothing without it; `make` in a checkout leaves it empty
RELATIVE = """#!/bin/sh
'''exec' "$(dirname "$(readlink -f "$0")")/python" -I "$0" "$@"
' '''
"""                                     # sh runs the second line, which Python reads as a text


def fail(message):
    print("make install: " + message, file=sys.stderr)
    sys.exit(2)


def run(*command):
    """Run a command; if it fails, or this process is interrupted, end with it and all that it started."""
    # In a group of its own, so that nothing that it started goes on writing into a folder that is being removed.
    process = subprocess.Popen([str(word) for word in command], start_new_session=True)
    try:
        status = process.wait()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if status:
        fail("{} ended with status {}; nothing was installed".format(
            " ".join(shlex.quote(str(word)) for word in command), status))


def check(prefix, tensorflow):
    """Refuse what would end later, or take the place of something else."""
    if sys.version_info < (3, 11):
        fail("{} is Python {}.{}: name a Python 3.11 or later, PYTHON=/path/to/python3".format(
            sys.executable, *sys.version_info[:2]))
    if tensorflow not in LOCKS:
        fail("TENSORFLOW={}: {}".format(tensorflow, " or ".join(LOCKS)))
    if os.path.ismount(str(prefix)):
        fail("{} is a mount point, which can't be renamed: choose a folder in it".format(prefix))
    if not os.path.lexists(str(prefix)) or prefix.is_dir() and not any(prefix.iterdir()):
        return
    stamp = prefix / STAMP
    if not (stamp.is_file() and stamp.read_text()):
        fail("{} already exists, and is no installation: remove it, or choose another PREFIX".format(prefix))


def copy_sources(stage):
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "cells*", "work_*", ".ipynb_checkpoints")
    for pattern in FILES:
        for path in SOURCE.glob(pattern):
            shutil.copy(str(path), str(stage))
    for name in FOLDERS:
        shutil.copytree(str(SOURCE / name), str(stage / name), symlinks=True,
                        ignore=ignored if name in ("src", "course") else None)


def make_environment(stage, lock, packages):
    environment = stage / ".venv"
    run(sys.executable, "-I", "-m", "venv", environment)
    python = [environment / "bin/python", "-I", "-m", "pip"]
    install = python + ["install", "--quiet", "--disable-pip-version-check"]
    run(*(install + ["--require-hashes", "--requirement", stage / lock]))
    if packages:
        constraints = environment / "constraints"
        constraints.write_bytes(subprocess.check_output([str(word) for word in python + ["list", "--format=freeze"]]))
        run(*(install + ["--constraint", constraints] + packages))
    for folder in environment.glob("lib/python*/site-packages"):
        (folder / "biogans.pth").write_text("../../../../src\n")


def free_of_its_place(stage, prefix):
    """Let the programs of the environment find the Python beside them, and none of other modules' libraries."""
    environment = stage / ".venv"
    for path in sorted((environment / "bin").iterdir()):
        if path.is_symlink():
            continue
        if path.name.lower().startswith("activate"):        # they hold the path
            path.unlink()
            continue
        head, _, rest = path.read_bytes().partition(b"\n")
        if head == b"#!/bin/sh" and rest.startswith(b"'''exec'"):       # pip's way with long paths, in three lines
            rest = rest.split(b"\n", 2)[2]
        elif not (head.startswith(b"#!") and os.fsencode(str(environment)) in head):
            continue
        path.write_bytes(RELATIVE.encode() + rest)
    for path in environment.glob("share/jupyter/kernels/*/kernel.json"):
        kernel = json.loads(path.read_text())
        if kernel["argv"][0] == "python":
            # Not -I: notebooks import modules beside them. -E also ignores PYTHONDONTWRITEBYTECODE.
            kernel["argv"][1:1] = ["-E", "-s", "-B"]
            path.write_text(json.dumps(kernel, indent=1))
    settings = environment / "pyvenv.cfg"
    settings.write_text(settings.read_text().replace(str(stage), str(prefix)))


def finish(stage, lock, packages):
    """Write the notices and the stamp, and let everyone read all of it."""
    notices = subprocess.check_output([str(stage / ".venv/bin/python"), "-I", str(stage / "hpc/third_party.py")])
    (stage / "THIRD-PARTY.txt").write_bytes(notices)
    digest = hashlib.sha256((stage / lock).read_bytes()).hexdigest()
    (stage / STAMP).write_text("{} sha256:{}\n{}".format(lock, digest, "".join(line + "\n" for line in packages)))
    run("chmod", "-R", "a+rX,go-w", stage)


def replace(stage, prefix):
    """Rename the new installation to PREFIX; the old one, if there is one, is removed after that."""
    if not prefix.is_dir() or not any(prefix.iterdir()):
        os.rename(str(stage), str(prefix))
        return
    aside = Path(tempfile.mkdtemp(prefix=".{}.old-".format(prefix.name), dir=str(prefix.parent)))
    try:
        os.rename(str(prefix), str(aside / "old"))
        os.rename(str(stage), str(prefix))
    except BaseException:
        if not prefix.exists():
            os.rename(str(aside / "old"), str(prefix))
        raise
    finally:
        shutil.rmtree(str(aside), ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description="Install BioGANs into a folder.")
    parser.add_argument("prefix")
    parser.add_argument("tensorflow")
    parser.add_argument("packages", help="requirements without a lock, in one text")
    options = parser.parse_args()
    prefix, packages = Path(os.path.realpath(options.prefix)), shlex.split(options.packages)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    os.umask(0o022)                     # for the folders above PREFIX, too, so that others can enter them
    lock = LOCKS.get(options.tensorflow)
    stage = None
    try:
        check(prefix, options.tensorflow)
        prefix.parent.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(prefix=".{}.new-".format(prefix.name), dir=str(prefix.parent)))
        copy_sources(stage)
        make_environment(stage, lock, packages)
        free_of_its_place(stage, prefix)
        finish(stage, lock, packages)
        replace(stage, prefix)
    except (OSError, shutil.Error) as error:
        fail("{}: {}".format(prefix, error))
    finally:
        if stage:
            shutil.rmtree(str(stage), ignore_errors=True)
    print("module use {}/modulefiles; module load biogans".format(prefix))


if __name__ == "__main__":
    main()
