"""The batch scripts without a cluster: stand-ins for Slurm's commands, and for trainings."""

import os
import re
import subprocess

import pytest

from .cluster import ROOT

STAND_INS = {
    "srun": 'while [[ $1 == --* ]]; do shift; done; exec "$@"',
    "squeue": 'echo >> squeues; [ "$(wc -l < squeues)" -gt "${FAILURES:-0}" ] && echo "${STATE:-RUNNING None}"',
    "scontrol": 'echo "$*" >> requeued',
    "sbatch": 'for word; do echo "$word" >> submitted; done; echo 1',
    "sleep": "",
    "train.py": 'echo "train.py $* ${BG_RESUME:+resumes}"',
    "biogans": 'echo "biogans $* ${BG_RESUME:+resumes}"',
    "apptainer": 'shift 2; exec "$@"',
    "jupyter": "echo token >&2",
    # stop STATUS [save]
    "stop": '[ -z "$2" ] || rm -f "$BG_UNSAVED"; exit "$1"',
    "killed": 'echo "srun: error: n1: task 0: Out Of Memory" >&2; exit 1',
}


@pytest.fixture
def site(tmp_path):
    """(a folder, the environment of a batch job in it)."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in STAND_INS.items():
        (programs / name).write_text(f"#!/bin/bash\n{text}\n")
        (programs / name).chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "BG_"))}
    environment |= {"PATH": f"{programs}:{os.environ['PATH']}", "SLURM_JOB_ID": "7", "SLURMD_NODENAME": "n1",
                    "SLURM_MEM_PER_NODE": "1000"}
    return tmp_path, environment


@pytest.fixture
def start(site):
    """A function (command, restart, variables) -> (exit status, its log, arguments of scontrol or "") of one start."""
    folder, environment = site

    def start(*command, restart=0, **variables):
        with open(folder / "log", "a+") as log:
            before = log.tell()
            done = subprocess.run([ROOT / "hpc/train.sbatch", *map(str, command)], cwd=folder, stdout=log, stderr=log,
                                  timeout=60, env=environment | {"SLURM_RESTART_COUNT": str(restart)} | variables)
            log.seek(before)
            text = log.read()
        requeued = folder / "requeued"
        arguments = requeued.read_text().strip() if requeued.exists() else ""
        requeued.unlink(missing_ok=True)
        return done.returncode, text, arguments
    return start


# ---------------------------------------------------------------------------------------------- resuming

@pytest.mark.parametrize("command", [
    ("train.py", "-d", "data"), ("biogans", "train", "-d", "data"), ("bash", "-c", "cd . && train.py -d data"),
    ("apptainer", "run", "biogans.sif", "train.py", "-d", "data")], ids=lambda words: words[0])
def test_a_requeued_training_resumes(start, command):
    """However it is wrapped; also when the node was lost, so that the job did not requeue itself."""
    assert "-d data \n" in start(*command)[1]
    status, log, _ = start(*command, restart=1)
    assert status == 0 and "restart 1 on n1" in log and "-d data resumes\n" in log


def test_a_job_resumes_only_what_it_has_saved(start):
    """Without a checkpoint of its own, a restart must not take the finished run of an earlier job for its own."""
    resumes = ("bash", "-c", "echo ${BG_RESUME:-anew}; $0 $*", "stop")
    assert "anew" in start(*resumes, 75)[1]
    assert "anew" in start(*resumes, 75, "save", restart=1)[1]
    assert "anew" not in start(*resumes, 75, restart=2)[1]
    assert "anew" not in start(*resumes, 0, restart=3)[1]


# ---------------------------------------------------------------------------------------------- requeueing

def test_a_stopped_job_returns_to_the_queue(start):
    for status in (75, 138, 143):
        assert start("stop", status) == (status, "[job 7] restart 0 on n1, 1 threads, GPU none\n"
                                                 "[job 7] back to the queue\n", "requeue 7")
    for status in (0, 1, 2):
        assert start("stop", status)[0::2] == (status, "")


def test_a_subjob_is_requeued_under_its_own_name(start):
    """The last one has the job ID of the array."""
    variables = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "4"}
    assert start("stop", 75, **variables)[2] == "requeue 7_4"


@pytest.mark.parametrize("state, word", [
    ("COMPLETING None", "cancelled"), ("CANCELLED None", "cancelled"), ("RUNNING None\nRUNNING None", "back to"),
    ("COMPLETING TimeLimit", "back to")])
def test_a_cancelled_job_is_not_requeued(start, state, word):
    """Two lines: a heterogeneous job."""
    _, log, requeued = start("stop", 75, STATE=state)
    assert word in log and bool(requeued) == (word == "back to")


def test_a_busy_controller_is_asked_again(start, site):
    _, log, requeued = start("stop", 75, FAILURES="3")
    assert "back to the queue" in log and requeued
    (site[0] / "squeues").unlink()
    status, log, requeued = start("stop", 75, FAILURES="1000")
    assert status == 75 and "Slurm does not answer: submit the command again with --resume" in log and not requeued
    (site[0] / "bin/scontrol").write_text("#!/bin/bash\nexit 1\n")
    (site[0] / "squeues").unlink()
    assert "Slurm refuses to requeue the job: submit the command again" in start("stop", 75)[1]


@pytest.mark.parametrize("status, tasks, advice", [
    (75, 1, "it was asked to stop too soon: submit it with a longer --time"),
    (138, 1, "it was asked to stop too soon: submit it with a longer --time"),
    (137, 2, "a task was lost, most often for lack of memory: submit it with a larger --mem than 1000M")])
def test_two_restarts_without_a_checkpoint_are_the_last(start, site, status, tasks, advice):
    variables = {"SLURM_NTASKS": str(tasks), "SLURM_JOB_NODELIST": "n[1-2]"}
    for restart in range(2):
        assert start("stop", status, restart=restart, **variables)[2] == "requeue 7"
    ended, log, requeued = start("stop", status, restart=2, **variables)
    assert (ended, requeued) == (status, "")
    assert f"stopped after 2 restarts without a new checkpoint: {advice}" in log
    assert not list(site[0].glob(".unsaved*"))
    for restart in range(10):           # each third start saves a checkpoint
        words = ("save",) if restart % 3 == 2 else ()
        assert start("stop", status, *words, restart=restart, **variables)[2] == "requeue 7"
    assert "raise BG_MAX_RESTARTS" in start("stop", status, "save", restart=20, **variables)[1]


def test_a_planted_link_is_not_followed(start, site):
    """Nor is its target computed by the shell."""
    victim = site[0] / "victim"
    victim.write_text("important")
    for target in (victim, "a[$(touch computed)] resumes"):
        (site[0] / ".unsaved-7").symlink_to(target)
        assert start("stop", 75, restart=1)[2] == "requeue 7"
        (site[0] / ".unsaved-7").unlink()
    assert victim.read_text() == "important" and not (site[0] / "computed").exists()


# ---------------------------------------------------------------------------------------------- memory

def test_a_job_that_was_killed_for_memory_says_so(start):
    advice = "killed for lack of memory: submit it with a larger --mem than 1000M"
    for tasks in (1, 2):
        status, log, requeued = start("killed", SLURM_NTASKS=str(tasks), SLURM_JOB_NODELIST="n[1-2]")
        assert status == 1 and advice in log and not requeued
    assert advice not in start("stop", 1)[1]            # although the log still reports the earlier kill
    assert "killed, most often for lack of memory: submit it with a larger --mem than 1000M" in start("stop", 137)[1]


# ---------------------------------------------------------------------------------------------- other scripts

@pytest.mark.parametrize("content, commands", [
    ("first\nlast", ["first", "last"]),
    ("alone", ["alone"]),
    ("first -e 5\r\n\r\n# comment\r\nlast \\\r\n  -e 7\r\n", ["first -e 5", "last   -e 7"]),
    ("# comment \\\nfirst \\\n  -e 5 \\\n  -s 1\n\nlast", ["first   -e 5   -s 1", "last"])])
def test_every_command_of_a_swarm_is_submitted(site, content, commands):
    folder, environment = site
    (folder / "a.swarm").write_bytes(content.encode())
    subprocess.run([ROOT / "hpc/swarm-array", "-f", "a.swarm"], cwd=folder, env=environment, check=True, timeout=60)
    submitted = (folder / "submitted").read_text().splitlines()
    assert f"--array=0-{len(commands) - 1}" in submitted
    with open(submitted[-1]) as file:
        assert file.read().splitlines() == commands


def test_only_the_owner_reads_the_token_of_a_notebook(site):
    """Also in a file of --error."""
    folder, environment = site
    with open(folder / "out", "w") as out, open(folder / "err", "w") as err:
        subprocess.run([ROOT / "hpc/jupyter.sbatch"], cwd=folder, env=environment | {"BG_HOME": str(ROOT), "USER": "u"},
                       check=True, timeout=60, stdout=out, stderr=err)
    assert re.search(r"token=\w{32}", (folder / "out").read_text()) and (folder / "err").read_text() == "token\n"
    assert all((folder / name).stat().st_mode & 0o077 == 0 for name in ("out", "err"))
