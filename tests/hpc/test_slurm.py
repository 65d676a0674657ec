"""train.sbatch and swarm-array with a real Slurm: time limits, preemption, cancellation, arrays."""

import csv
import subprocess

import numpy as np
import pytest

from biogans.core.trained import read_weights

from .cluster import MEMORY, ROOT, Job, show

SBATCH = ("sbatch", "--parsable", "--cpus-per-task=1", "--mem=1000")
TRAIN = (ROOT / "hpc/train.sbatch", "train.py", "-d", "data", "-m", "DCGAN", "-p", "Alp14", "--ngf", "4", "--ndf", "4",
         "-b", "4", "--num_D_iters", "1")
COMBINED = "checkpoints/weights.combined_model.DCGAN.WGAN-GP.1.h5"
ENDLESS = ("-e", "1000000", "-M", "1000000")


def iterations(log):
    """The iteration at which each restart of the run resumed."""
    return [int(line.split("iteration ")[1]) for line in log.splitlines() if line.startswith("resuming from")]


def story(log):
    """The lines of a log that report what happened to the job."""
    words = ("[job ", "resuming", "stopped by", "no GPU", "2 tasks", "train.py: task", "weights:")
    return [line for line in log.splitlines() if line.startswith(words)]


@pytest.fixture(scope="module")
def seconds_per_iteration(cluster, tmp_path_factory):
    """Seconds per iteration of the training in these tests, in a batch job."""
    folder = tmp_path_factory.mktemp("batch")
    (folder / "data").symlink_to(ROOT / "data_48-80/data")
    job = Job(cluster, folder, *SBATCH, *TRAIN, "-e", 300)
    assert job.wait() == "COMPLETED", job.log
    with open(folder / "checkpoints/log.DCGAN.WGAN-GP.1.csv") as file:
        rows = list(csv.DictReader(file))
    show("a batch job:", *story(job.log))
    assert f"[job {job.number}] restart 0 on n" in job.log and "1 threads, GPU none" in job.log
    assert "running on 1 CPU core(s)" in job.log
    return (float(rows[-1]["seconds"]) - float(rows[9]["seconds"])) / (len(rows) - 10)


def test_time_limit(cluster, work, seconds_per_iteration):
    """Stopped before its limit, requeued and resumed: the weights equal those of a run without limits, bit for bit."""
    number = int(40 / seconds_per_iteration)
    limited = Job(cluster, work, *SBATCH, "--time=1", "--signal=B:USR1@20", *TRAIN, "-e", number)
    whole = Job(cluster, work, *SBATCH, *TRAIN, "-e", number, "-c", "whole")
    limited.wait_for_log("resuming from", 400)       # it starts within its minute, also on a busy machine
    limited.run("scontrol", "update", f"JobId={limited.number}", "TimeLimit=60")      # once is enough
    assert limited.wait() == "COMPLETED", limited.log
    assert whole.wait() == "COMPLETED", whole.log
    show("a job longer than its time limit:", *story(limited.log))
    assert "stopped by SIGUSR1" in limited.log and "back to the queue" in limited.log
    assert iterations(limited.log) and iterations(limited.log)[0] > 0 and not iterations(whole.log)
    arrays, metadata = read_weights(work / COMBINED)
    expected, _ = read_weights(work / "whole" / COMBINED.split("/")[1])
    assert metadata.iteration == number and arrays.keys() == expected.keys()
    assert all(np.array_equal(arrays[name], expected[name]) for name in arrays)
    show(f"its {len(arrays)} arrays after {number} iterations equal those of an uninterrupted job")


def test_preemption(cluster, work):
    """A job of higher priority takes the node; the training saves, waits and resumes."""
    job = Job(cluster, work, *SBATCH, "--partition=quick", "--nodelist=n1", f"--mem={MEMORY}", *TRAIN, *ENDLESS)
    job.wait_for_log("it/s")
    other = Job(cluster, work, "sbatch", "--parsable", "--nodelist=n1", f"--mem={MEMORY}", "--wrap=sleep 3",
                "-o", "other.out")
    job.wait_for_log("stopped by SIGTERM")
    assert other.wait() == "COMPLETED"
    job.wait_for_log("resuming from")
    assert other.state == "COMPLETED" and "restart 1" in job.log
    job.run("scancel", job.number)
    assert job.wait() == "CANCELLED"
    show("a preempted job:", *story(job.log))


def test_scancel(cluster, work):
    """A cancelled job saves a checkpoint, and is not requeued."""
    job = Job(cluster, work, *SBATCH, *TRAIN, *ENDLESS)
    job.wait_for_log("it/s")
    job.run("scancel", job.number)
    assert job.wait() == "CANCELLED"
    job.wait_for_log("stopped by SIGTERM")
    assert read_weights(work / COMBINED)[1].iteration > 0
    assert "back to the queue" not in job.log and "restart 1" not in job.log
    show("a cancelled job:", *story(job.log))


def test_restarts_are_capped(cluster, work):
    job = Job(cluster | {"BG_MAX_RESTARTS": "0"}, work, *SBATCH, *TRAIN, *ENDLESS)
    job.wait_for_log("it/s")
    job.run("scancel", "--batch", "--signal=USR1", job.number)
    assert job.wait() == "FAILED"
    assert "stopped after 0 restarts" in job.log and "back to the queue" not in job.log
    show("a job without restarts left:", *story(job.log))


def test_an_error_is_not_requeued(cluster, work):
    job = Job(cluster, work, *SBATCH, TRAIN[0], "train.py", "-d", "missing")
    assert job.wait() == "FAILED"
    assert "missing" in job.log and "back to the queue" not in job.log


def test_the_job_loads_the_module(cluster, work):
    """It was submitted from a shell without the module."""
    bare = {name: value for name, value in cluster.items() if not name.startswith(("BG_", "BASH_FUNC"))}
    bare |= {"PATH": bare["PATH"].replace(f"{ROOT}/bin:", ""), "MODULEPATH": f"{ROOT}/modulefiles"}
    job = Job(bare, work, *SBATCH, *TRAIN, "-e", 1)
    assert job.wait() == "COMPLETED", job.log
    assert "[+] Loading biogans" in job.log and f"sources in {ROOT}/src/biogans/core" in job.log
    bare["MODULEPATH"] = str(work)
    job = Job(bare, work, *SBATCH, *TRAIN, "-e", 1)
    assert job.wait() == "FAILED" and "train.py is not on PATH" in job.log


def test_data_on_local_scratch(cluster, work):
    """If a job has a folder on its node, the images are read from there, and the run is the same."""
    scratch = work / "scratch"
    scratch.mkdir()
    job = Job(cluster | {"SLURM_TMPDIR": str(scratch)}, work, *SBATCH, *TRAIN, "-e", 1)
    assert job.wait() == "COMPLETED", job.log
    assert f"data copied to {scratch}" in job.log and any((scratch / "data").rglob("*.png"))
    assert read_weights(work / COMBINED)[1].iteration == 1
    assert not list((work / "data").rglob("*.h5.partial"))
    job = Job(cluster | {"SLURM_TMPDIR": str(scratch)}, work, *SBATCH, *TRAIN, *ENDLESS, "-w")
    job.wait_for_log("it/s")
    job.run("scancel", job.number)
    job.wait_for_log("stopped by SIGTERM")
    assert "to resume: train.py -d data -m DCGAN " in job.log
    show("stopped, with its data on the node's own disk:", *story(job.log)[-1:])


def test_swarm(cluster, work):
    """The subjobs of a file with comments and continued lines; the runs are collected.

    One is stopped and requeued, and resumes although the command in its line lacks --resume.
    """
    (work / "test.swarm").write_text(f"""# three lines
mkdir -p runs/1 && cd runs/1 && train.py -d ../../data {' '.join(map(str, TRAIN[4:]))} -s 1 -e 20 --resume

mkdir -p runs/2 && cd runs/2 && \\
    train.py -d ../../data {' '.join(map(str, TRAIN[4:]))} -s 2 \\
    -e 400
echo "$SLURM_ARRAY_TASK_ID is the last"; exit 3
""")
    swarm = Job(cluster, work, ROOT / "hpc/swarm-array", "-f", "test.swarm", "-t", "1", "-g", "1", log="swarm_{}_1.o")
    swarm.wait_for_log("it/s")
    swarm.run("scancel", "--batch", "--signal=USR1", f"{swarm.number}_1")
    swarm.wait()
    first, last = ((work / f"swarm_{swarm.number}_{k}.o").read_text() for k in (0, 2))
    assert "iteration 20/20" in first and "2 is the last" in last and f"array {swarm.number} task 0, restart 0" in first
    assert iterations(swarm.log)[0] > 0 and "restart 1" in swarm.log and "iteration 400/400" in swarm.log
    show("a swarm, its second subjob stopped and requeued:", *story(swarm.log))
    collected = subprocess.run(["biogans", "collect", "runs", "-d", "data"], cwd=work, env=cluster, capture_output=True,
                               text=True)
    assert collected.returncode == 0, collected.stderr
    with open(work / "runs.csv") as file:
        assert [(row["seed"], row["iteration"]) for row in csv.DictReader(file)] == [("1", "20"), ("2", "400")]
    assert (work / "runs.png").stat().st_size > 1000
    show("biogans collect runs -d data", collected.stdout)


def test_interactive(cluster, work):
    """srun --pty gives a terminal on a node, and TensorFlow as many threads as the job has cores."""
    command = ('srun --cpus-per-task=3 --mem=500 --pty bash -c "tty; echo on \\$SLURMD_NODENAME; '
               'train.py -h | head -n 1; python -c \\"import os, biogans.system.lazy; '
               'print(os.environ.get(\'TF_NUM_INTRAOP_THREADS\'), \'threads\')\\""')
    path = f"{ROOT}/.venv/bin:{cluster['PATH']}"
    done = subprocess.run(["script", "-qec", command, "/dev/null"], cwd=work, env=cluster | {"PATH": path},
                          capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    show("srun --cpus-per-task=3 --pty bash", done.stdout)
    assert done.returncode == 0 and "/dev/pts/" in done.stdout and "on n" in done.stdout
    assert "usage: train.py" in done.stdout and "3 threads" in done.stdout
