"""The check for ReFrame with a real ReFrame: it trains and generates, and notices a missing GPU."""

import os
import subprocess

import pytest

from .cluster import ROOT, TOOLS, need, show


@pytest.mark.parametrize("settings, status, words", [((), 0, "P: speed: "), (("-S", "gpu=yes"), 1, "no GPU found")])
def test_reframe(tmp_path, settings, status, words):
    need("reframe")
    environment = os.environ | {
        "HOME": str(tmp_path), "PATH": f"{ROOT}/bin:{os.environ['PATH']}", "BG_HOME": str(ROOT),
        "BG_BIN": f"{ROOT}/bin", "BG_SRC": f"{ROOT}/src/biogans/core", "BG_DATA": f"{ROOT}/data",
        "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([TOOLS / "reframe/bin/reframe", "-c", ROOT / "hpc/reframe/biogans.py", "-r", *settings,
                           f"--prefix={tmp_path}/reframe"], cwd=tmp_path, env=environment, capture_output=True,
                          text=True)
    assert done.returncode == status and words in done.stdout, done.stdout + done.stderr
    show("reframe:", *(line for line in done.stdout.splitlines() if "speed" in line or "PASSED" in line))
