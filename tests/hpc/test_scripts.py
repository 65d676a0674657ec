"""train.sbatch without a cluster: stand-ins for Slurm's commands print what they are given."""

import os
import subprocess

import pytest

from .cluster import ROOT


@pytest.fixture
def requeued(tmp_path):
    """A function (command) -> (exit status, log) that runs a command as a job that was requeued once."""
    for name, text in {"srun": 'echo "srun $*"', "train.py": "", "biogans": "", "apptainer": ""}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
    environment |= {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "1", "SLURMD_NODENAME": "n1",
                    "SLURM_RESTART_COUNT": "1"}

    def job(*command):
        done = subprocess.run([ROOT / "hpc/train.sbatch", *command], cwd=tmp_path, env=environment, capture_output=True,
                              text=True, timeout=60)
        return done.returncode, done.stdout
    return job


@pytest.mark.parametrize("command, resumes", [
    ("train.py -d data", True),
    ("biogans train -d data", True),
    ("apptainer run biogans.sif train.py -d data", True),
    ("apptainer run biogans.sif biogans train -d data", True),
    ("biogans evaluate -d data", False),
    ("apptainer run biogans.sif biogans evaluate -i train.h5", False)])
def test_a_requeued_training_resumes(requeued, command, resumes):
    status, log = requeued(*command.split())
    assert status == 0 and "restart 1 on n1" in log
    assert log.splitlines()[-1].endswith(f" {command}{' --resume' * resumes}")
