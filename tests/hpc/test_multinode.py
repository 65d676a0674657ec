"""train-multinode.sbatch with a real Slurm: one training on two nodes, stopped, deprived of a task, and resumed."""

import csv
import os
import signal
import subprocess
from pathlib import Path

import numpy as np

from .cluster import ROOT, Job, show, wait_for
from .test_slurm import ENDLESS, SBATCH, TRAIN, iterations, story

MULTINODE = (*SBATCH, ROOT / "hpc/train-multinode.sbatch", *TRAIN[1:])
LOG = "log.DCGAN.WGAN-GP.1.csv"


def losses(path):
    with open(path) as file:
        return np.array([(row["critic_loss"], row["generator_loss"]) for row in csv.DictReader(file)], float)


def task(folder, rank):
    """The process ID of task `rank` of the training in a folder."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes()
            if ((process / "cwd").resolve() == folder and b"python" in words and b"train.py" in words
                    and f"SLURM_PROCID={rank}".encode() in (process / "environ").read_bytes().split(b"\0")):
                return int(process.name)
        except OSError:         # it has ended meanwhile
            continue
    raise AssertionError(f"no task {rank} in {folder}")


def test_two_nodes_learn_what_one_process_does(cluster, work):
    """The losses of ten iterations with the same global batch agree to 1e-4; log and checkpoints are written once."""
    two, one = Job(cluster, work, *MULTINODE, "-e", 10), Job(cluster, work, *SBATCH, *TRAIN, "-e", 10, "-c", "one")
    assert two.wait() == "COMPLETED", two.log
    assert one.wait() == "COMPLETED", one.log
    assert "restart 0 on n[1-2], 2 tasks" in two.log and "2 tasks share each batch of 4" in two.log
    assert two.log.count("biogans 1.0.0") == 1
    several, alone = losses(work / "checkpoints" / LOG), losses(work / "one" / LOG)
    largest = abs(several - alone).max()
    show("a job on two nodes:", *story(two.log),
         f"10 iterations; largest difference from the losses of one process: {largest:.1e}")
    assert len(several) == len(alone) == 10 and largest < 1e-4
    scratch = work / "scratch"
    scratch.mkdir()
    # On one node, because the two nodes of these tests share a disk.
    one_node = (*SBATCH, "--nodes=1", "--ntasks-per-node=2", *MULTINODE[len(SBATCH):])
    staged = Job(cluster | {"SLURM_TMPDIR": str(scratch)}, work, *one_node, "-e", 12, "-w")
    assert staged.wait() == "COMPLETED", staged.log
    assert "data copied to" in staged.log and "2 tasks share" in staged.log and iterations(staged.log) == [10]


def test_stopped_and_lost_tasks(cluster, work):
    """A signal as before the time limit, then a killed task: each time the job is requeued and resumes."""
    job = Job(cluster, work, *MULTINODE, *ENDLESS, "--save_minutes", "0.05")
    job.wait_for_log("it/s")
    job.run("scancel", "--batch", "--signal=USR1", job.number)
    job.wait_for_log("resuming from")
    job.wait_for_log("stopped by SIGUSR1")
    combined = work / "checkpoints/weights.combined_model.DCGAN.WGAN-GP.1.h5"
    before = combined.stat().st_mtime
    wait_for(lambda: combined.stat().st_mtime > before, 240, lambda: job.log)       # it trains again
    os.kill(task(work, 1), signal.SIGKILL)
    job.wait_for_log("task 1 of 2 was lost")
    wait_for(lambda: len(iterations(job.log)) == 2, 240, lambda: job.log)
    job.run("scancel", job.number)
    assert job.wait() == "CANCELLED"
    show("a job on two nodes that was stopped, then lost a task, then was cancelled:", *story(job.log))
    first, second = iterations(job.log)
    assert 0 < first <= second


def test_an_error_is_reported_once_and_not_requeued(cluster, work):
    job = Job(cluster, work, *SBATCH, MULTINODE[len(SBATCH)], "train.py", "-d", "data", "-m", "DCGAN", "-b", "5")
    assert job.wait() == "FAILED"
    show("an error on two nodes:", *(line for line in job.log.splitlines() if line.startswith("train.py")))
    assert job.log.count("can't be divided by 2 tasks") == 1 and "back to the queue" not in job.log


def test_tasks_within_salloc_train_together(cluster, work):
    """srun in an allocation of two nodes, as typed in a terminal."""
    command = ["salloc", "--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=1", "--mem=1000", "srun",
               *map(str, TRAIN[1:]), "-e", "2"]
    done = subprocess.run(command, cwd=work, env=cluster, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "2 tasks share each batch of 4" in done.stdout and "iteration 2/2" in done.stdout
