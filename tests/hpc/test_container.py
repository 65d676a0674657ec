"""singularity.def built on a plain Debian: its commands run, also in a batch job that is stopped and resumed."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from test_container import test_commands_and_help, test_sample_data_and_edited_sources  # noqa: F401

from .cluster import ROOT, TOOLS, Job, need, show

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")       # for pip in the container, as on the machine


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The container as a folder: packing it into one file takes ten times as long."""
    need("apptainer")
    need("base")
    if not re.search(r"^root:", Path("/etc/subuid").read_text(), re.MULTILINE):
        subprocess.run(["usermod", "--add-subuids", "100000-165535", "--add-subgids", "100000-165535", "root"],
                       check=True)
    image = tmp_path_factory.mktemp("container") / "biogans"
    done = subprocess.run([
        TOOLS / "apptainer/bin/apptainer", "build", "--fakeroot", "--sandbox",
        *(["--bind", CERTIFICATES] if CERTIFICATES.exists() else []), "--build-arg", "BOOTSTRAP=localimage",
        "--build-arg", f"FROM={TOOLS}/base", "--build-arg", "TENSORFLOW=tensorflow-cpu", image, "singularity.def"],
        cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "Output picture to file: cell.png" in done.stdout       # %test: train, predict, visualize
    show("apptainer build, and its %test:", *(line for line in (done.stdout + done.stderr).splitlines()
                                             if line.startswith(("Output", "weights:", "INFO:"))))
    yield image
    shutil.rmtree(image)        # two gigabytes; pytest would keep three copies


@pytest.fixture(autouse=True)
def environment(built, monkeypatch):
    monkeypatch.setenv("PATH", f"{TOOLS}/apptainer/bin:{os.environ['PATH']}")
    monkeypatch.setenv("BG_SIF", str(built))
    monkeypatch.setenv("BG_APPTAINER_OPTIONS", "-u")


def test_in_a_batch_job(built, cluster, work):
    """Signals reach the container and its exit status comes out: the job is stopped, requeued and resumed."""
    path = f"{TOOLS}/apptainer/bin:{cluster['PATH']}"
    job = Job(cluster | {"PATH": path}, work, "sbatch", "--parsable", "--cpus-per-task=1", "--mem=1000",
              ROOT / "hpc/train.sbatch", "apptainer", "run", "-u", "--bind", work, "--pwd", work, built,
              "train.py", "-d", "data", "-m", "DCGAN", "--ngf", "4", "--ndf", "4", "-b", "4",
              "--num_D_iters", "1", "-e", "400")
    job.wait_for_log("it/s")
    job.run("scancel", "--batch", "--signal=USR1", job.number)
    assert job.wait() == "COMPLETED", job.log
    show("a container in a batch job:", job.log)
    assert "sources in /opt/biogans" in job.log and "stopped by SIGUSR1" in job.log and "resuming from" in job.log
    assert "iteration 400/400" in job.log
