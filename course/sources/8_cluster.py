# %% [markdown]
r"""
# 8. On the cluster

**After this notebook you can** load a module and say what that does; write a job script and choose what to ask for;
let a training survive its time limit; start a hundred trainings with one command; say what many GPUs gain, and what
they cost.

**You need** notebook 4 (the commands), and to have seen a terminal. The notebook runs on a cluster *and* on a laptop:
what needs the cluster's own commands is done where they exist, and told where they don't; all else is done for real
here. It computes for about two minutes, and makes a folder `work_8`.
"""

# %% slide [markdown]
r"""
# On the cluster

Modules, jobs, swarms, many GPUs

*Deep Learning by Example* · notebook 8
"""

# %%
import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import contextlib
import csv
import itertools
import math
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

import biogans
from biogans.core import checkpoint

REAL, DRAWN, JUDGE = "#0072B2", "#D55E00", "#009E73"
HOME = Path(biogans.__file__).resolve().parents[2]              # the installation
DATA = HOME / "data_48-80" / "data"
WORK = Path("work_8").resolve()
WORK.mkdir(exist_ok=True)
plt.rcParams.update({"figure.dpi": 90, "axes.spines.top": False, "axes.spines.right": False})


IS_CLUSTER = subprocess.run("sinfo", shell=True, capture_output=True).returncode == 0


def on_cluster(command):
    """Run a command of Slurm where there is one; elsewhere only show what one would type."""
    print("$", command)
    if IS_CLUSTER:          # Jupyter may itself be in a job, of whose variables a new job must know nothing
        outside = {name: value for name, value in os.environ.items()
                   if not name.startswith("SLURM_") or name == "SLURM_CONF"}
        done = subprocess.run(command, shell=True, cwd=WORK, env=outside | {"BG_HOME": str(HOME)}, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        print(done.stdout)
    else:
        print("  (not a cluster: there is no Slurm to ask)")

# %% [markdown]
r"""
## What a cluster is

A **cluster** is a room full of computers, the **nodes**, with disks that all of them see. One logs in on a **login
node**, which is for typing, not for computing: it is shared by all who type. Computing is done on **compute nodes**,
each with some dozens of **cores** (processors that do one thing at a time), memory, and perhaps GPUs.

Who computes where and when is decided by the **scheduler**, here *Slurm*. One asks it for so many cores, so much
memory, for so long: a **job**. It waits in a **queue** until that is free, and is ended when its time is up. In a job
run one or more **tasks** (processes), each on one or more cores: a process uses several cores by having several
**threads**.

`sinfo` shows the nodes, `squeue` the queue, `squeue --me` one's own jobs, `scancel NUMBER` ends one.
"""

# %%
on_cluster("sinfo")
on_cluster("squeue --me")

# %% slide [markdown]
r"""
## What a cluster is

| | |
|---|---|
| login node | for typing; shared by all |
| compute nodes | cores, memory, GPUs; for jobs only |
| scheduler (Slurm) | who, where, when: `sinfo`, `squeue`, `sbatch`, `scancel` |
| job | so many cores, so much memory, for so long |
| module | a set of environment variables: this program, this version |
| swarm | a file with a command on each line, run as many jobs |
"""

# %% [markdown]
r"""
## Modules

Hundreds of programs in many versions lie on a cluster's disk. `module avail` lists them; `module load biogans` makes
one of them usable, in the **shell** (the program that reads what one types) where it is typed. What does that do? It
sets **environment variables**, texts with names that every process inherits from the one that started it. The most
important is `PATH`: folders, with a colon between them, in which a shell looks for commands, the first one first. The
module of BioGANs puts the folder `bin` of the installation **in front**, and sets `BG_HOME` (the installation) and
`BG_BIN` (its commands). As only the shell where it is typed is changed, and what that starts, a job must load the
module too, or inherit it.

## Exercise 1: be the module

`environment` is a dictionary such as `os.environ`. Return a *changed copy* of it: the processes that are there
already keep theirs.
"""

# %% exercise
# Exercise 1
def load_module(environment, home):
    """A copy of `environment` with BG_HOME, BG_BIN and PATH as the module of an installation in `home` sets them."""
    ### BEGIN SOLUTION
    folder = f"{home}/bin"
    return {**environment, "BG_HOME": str(home), "BG_BIN": folder, "PATH": f"{folder}:{environment['PATH']}"}
    ### HANDOUT
    # return dict(environment)        # your code instead of this line
    ### END SOLUTION

# %% check
_before = {"PATH": "/usr/bin:/bin", "LANG": "C"}
_after = load_module(_before, "/apps/biogans")
assert _after.get("BG_HOME") == "/apps/biogans" and _after.get("BG_BIN") == "/apps/biogans/bin", \
    "BG_HOME should be the installation, BG_BIN its folder bin"
assert _after["PATH"] == "/apps/biogans/bin:/usr/bin:/bin", f"the folder bin goes before the others: {_after['PATH']}"
assert _after["LANG"] == "C" and _before == {"PATH": "/usr/bin:/bin", "LANG": "C"}, "copy; change nothing else"
_found = subprocess.run(["bash", "-c", "command -v train.py"], env=load_module(os.environ, HOME), capture_output=True,
                        text=True).stdout.strip()
assert _found == f"{HOME}/bin/train.py", f"a shell should find train.py in {HOME}/bin, it finds {_found or 'nothing'}"
print("✓ exercise 1: train.py is a command now")

# %%
ENVIRONMENT = {**os.environ, "BG_HOME": str(HOME), "BG_BIN": f"{HOME}/bin", "PATH": f"{HOME}/bin:{os.environ['PATH']}",
               "DATA": str(DATA)}


def shell(text, folder=WORK, **more):
    """Run lines of bash in a folder, with the module loaded: (exit status, what they printed)."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["bash", "-c", text], cwd=folder, env=ENVIRONMENT | more, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout


status, printed = shell("train.py -h | head -n 3; echo; ls $BG_BIN")
print(printed)

# %% [markdown]
r"""
## An interactive session

To try something out, one asks for a shell on a compute node (on some clusters `sinteractive` is short for it):

    srun --cpus-per-task=4 --mem=8g --time=2:00:00 --pty bash -l

When it starts, the prompt is that of another machine. Load the module there. TensorFlow takes as many threads as
`--cpus-per-task` says: BioGANs reads `SLURM_CPUS_PER_TASK`, one of the variables that Slurm sets in a job. A command
in the place of the shell is run there; `--immediate=30` gives up if it can't start within 30 seconds:
"""

# %%
on_cluster("srun --immediate=30 --cpus-per-task=2 --time=1 bash -c 'echo on $(hostname): $SLURM_CPUS_PER_TASK cores'")

# %% [markdown]
r"""
## A batch job

What takes longer is written into a **job script** and left to the queue. It is a shell script, whose comments that
begin with `#SBATCH` are requests to Slurm, one option in each:

    #!/bin/bash
    #SBATCH --cpus-per-task=2       cores for a task (the text after the option is no part of it, leave it out)
    #SBATCH --mem=4g                memory
    #SBATCH --time=1:00:00          limit: hours:minutes:seconds, or days-hours:minutes:seconds
    #SBATCH --output=%x-%j.out      where what it prints goes: %x is the job's name, %j its number

Slurm reads them **up to the first line that is a command**; later ones are comments like any other. The first line says
which program reads the script. `sbatch job.sh` submits it, and the number of the job is printed.

## Exercise 2: a job script

Correct the script: two cores, 2 GB of memory, ten minutes, output to `%x-%j.out`; it trains a DCGAN on the images of
`$DATA` for the factor Tea1, with `--preset fast`, for 20 iterations.
"""

# %% exercise
# Exercise 2
### BEGIN SOLUTION
JOB = """\
#!/bin/bash
#SBATCH --job-name=tea1
#SBATCH --cpus-per-task=2
#SBATCH --mem=2g
#SBATCH --time=10:00
#SBATCH --output=%x-%j.out

train.py -d "$DATA" -p Tea1 -m DCGAN --preset fast -e 20
"""
### HANDOUT
# JOB = """\
# #!/bin/bash
# #SBATCH --job-name=tea1
# echo "training begins"
# #SBATCH --cpus-per-task=16
# train.py -d "$DATA" -p Tea1 -m DCGAN --preset fast -e 20
# """
### END SOLUTION

# %%
def requests(script):
    """{option: value} of a job script, as Slurm reads them."""
    found = {}
    for line in script.splitlines():
        if line.strip() and not line.startswith("#"):
            break
        if match := re.match(r"#SBATCH\s+--([\w-]+)[= ](\S+)", line):
            found[match[1]] = match[2]
    return found


def seconds_of(limit):
    """Seconds of a time limit as Slurm writes it: minutes, m:s, h:m:s, d-h, d-h:m or d-h:m:s."""
    days, _, rest = limit.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if days:
        hours, minutes, seconds = (parts + [0, 0])[:3]
    else:
        hours, minutes, seconds = {1: [0, *parts, 0], 2: [0, *parts], 3: parts}[len(parts)]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds

# %% check
assert JOB.startswith("#!/bin/"), "the first line says which program reads the script: #!/bin/bash"
_asked = requests(JOB)
assert {"cpus-per-task", "mem", "time", "output"} <= _asked.keys(), \
    f"Slurm reads only these requests: {_asked}. All must come before the first command"
assert _asked["cpus-per-task"] == "2" and _asked["mem"].lower() in ("2g", "2gb", "2048m", "2048"), \
    f"two cores and 2g of memory, please; you ask for {_asked}"
assert seconds_of(_asked["time"]) == 600, f"--time={_asked['time']} is {seconds_of(_asked['time'])} seconds, not 600"
assert _asked["output"] == "%x-%j.out", "the output should go to %x-%j.out"
(WORK / "job.sh").write_text(JOB)
_status, _said = shell("bash -n job.sh")
assert _status == 0, f"bash can't read it: {_said}"
shutil.rmtree(WORK / "job", ignore_errors=True)
_status, _said = shell("bash ../job.sh", WORK / "job", SLURM_CPUS_PER_TASK="2")
assert _status == 0, f"it fails when it is run here, with status {_status}: {_said[-300:]}"
assert "running on 2 CPU core(s)" in _said or "GPU" in _said, "SLURM_CPUS_PER_TASK should reach train.py"
assert (WORK / "job" / "checkpoints" / "weights.generator.DCGAN.WGAN-GP.1.h5").exists(), \
    "it should leave weights.generator.DCGAN.WGAN-GP.1.h5 in checkpoints: -m DCGAN, no -a"
print("✓ exercise 2: it can be submitted")

# %%
(WORK / "job.sh").write_text(JOB)
on_cluster("sbatch --test-only job.sh")             # asks when it would start, and submits nothing

# %% [markdown]
r"""
## How long? The queue

How long to ask for? Too short, and the job is ended; too long, and it waits. For the scheduler fills gaps: a job may
start before others that came earlier if it does not delay them (*backfill*), and only one that is short *by its
limit* fits into a gap. Here is a scheduler in six lines, a machine with 16 cores, and the same job, which really
takes an hour, with a limit of two and of ten hours:
"""

# %% figure queue
def schedule(jobs, cores=16, hours=60, step=0.5):
    """Start (hours) of each of jobs (cores, limit in hours): in their order, each as early as it delays none before."""
    free, starts = np.full(int(hours / step), cores), []
    for wanted, limit in jobs:
        length = math.ceil(limit / step)
        start = next(t for t in range(len(free)) if (free[t:t + length] >= wanted).all())
        free[start:start + length] -= wanted
        starts.append(start * step)
    return starts


others = [(8, 6), (4, 4), (16, 8), (8, 12), (6, 5)]            # cores, hours
figure, panels = plt.subplots(1, 2, figsize=(12, 3), sharey=True, layout="constrained")
for axes, limit in zip(panels, (2, 10)):
    jobs = [*others, (4, limit)]
    starts = schedule(jobs)
    for k, (start, (wanted, length)) in enumerate(zip(starts, jobs)):
        mine = k == len(others)
        axes.barh(k, length, left=start, color=DRAWN if mine else "0.75")
        axes.text(start + length + 0.5, k, f"{wanted} cores", va="center", fontsize=8)
    axes.set(title=f"limit {limit} h: it starts after {starts[-1]:g} h", xlabel="hours from now", xlim=(0, 36))
panels[0].set_yticks(range(6), [*(f"job {k + 1}" for k in range(5)), "yours"])
panels[0].invert_yaxis()
plt.show()

# %% [markdown]
r"""
So measure how long an iteration takes, and ask for what is needed and some reserve. (Or, better: ask for little and
let the job come back, see below.)

## Exercise 3: a time limit

Round *up* to whole minutes, and write `days-hours:minutes:seconds`, such as `1-02:05:00`.
"""

# %% slide [markdown]
r"""
## Ask for what you need

![](queue.png)

The scheduler fills gaps. A job that is short by its limit fits into one.
"""

# %% exercise
# Exercise 3
def time_limit(iterations, per_second, reserve=1.2):
    """D-HH:MM:SS for so many iterations at a rate of `per_second`, times the reserve, in whole minutes, rounded up."""
    ### BEGIN SOLUTION
    minutes = math.ceil(reserve * iterations / per_second / 60)
    return f"{minutes // 1440}-{minutes // 60 % 24:02}:{minutes % 60:02}:00"
    ### HANDOUT
    # return "0-00:00:00"         # your code instead of this line
    ### END SOLUTION

# %% check
assert re.fullmatch(r"\d+-\d\d:\d\d:\d\d", time_limit(1000, 7.0)), f"D-HH:MM:SS, please: {time_limit(1000, 7.0)}"
assert time_limit(600, 10, reserve=1) == "0-00:01:00", f"a minute's work: {time_limit(600, 10, reserve=1)}"
assert time_limit(601, 10, reserve=1) == "0-00:02:00", "a little more than a minute: round up"
assert time_limit(50000, 0.5) == "1-09:20:00", f"50,000 iterations at one in 2 s, and a fifth: {time_limit(50000, 0.5)}"
for _iterations in (5000, 12345, 300000):
    _spare = seconds_of(time_limit(_iterations, 3.0)) - 1.2 * _iterations / 3
    assert 0 <= _spare < 60, f"{_iterations} iterations: {_spare:.0f} seconds more than asked for"
print("✓ exercise 3")

# %%
TRAIN = 'train.py -d "$DATA" -p Tea1 -m DCGAN --preset fast'
LOG = "checkpoints/log.DCGAN.WGAN-GP.1.csv"
WEIGHTS = "checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5"


def log_of(folder):
    """Columns of a run's log: {name: numbers}."""
    with open(WORK / folder / LOG) as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name]) for row in rows]) for name in ("iteration", "critic_loss", "seconds")}


shutil.rmtree(WORK / "alone", ignore_errors=True)
status, printed = shell(f"{TRAIN} -e 150", WORK / "alone")
alone = log_of("alone")
rate = 100 / (alone["seconds"][-1] - alone["seconds"][-101])
print(f"{rate:.0f} iterations a second on this machine: for 50,000 ask for --time={time_limit(50000, rate)}")

# %% [markdown]
r"""
## A job that survives its time limit

Before Slurm ends a job it can send a **signal**: a number that the operating system hands to a process, which may
have a function to answer it. With `#SBATCH --signal=B:USR1@180` the job's shell gets the signal `USR1` three minutes
before the limit. `train.py` answers `USR1` and `TERM` alike: it finishes the iteration, saves, and ends with the
**exit status** 75. (The exit status of a process is a number for whoever started it: 0 is *done*, 2 here means *a
mistake in the options*, and 75 by an old convention *try again later*.) With `--resume` the next start goes on from
what was saved.

So the rule for the one who starts it: **as long as the status is 75, start it again.**

## Exercise 4: start it again

`start(number)` runs it for the `number`th time (0, 1, …) and returns its status. Stop at any status but 75, and after
`most` starts in all: what never ends must not run for ever.
"""

# %% exercise
# Exercise 4
def until_done(start, most=20):
    """Start it until its status is not 75, at most `most` times; returns the list of all statuses."""
    ### BEGIN SOLUTION
    statuses = []
    while len(statuses) < most:
        statuses.append(start(len(statuses)))
        if statuses[-1] != 75:
            break
    return statuses
    ### HANDOUT
    # return [start(0)]       # your code instead of this line
    ### END SOLUTION

# %% [markdown]
r"""
Now for real. The cell below starts a training, sends `USR1` after some iterations, twice, and lets the third start
finish. A training of the same seed that was never interrupted has run above. Are the weights in the end the same?
"""

# %% figure interrupted
def start_and_stop(number, iterations=150, stops=(40, 90)):
    """Train in the folder `interrupted`; the first starts get USR1 when the log has so many iterations."""
    process = subprocess.Popen(["bash", "-c", f"exec {TRAIN} -e {iterations} --resume"], cwd=WORK / "interrupted",
                               env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    log = WORK / "interrupted" / LOG
    while number < len(stops) and process.poll() is None:
        time.sleep(0.02)
        if log.exists() and len(log.read_text().splitlines()) > stops[number]:
            process.send_signal(signal.SIGUSR1)
            break
    printed = process.communicate(timeout=300)[0]
    told = re.findall(r"going on from .*?(?=,)|stopped by .*?(?=,)", printed)
    print(f"start {number}: status {process.returncode};", *told)
    return process.returncode


shutil.rmtree(WORK / "interrupted", ignore_errors=True)
(WORK / "interrupted").mkdir()
statuses = until_done(start_and_stop)
log = log_of("interrupted")
figure, axes = plt.subplots(figsize=(8, 2.8), layout="constrained")
axes.plot(alone["iteration"], alone["critic_loss"], color=REAL, linewidth=4, alpha=0.4, label="never interrupted")
axes.plot(log["iteration"], log["critic_loss"], color=DRAWN, linewidth=1, label=f"{len(statuses)} starts: {statuses}")
axes.set(xlabel="iteration", ylabel="critic's loss")
axes.legend()
plt.show()

# %% check
def _pretend(*answers):
    _numbers = []
    return (lambda number: _numbers.append(number) or answers[number]), _numbers


_start, _numbers = _pretend(75, 75, 0, 0)
assert until_done(_start) == [75, 75, 0] and _numbers == [0, 1, 2], "75, 75, 0: three starts, with the numbers 0, 1, 2"
_start, _ = _pretend(2, 0)
assert until_done(_start) == [2], "2 is a mistake in the options: starting it again does not mend that"
assert until_done(lambda number: 75, most=5) == [75] * 5, "always 75: stop after `most` starts"
assert statuses == [75, 75, 0], f"the training ended with {statuses}"
_weights = [checkpoint.load_generator(WORK / folder / WEIGHTS)[0].get_weights() for folder in ("alone", "interrupted")]
assert all(np.array_equal(a, b) for a, b in zip(*_weights)), "the weights differ"
print("✓ exercise 4: interrupted twice, and the weights are the same, bit for bit")

# %% slide [markdown]
r"""
## Interrupted twice, the same bit for bit

![](interrupted.png)

`--signal=B:USR1@180` · `train.py` saves and ends with 75 · the job goes back to the queue · `--resume`

So ask for little time, and let the job come back.
"""

# %% [markdown]
r"""
What made that possible: weights, optimizers, the position in the data and the numbers for all random choices are in the
checkpoint, and a checkpoint is written beside the old one and then renamed, so there is a whole one at any moment.

## Exercise 5: pass the signal on

In a batch job the signal reaches the *shell* of the job script, not `train.py`. A shell that has no answer to `USR1`
is ended by it; and one that has, but waits for a command in the foreground, answers only when that has ended. The way
out, in bash:

- `trap 'kill -USR1 "$child"' USR1` before anything else: the answer, which passes the signal on;
- start the command **in the background**, with `&`, and keep its number: `child=$!`;
- `wait "$child"` waits for it, but returns at once when a signal comes: so `wait "$child"` again, whose status (`$?`)
  is that of the command. `exit` with it.

The words after the script's name are `"$@"`. The check tries your script with a small program in the place of
`train.py`.
"""

# %% exercise
# Exercise 5
### BEGIN SOLUTION
SCRIPT = """\
#!/bin/bash
trap 'kill -USR1 "$child"' USR1
"$@" &
child=$!
wait "$child"
wait "$child"
exit $?
"""
### HANDOUT
# SCRIPT = """\
# #!/bin/bash
# "$@"
# """
### END SOLUTION

# %% check
(WORK / "pass_on.sh").write_text(SCRIPT)
assert shell("bash -n pass_on.sh")[0] == 0, f"bash can't read it: {shell('bash -n pass_on.sh')[1]}"
for _wanted in (0, 3):
    assert shell(f"bash pass_on.sh bash -c 'exit {_wanted}'")[0] == _wanted, \
        f"a command that ends with {_wanted} by itself: the script should end with {_wanted}"
(WORK / "pretend.sh").write_text('stop() { echo saved; exit 75; }\ntrap stop USR1\necho ready\n'
                                 'for k in {1..100}; do sleep 0.1; done\n')
_process = subprocess.Popen(["bash", "pass_on.sh", "bash", "pretend.sh"], cwd=WORK, stdout=subprocess.PIPE, text=True,
                            start_new_session=True)
assert _process.stdout.readline() == "ready\n", "the command should be started"
_process.send_signal(signal.SIGUSR1)
_status = None
with contextlib.suppress(subprocess.TimeoutExpired):
    _status = _process.wait(timeout=5)
with contextlib.suppress(ProcessLookupError):
    os.killpg(_process.pid, signal.SIGKILL)             # what the script has left behind
_said = _process.stdout.read()
assert _status is not None, "five seconds after the signal it still runs: wait in the foreground holds the answer up"
assert _status != -signal.SIGUSR1, "the shell was ended by the signal: it needs a trap"
assert "saved" in _said, "the command was not told: kill -USR1 its number"
assert _status == 75, f"the command ended with 75, the script with {_status}: wait once more"
print("✓ exercise 5: this is the heart of hpc/train.sbatch")

# %% [markdown]
r"""
`hpc/train.sbatch` does that, copies the data to the node's own disk, and gives the job back to the queue
(`scontrol requeue`) when the status is 75. It is used as

    sbatch --cpus-per-task=4 --time=1:00:00 $BG_HOME/hpc/train.sbatch train.py -d data -m DCGAN -e 50000

## A swarm

One training tells little: is B better than A, or was its seed lucky? Ten seeds of each tell more. So one wants many
jobs that differ in a word. A **swarm** is a file with a command on each line; each line becomes a job (Slurm calls
them a *job array*). On Biowulf, the cluster of the NIH, `swarm -f FILE` runs it, on any Slurm our
`hpc/swarm-array -f FILE`.

## Exercise 6: write the file

For each algorithm and each seed one line. All write files of the same names, so each needs **a folder of its own**,
`runs/<algorithm>.<seed>`, which the line makes and enters (`mkdir -p … && cd … && …`). And with `--resume` a swarm that
was stopped can be submitted again: what is done says so, what is not goes on.
"""

# %% exercise
# Exercise 6
def swarm(algorithms, seeds, iterations):
    """The text of a swarm file: a line for each algorithm (-a) and seed (-s); begin the command with TRAIN."""
    ### BEGIN SOLUTION
    return "".join(f"mkdir -p runs/{name}.{seed} && cd runs/{name}.{seed} && "
                   f"{TRAIN} -a {name} -s {seed} -e {iterations} --resume\n"
                   for name, seed in itertools.product(algorithms, seeds))
    ### HANDOUT
    # return "".join(f"{TRAIN} -a {name} -s {seed} -e {iterations}\n"          # change this: all in the same folder
    #                for name, seed in itertools.product(algorithms, seeds))
    ### END SOLUTION

# %% check
_text = swarm(["GAN", "WGAN-GP"], [1, 2, 3], 7)
assert len(_text.splitlines()) == 6, f"two algorithms, three seeds: six lines, yours are {len(_text.splitlines())}"
_folder = WORK / "pretended"
shutil.rmtree(_folder, ignore_errors=True)
(_folder / "bin").mkdir(parents=True)
(_folder / "bin" / "train.py").write_text('#!/bin/bash\nprintf "%s\\t" "$PWD" "$@" >> "$CALLS"\necho >> "$CALLS"\n')
(_folder / "bin" / "train.py").chmod(0o755)
for _line in _text.splitlines() * 2:                    # twice: a swarm may be submitted again
    _status, _said = shell(_line, _folder, PATH=f"{_folder}/bin:{os.environ['PATH']}", CALLS=f"{_folder}/calls")
    assert _status == 0, f"this line fails (the second time?) with {_said!r}: {_line}"
_calls = [_call.split("\t") for _call in (_folder / "calls").read_text().splitlines()]
assert {_call[0] for _call in _calls} == {f"{_folder}/runs/{_name}.{_seed}" for _name in ("GAN", "WGAN-GP")
                                          for _seed in (1, 2, 3)}, "each line should run in runs/<algorithm>.<seed>"
for _call in _calls:
    _name, _seed = _call[0].rpartition("/")[2].rsplit(".", 1)
    assert _call[_call.index("-a") + 1] == _name and _call[_call.index("-s") + 1] == _seed, \
        f"in {_call[0]} there runs another algorithm or seed: {' '.join(_call[1:])}"
    assert "--resume" in _call and _call[_call.index("-e") + 1] == "7", "--resume and the iterations are missing"
print("✓ exercise 6")

# %% figure sheet
shutil.rmtree(WORK / "swarm", ignore_errors=True)
(WORK / "swarm").mkdir()
(WORK / "swarm" / "seeds.swarm").write_text(swarm(["hinge", "WGAN-GP"], [1, 2], 120))
for line in (WORK / "swarm" / "seeds.swarm").read_text().splitlines():          # on a cluster all at the same time
    shell(line, WORK / "swarm")
on_cluster("sbatch --test-only --array=0-3 --cpus-per-task=1 --mem=2g --time=10:00 $BG_HOME/hpc/train.sbatch")
status, printed = shell("biogans collect .", WORK / "swarm")
print(printed)
plt.figure(figsize=(12, 4))
plt.imshow(plt.imread(WORK / "swarm" / "runs.png"))
plt.axis("off")
plt.show()

# %% [markdown]
r"""
On a cluster the same is `$BG_HOME/hpc/swarm-array -f seeds.swarm -t 1 -g 2 --time=10:00` (threads, gigabytes and
limit of *each* line), after `export DATA=${BG_DATA}_48-80/data`, as jobs inherit variables. `biogans collect` made a table
of the runs and a sheet with cells of each, drawn from the same latents. Both seeds say the same about the two
algorithms: that is what seeds are for. But is the comparison fair? `--preset fast` was tuned for WGAN-GP.

## Many GPUs, many nodes: one training

To make *one* training faster, several **workers** (processes with a GPU or some cores each) share every batch: each
computes the gradient of its part, then all gradients are averaged, and every worker makes the same step. Nothing
changes but the time.

## Exercise 7: average

The loss is a *mean* over the images of a batch. If the parts are of different sizes, the mean of the means is not the
mean.
"""

# %% exercise
# Exercise 7
def combined(gradients, sizes):
    """The gradient of a batch's mean loss, from those of its parts' mean losses (arrays of one shape) and sizes."""
    ### BEGIN SOLUTION
    return sum(size * gradient for size, gradient in zip(sizes, gradients)) / sum(sizes)
    ### HANDOUT
    # return sum(gradients)       # your code instead of this line
    ### END SOLUTION

# %% check
_r = np.random.default_rng(0)
_x, _y, _w = _r.standard_normal((12, 4)), _r.standard_normal(12), tf.Variable(_r.standard_normal(4))


def _gradient(part):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.nn.softplus(tf.linalg.matvec(_x[part], _w)) * _y[part])
    return tape.gradient(loss, _w).numpy()


for _cuts in ((0, 6, 12), (0, 4, 8, 12), (0, 1, 5, 12)):
    _parts = [slice(*_pair) for _pair in zip(_cuts, _cuts[1:])]
    _yours = combined([_gradient(_part) for _part in _parts], [_part.stop - _part.start for _part in _parts])
    assert np.allclose(_yours, _gradient(slice(None))), \
        f"parts of {np.diff(_cuts)} images: not the gradient of the whole batch"
print("✓ exercise 7: several workers make the step that one would make")

# %% [markdown]
r"""
Batch normalisation (a layer of the generator that subtracts the mean over the batch, notebook 2) needs care: that
mean is over the *whole* batch, so it is summed over the workers too. Let us try: two tasks on this machine, which
find each other by the variables that `srun` sets for each of its tasks. On a cluster it is
`sbatch $BG_HOME/hpc/train-multinode.sbatch train.py …`, on two nodes.
"""

# %%
def tasks(number, iterations):
    """Train with so many tasks, as srun starts them; returns what the first one printed."""
    folder = WORK / f"tasks_{number}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    of_step = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_STEP_ID": "0", "SLURM_STEP_NODELIST": "localhost",
               "SLURM_STEP_NUM_TASKS": str(number), "SLURM_CPUS_PER_TASK": "1"}
    started = [subprocess.Popen(["bash", "-c", f"exec {TRAIN} -e {iterations}"], cwd=folder, text=True,
                                env=ENVIRONMENT | of_step | {"SLURM_PROCID": str(rank)}, stdout=subprocess.PIPE)
               for rank in range(number)]
    return [process.communicate(timeout=300)[0] for process in started][0]


tasks(1, 8)
print(*(line for line in tasks(2, 8).splitlines() if "tasks" in line or "core" in line), sep="\n")
one, two = (log_of(f"tasks_{number}")["critic_loss"] for number in (1, 2))
for k in range(8):
    print(f"iteration {k + 1}: critic's loss {one[k]:.4f}; with two tasks {abs(two[k] / one[k] - 1):.0e} of it off")

# %% [markdown]
r"""
At first the difference is rounding, seven digits behind: sums in another order. Then it grows, as in every game of
two networks the smallest difference does; both trainings are equally right. (On one device nothing is summed in
another order, and exercise 4 found the same bits.) Is it *faster*? With networks as small as these no: the workers
wait for each other's messages. So count.

## Exercise 8: what the exchange costs

In a **ring all-reduce** $N$ workers stand in a circle. The $S$ bytes of gradients are cut into $N$ pieces; in $N - 1$
rounds each worker sends a piece to its neighbour, who adds its own; in $N - 1$ more rounds the sums go round. With a
bandwidth of $B$ bytes a second and a latency of $\ell$ seconds a message (the time that even an empty one takes),

$$ t = \frac{2(N - 1)}{N} \frac{S}{B} + 2(N - 1)\, \ell $$

(Patarasuk & Yuan 2009). The first part hardly grows with $N$, the second does. Then give the **speed-up**: images a
second of $N$ workers, as a multiple of one's, if each has as many images as before (so the batch grows), computes for
$c$ seconds an iteration, and then exchanges.
"""

# %% exercise
# Exercise 8
def exchange(size, workers, bandwidth, latency):
    """Seconds of a ring all-reduce of `size` bytes among so many workers."""
    ### BEGIN SOLUTION
    return 2 * (workers - 1) / workers * size / bandwidth + 2 * (workers - 1) * latency
    ### HANDOUT
    # return 0.0 * workers            # your code instead of this line
    ### END SOLUTION


def speed_up(computing, size, workers, bandwidth, latency):
    """Images a second of `workers` workers, as a multiple of those of one, who exchanges nothing."""
    ### BEGIN SOLUTION
    return workers * computing / (computing + exchange(size, workers, bandwidth, latency))
    ### HANDOUT
    # return 0.0 * workers            # your code instead of this line
    ### END SOLUTION

# %% check
assert exchange(1e8, 1, 1e9, 1e-3) == 0, "one worker exchanges nothing"
assert np.isclose(exchange(1e8, 2, 1e9, 1e-3), 0.102), "100 MB between two, 1 GB/s, 1 ms: 0.1 s and 2 messages"
assert np.isclose(exchange(1e8, 1000, 1e9, 0), 0.1998), "the volume hardly grows with the number of workers"
assert np.isclose(speed_up(0.1, 1e8, 2, 1e9, 0), 1), "two workers that exchange as long as they compute gain nothing"
assert np.isclose(speed_up(1.0, 0, 8, 1e9, 0), 8), "eight workers without messages: eight times"
print("✓ exercise 8")

# %% figure scaling
workers = 2 ** np.arange(10)
figure, axes = plt.subplots(figsize=(6.5, 3.8), layout="constrained")
axes.loglog(workers, workers, "k:", label="ideal")
for size, latency, label, style in ((376e6, 5e-6, "the paper's star: 376 MB of gradients an iteration", "o-"),
                                    (376e6, 1e-3, "the same over Ethernet: latency 1 ms", "s--")):
    axes.loglog(workers, [speed_up(0.088, size, n, 25e9, latency) for n in workers], style, label=label, color=(
        REAL if style == "o-" else DRAWN))
axes.set(xlabel="GPUs", ylabel="images a second, times one GPU's", title="counted, not measured")
axes.legend(fontsize=8)
plt.show()
gpus = [f"{n} GPUs: {speed_up(0.088, 376e6, n, 25e9, 5e-6):.0f}" for n in (8, 64, 512)]
print("speed-up, 25 GB/s, 5 µs:", *gpus, sep="  ")

# %% slide [markdown]
r"""
## What many GPUs gain

$$ t = \frac{2(N - 1)}{N} \frac{S}{B} + 2(N - 1)\, \ell $$

![](scaling.png)

More images a second; whether fewer iterations are enough is another question. Patarasuk & Yuan 2009
"""

# %% [markdown]
r"""
`docs/scaling.md` counts more carefully (batch normalisation's many small sums, several links) and measures what can
be measured. And mind what is counted: 512 GPUs show the networks 512 times as many images in an iteration. That 512
times fewer iterations are enough is *not* said; for GANs it is usually wrong. For ten seeds, a swarm wins without any
exchange.

## To discuss

1. Your training takes 30 hours, and the cluster's short queue allows 4. Which is better: 48 hours in the long queue,
   or 4 hours that come back?
2. You ask for 32 cores, and the job is no faster than with 4. Who is harmed, and how would you have known before?
3. Twenty seeds, or one training on twenty GPUs: when which?
4. A job ended with `oom-kill` (out of memory) after nine hours. What is lost, and what do you change?

## Sources

- Yoo, Jette & Grondona (2003), *SLURM: simple Linux utility for resource management*,
  [doi:10.1007/10968987_3](https://doi.org/10.1007/10968987_3)
- Patarasuk & Yuan (2009), *Bandwidth optimal all-reduce algorithms for clusters of workstations*,
  [doi:10.1016/j.jpdc.2008.09.002](https://doi.org/10.1016/j.jpdc.2008.09.002)
- Lifka (1995), *The ANL/IBM SP scheduling system* (backfill),
  [doi:10.1007/3-540-60153-8_35](https://doi.org/10.1007/3-540-60153-8_35)
- In the product: `docs/hpc.md`, `docs/durability.md`, `docs/scaling.md`
"""

# %% answer [markdown]
r"""
## For the instructor

**Timing** (50 minutes): cluster and exercise 1 7, exercise 2 8, exercise 3 5, signals and exercise 4 10, swarm and
exercise 6 8, exercise 7 and the two tasks 7, discussion 5. Exercises 5 and 8 suit those who are ahead.

On a cluster, let students submit the script of exercise 2 (`sbatch job.sh` in `work_8`, in a terminal with the module
loaded and `export DATA=${BG_DATA}_48-80/data`) and watch `squeue --me`.

**Answers.** 1: usually the 4 hours: short jobs fill gaps, and nothing is lost between them but start and save, less
than a minute each. 2: the others in the queue, and yourself, who wait for 32 free cores; try 1, 2, 4 and 8 cores for
a minute each and compare iterations a second. 3: twenty seeds when you compare methods or need an error bar; twenty
GPUs when one training is too long to wait for and is large enough that exchange is small beside computing. 4: what
was done since the last checkpoint, ten minutes at most (`--save_minutes`); ask for more memory with `--mem`
(`sacct -j NUMBER --format=MaxRSS` tells what was used), or give fewer images to a batch, and submit it again with
`--resume`.

**If something hangs:** the cell with two tasks needs the machine's own network address `localhost`; it ends after five
minutes.
"""

# %% slide [markdown]
r"""
## To discuss

1. 30 hours of training: 48 hours in the long queue, or 4 that come back?
2. 32 cores are no faster than 4. Who is harmed?
3. Twenty seeds, or one training on twenty GPUs?
4. `oom-kill` after nine hours: what is lost?
"""
