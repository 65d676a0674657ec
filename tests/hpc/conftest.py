"""Fixtures for the tests with Slurm: a cluster, and a user's folder on it."""

import os
import subprocess
from pathlib import Path

import pytest

from .cluster import ROOT, need, slurm, wait_for


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.hpc)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """The environment in which sbatch, squeue, … talk to a Slurm of two nodes, with the module loaded."""
    need("slurm")
    folder = tmp_path_factory.mktemp("slurm")
    with slurm(folder / "cluster", port=17000 + os.getpid() % 1000 * 4) as environment:
        yield environment | {
            "BG_HOME": str(ROOT), "BG_BIN": f"{ROOT}/bin", "BG_SRC": f"{ROOT}/src/biogans/core",
            "BG_DATA": f"{ROOT}/data", "PATH": f"{ROOT}/bin:{environment['PATH']}"}


@pytest.fixture
def work(tmp_path, cluster):
    """A user's folder on the cluster, with the sample data. Jobs that the test leaves behind are cancelled."""
    folder = tmp_path / "work"
    folder.mkdir()
    subprocess.run('cp -r "${BG_DATA}_48-80"/* .', shell=True, check=True, cwd=folder, env=cluster)
    yield folder
    if left := jobs(cluster):           # of a test that failed: the next one would wait for its node
        subprocess.run(["scancel", *left], env=cluster)
        wait_for(lambda: not jobs(cluster), 120, lambda: f"the end of cancelled jobs {left}")


def jobs(cluster):
    """Numbers of the jobs that wait or run."""
    return subprocess.run(["squeue", "-h", "-o", "%i"], env=cluster, capture_output=True, text=True).stdout.split()
