"""Which jobs return to the queue, with a real Slurm; the commands stand in for trainings, which take longer."""

import subprocess
from pathlib import Path

import pytest

from .cluster import ROOT, Job, show, slurm, wait_for
from .test_slurm import story

SCRIPT = ROOT / "hpc/train.sbatch"
ARRAY = (ROOT / "hpc/swarm-array", "-t", "1", "--mem=100", "-f")
# Each start adds a line to the file NAME; the first one saves and ends when it is asked to, the second one at once.
STOPPABLE = """#!/bin/bash
trap 'rm -f "$BG_UNSAVED"; exit 75' USR1 TERM
echo "${BG_RESUME:-new}" >> "$1"
[ -z "$SLURM_RESTART_COUNT" ] || exit 0
while sleep 0.2 || true; do :; done
"""


@pytest.fixture
def bare(tmp_path, cluster):
    """(a folder with the program `stoppable`, an environment in which it is on PATH)."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "stoppable").write_text(STOPPABLE)
    (folder / "stoppable").chmod(0o755)
    return folder, cluster | {"PATH": f"{folder}:{cluster['PATH']}"}


def starts(path):
    """Number of starts of a subjob or job that writes to a file."""
    return len(path.read_text().splitlines()) if path.exists() else 0


def ask_to_stop(job, number, path):
    """Send the signal that precedes the time limit, after the first start and before the second."""
    wait_for(lambda: starts(path) == 1, 60, lambda: job.reason)
    job.run("scancel", "--batch", "--signal=USR1", number)
    wait_for(lambda: starts(path) == 2, 120, lambda: job.reason)


@pytest.mark.parametrize("order", [(2, 0, 1), (0, 1, 2)])
def test_each_subjob_of_an_array_is_requeued_alone(bare, order):
    """First, middle and last one; whether others run, or have ended."""
    folder, environment = bare
    (folder / "three.swarm").write_text("stoppable 0\nstoppable 1\nstoppable 2")
    array = Job(environment, folder, *ARRAY, "three.swarm", log="swarm_{}_2.o")
    for number in order:
        ask_to_stop(array, f"{array.number}_{number}", folder / str(number))
    assert set(array.wait().split()) == {"COMPLETED"}, array.log
    assert [(folder / str(number)).read_text() for number in range(3)] == ["new\n1\n"] * 3
    assert not list(folder.glob(".unsaved*"))
    show("the last subjob:", *story(array.log))


def test_finished_subjobs_do_not_run_again(bare):
    """When only the last one, whose job ID is that of the array, returns to the queue; and an array of one."""
    folder, environment = bare
    (folder / "two.swarm").write_text("echo >> finished\nstoppable last")
    (folder / "one.swarm").write_text("stoppable only")
    array = Job(environment, folder, *ARRAY, "two.swarm", log="swarm_{}_1.o")
    single = Job(environment, folder, *ARRAY, "one.swarm", log="swarm_{}_0.o")
    wait_for(lambda: sorted(array.state.split()) == ["COMPLETED", "RUNNING"], 60, lambda: array.reason)
    ask_to_stop(array, f"{array.number}_1", folder / "last")
    ask_to_stop(single, f"{single.number}_0", folder / "only")
    assert set(array.wait().split()) == {"COMPLETED"} and single.wait() == "COMPLETED"
    assert starts(folder / "finished") == 1


def test_a_cancelled_subjob_stays_cancelled(bare):
    """While the others run on."""
    folder, environment = bare
    (folder / "two.swarm").write_text("stoppable 0\nstoppable 1\n")
    array = Job(environment, folder, *ARRAY, "two.swarm", log="swarm_{}_1.o")
    wait_for(lambda: starts(folder / "0") == starts(folder / "1") == 1, 60, lambda: array.reason)
    array.run("scancel", f"{array.number}_1")
    array.wait_for_log("cancelled")
    ask_to_stop(array, f"{array.number}_0", folder / "0")
    wait_for(lambda: sorted(array.state.split()) == ["CANCELLED", "COMPLETED"], 60, lambda: array.reason)
    assert starts(folder / "1") == 1


def test_a_heterogeneous_job_is_requeued(bare):
    """With all of its components; the command runs in the first one."""
    folder, environment = bare
    job = Job(environment, folder, "sbatch", "--parsable", "--cpus-per-task=2", "--mem=100", ":", "--mem=100", SCRIPT,
              "stoppable", "log")
    ask_to_stop(job, job.number, folder / "log")
    assert set(job.wait().split()) == {"COMPLETED"}, job.log
    show("a heterogeneous job:", *story(job.log))
    assert "restart 1 on n" in job.log and "2 threads" in job.log and starts(folder / "log") == 2


def test_jobs_that_get_nowhere_end_after_two_restarts(bare):
    """One with a limit so short that Slurm sends the signal at each start, and one that loses a task at each start."""
    folder, environment = bare
    options = ("sbatch", "--parsable", "--cpus-per-task=1", "--mem=100")
    short = Job(environment, folder, *options, "--time=2", SCRIPT, "bash", "-c", "sleep 300")
    killed = Job(environment, folder, *options, ROOT / "hpc/train-multinode.sbatch", "bash", "-c",
                 '[ "$SLURM_PROCID" = 1 ] && kill -9 $$; sleep 1')
    for job, reason in ((killed, "a task was lost, most often for lack of memory: submit it with a larger --mem than"),
                        (short, "it was asked to stop too soon: submit it with a longer --time")):
        assert job.wait() == "FAILED"
        show("a job that gets nowhere:", *story(job.log))
        assert f"stopped after 2 restarts without a new checkpoint: {reason}" in job.log
        assert "restart 2" in job.log and "restart 3" not in job.log


@pytest.fixture(scope="module")
def limiting(tmp_path_factory):
    """The environment of a Slurm whose jobs are killed if they take more memory than they requested."""
    group = Path("/sys/fs/cgroup/memory")
    if not group.is_dir() or subprocess.run(["mkdir", group / "biogans_test"], capture_output=True).returncode:
        pytest.skip("this machine does not let Slurm limit memory (cgroup v1)")
    (group / "biogans_test").rmdir()
    with slurm(tmp_path_factory.mktemp("limiting") / "cluster", 21000, limits_memory=True) as environment:
        yield environment | {"BG_HOME": str(ROOT)}
    for folder in sorted(group.glob("slurm_n[12]/**/"), reverse=True):      # slurmd leaves them
        folder.rmdir()


@pytest.mark.parametrize("script", ["train.sbatch", "train-multinode.sbatch"])
def test_a_job_killed_for_memory_says_so(limiting, tmp_path, script):
    """Once, and does not return to the queue."""
    hungry = '[ "$SLURM_PROCID" = 1 ] || python3 -c "bytearray(300_000_000)" || exit; sleep 1; exit 75'
    job = Job(limiting, tmp_path, "sbatch", "--parsable", "--cpus-per-task=1", "--mem=60", ROOT / "hpc" / script,
              "bash", "-c", hungry)
    assert job.wait() in ("FAILED", "OUT_OF_MEMORY"), job.log
    show("a job without enough memory:", *story(job.log))
    assert "killed for lack of memory: submit it with a larger --mem than 60M" in job.log
    assert "back to the queue" not in job.log
