"""The easyconfig with a real EasyBuild: it builds and passes its sanity checks, and its module loads."""

import os
import shutil
import subprocess

from .cluster import ROOT, TOOLS, need, show


def test_easybuild(tmp_path):
    need("easybuild")
    need("environment-modules")
    (tmp_path / "sources").mkdir()
    revision = subprocess.run(["git", "stash", "create"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    subprocess.run(["make", "archive", f"REVISION={revision.strip() or 'HEAD'}"], cwd=ROOT, check=True)
    shutil.copy(ROOT / "build/release/biogans-1.0.0.tar.gz", tmp_path / "sources")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("EASYBUILD_", "BG_"))}
    environment["PATH"] = f"{TOOLS}/easybuild/bin:{environment['PATH']}"
    prefix = ["bash", "-c", '. /usr/share/modules/init/bash; "$@"', "bash"]
    done = subprocess.run([*prefix, TOOLS / "easybuild/bin/eb", ROOT / "build/release/BioGANs-1.0.0.eb",
                           f"--prefix={tmp_path}", f"--sourcepath={tmp_path}/sources", "--enforce-checksums",
                           "--modules-tool=EnvironmentModules", "--module-syntax=Tcl",
                           "--allow-use-as-root-and-accept-consequences"], cwd=tmp_path,
                          env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    loaded = subprocess.run(["bash", "-c", f". /usr/share/modules/init/bash; module use {tmp_path}/modules/all; "
                             "module load BioGANs/1.0.0; ls $BG_BIN; train.py -h"], env=environment,
                            capture_output=True, text=True)
    assert loaded.returncode == 0 and "usage: train.py" in loaded.stdout, loaded.stderr
    show("eb BioGANs-1.0.0.eb", *(line for line in done.stdout.splitlines() if "COMPLETED" in line))
    shutil.rmtree(tmp_path / "software")
