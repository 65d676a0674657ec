# %% [markdown]
r"""
# 8. On the cluster

**After this notebook you can** load a module and explain what that does; write a job script and choose its resources;
make a training run survive its time limit; start a hundred training runs with one command; say what many GPUs gain, and
what they cost.

**You need** notebook 4 (the commands), and a little experience with a terminal. The notebook runs on a cluster *and* on
a laptop: commands of the cluster run where Slurm is available, and otherwise are only shown; everything else really
runs here. The notebook takes about two minutes to compute, and creates a folder `work_8`.
"""

# %% slide [markdown]
r"""
# On the cluster

Modules, jobs, swarms, many GPUs

*Deep Learning by Example* · notebook 8
"""

# %% install

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
from tqdm import tqdm

import biogans
from biogans.core.trained import load_generator
from biogans.system.hints import checked
from biogans.system.notebook import run_process

BLUE, ORANGE = "#0072B2", "#D55E00"
HOME = Path(biogans.__file__).resolve().parents[2]              # the installation
DATA = HOME / "data_48-80" / "data"
WORK = Path("work_8").resolve()
WORK.mkdir(exist_ok=True)
plt.rcParams.update({"figure.dpi": 90, "axes.spines.top": False, "axes.spines.right": False})


IS_CLUSTER = subprocess.run("sinfo", shell=True, capture_output=True).returncode == 0


def on_cluster(command):
    """Run a Slurm command where Slurm is available; otherwise only show it."""
    print("$", command)
    if IS_CLUSTER:          # Jupyter itself may run in a job; a new job must not inherit that job's variables
        outside = {name: value for name, value in os.environ.items()
                   if not name.startswith("SLURM_") or name == "SLURM_CONF"}
        done = subprocess.run(command, shell=True, cwd=WORK, env=outside | {"BG_HOME": str(HOME)}, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        print(done.stdout)
    else:
        print("  (only shown: Slurm is not available here)")

# %% [markdown]
r"""
## What is a cluster?

A **cluster** is a room full of computers, the **nodes**, which share the same disks. You log in on a **login node**. It
is for typing, not for computing, because all users share it. **Compute nodes** do the computing; each has dozens of
**cores** (processors that do one thing at a time), memory, and perhaps GPUs.

The **scheduler**, here *Slurm*, decides who computes where and when. You ask it for a number of cores, an amount of
memory and a length of time: a **job**. The job waits in a **queue** until these are free, and ends at the latest when
its time is up. It runs one or more **tasks** (processes), each on one or more cores: a process uses several cores by
running several **threads**.

`sinfo` shows the nodes, `squeue` the queue, and `squeue --me` your own jobs; `scancel NUMBER` ends a job.
"""

# %%
on_cluster("sinfo")
on_cluster("squeue --me")

# %% slide [markdown]
r"""
## What is a cluster?

| | |
|---|---|
| login node | for typing; shared by all |
| compute nodes | cores, memory, GPUs; for jobs only |
| scheduler (Slurm) | who, where, when: `sinfo`, `squeue`, `sbatch`, `scancel` |
| job | a number of cores, an amount of memory, a length of time |
| module | a set of environment variables: this program, this version |
| swarm | a file with one command per line, run as many jobs |
"""

# %% [markdown]
r"""
## Modules

A cluster's disk holds hundreds of programs in many versions. `module avail` lists them; `module load biogans` makes one
of them usable in the **shell** (the program that reads your commands) in which you type it. How? It sets **environment
variables**: named texts that every process inherits from the process that started it. The most important one is `PATH`,
a list of folders separated by colons. The shell searches them for commands, in this order. The module of BioGANs puts
the folder `bin` of the installation **in front**, and sets `BG_HOME` (the installation), `BG_BIN` (its commands) and a
few more. This changes only your current shell and the processes that it starts, so a job must load the module too, or
inherit the variables.

## Exercise 1: be the module

`environment` is a dictionary such as `os.environ`. Return a *modified copy* of it: the processes that already run keep
their variables.
"""

# %% exercise
# Exercise 1
def load_module(environment, home):
    """Copy of `environment` with BG_HOME, BG_BIN and PATH as set by the module of the installation in `home`."""
    ### BEGIN SOLUTION
    folder = f"{home}/bin"
    return {**environment, "BG_HOME": str(home), "BG_BIN": folder, "PATH": f"{folder}:{environment['PATH']}"}
    ### HANDOUT
    # return dict(environment)        # your code instead of this line
    ### END SOLUTION

# %% check
_load_module = checked(load_module, kind=dict)
_before = {"PATH": "/usr/bin:/bin", "LANG": "C"}
_after = _load_module(_before, "/apps/biogans")
assert _after.get("BG_HOME") == "/apps/biogans" and _after.get("BG_BIN") == "/apps/biogans/bin", \
    "BG_HOME should be the installation, and BG_BIN its folder bin"
assert _after["PATH"] == "/apps/biogans/bin:/usr/bin:/bin", f"put the folder bin before the others: {_after['PATH']}"
assert _after["LANG"] == "C" and _before == {"PATH": "/usr/bin:/bin", "LANG": "C"}, "copy, and change nothing else"
_found = subprocess.run(["bash", "-c", "command -v train.py"], env=_load_module(os.environ, HOME), capture_output=True,
                        text=True).stdout.strip()
assert _found == f"{HOME}/bin/train.py", f"a shell should find train.py in {HOME}/bin, but finds {_found or 'nothing'}"
print("✓ exercise 1: the shell now finds train.py")

# %%
ENVIRONMENT = {**os.environ, "BG_HOME": str(HOME), "BG_BIN": f"{HOME}/bin", "PATH": f"{HOME}/bin:{os.environ['PATH']}",
               "DATA": str(DATA)}


def shell(text, folder=WORK, **more):
    """Run lines of bash in a folder, with the module loaded; returns (exit status, output)."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    return run_process(["bash", "-c", text], folder, ENVIRONMENT | more)


status, printed = shell("train.py -h | head -n 3; echo; ls $BG_BIN")
print(printed)

# %% [markdown]
r"""
## An interactive session

To try something out, ask for a shell on a compute node (some clusters offer `sinteractive` as an abbreviation):

    srun --cpus-per-task=4 --mem=8g --time=2:00:00 --pty bash -l

When it starts, you see the prompt of another machine. Load the module there. TensorFlow uses as many threads as you
request with `--cpus-per-task`: BioGANs reads `SLURM_CPUS_PER_TASK`, one of the variables that Slurm sets in a job. You
can replace the shell by any command; `--immediate=30` gives up if it can't start within 30 seconds:
"""

# %%
on_cluster("srun --immediate=30 --cpus-per-task=2 --time=1 bash -c 'echo on $(hostname): $SLURM_CPUS_PER_TASK cores'")

# %% [markdown]
r"""
## A batch job

For longer work, write a **job script** and leave it to the queue. It is a shell script in which comments that begin
with `#SBATCH` are requests to Slurm, one option per line:

    #!/bin/bash
    #SBATCH --cpus-per-task=2       cores per task (omit these explanations from your script)
    #SBATCH --mem=4g                memory
    #SBATCH --time=1:00:00          limit: hours:minutes:seconds, or days-hours:minutes:seconds
    #SBATCH --output=%x-%j.out      file for the output: %x is the job's name, %j its number

Slurm reads them **up to the first line that is a command**; any later ones are ordinary comments. The first line of the
script names the program that runs it. `sbatch job.sh` submits the script and prints the number of the job.

## Exercise 2: a job script

Correct the script: two cores, 2 GB of memory, ten minutes, output to `%x-%j.out`. It trains a DCGAN on the images of
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
# echo "start of the training"
# #SBATCH --cpus-per-task=16
# train.py -d "$DATA" -p Tea1 -m DCGAN --preset fast -e 20
# """
### END SOLUTION

# %%
def requests(script):
    """{option: value} of the requests in a job script, as Slurm reads them."""
    found = {}
    for line in script.splitlines():
        if line.strip() and not line.startswith("#"):
            break
        if match := re.match(r"#SBATCH\s+--([\w-]+)[= ](\S+)", line):
            found[match[1]] = match[2]
    return found


def seconds_of(limit):
    """Seconds of a time limit in Slurm's formats: minutes, m:s, h:m:s, d-h, d-h:m or d-h:m:s."""
    days, _, rest = limit.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if days:
        hours, minutes, seconds = (parts + [0, 0])[:3]
    else:
        hours, minutes, seconds = {1: [0, *parts, 0], 2: [0, *parts], 3: parts}[len(parts)]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds

# %% check
assert JOB.startswith("#!/bin/"), "the first line should name the program that runs the script: #!/bin/bash"
_asked = requests(JOB)
assert {"cpus-per-task", "mem", "time", "output"} <= _asked.keys(), \
    f"Slurm reads only these requests: {_asked}. Put all of them before the first command"
assert _asked["cpus-per-task"] == "2" and _asked["mem"].lower() in ("2g", "2gb", "2048m", "2048"), \
    f"ask for two cores and 2g of memory; you ask for {_asked}"
assert seconds_of(_asked["time"]) == 600, f"--time={_asked['time']} is {seconds_of(_asked['time'])} seconds, not 600"
assert _asked["output"] == "%x-%j.out", "the output should go to %x-%j.out"
(WORK / "job.sh").write_text(JOB)
_status, _output = shell("bash -n job.sh")
assert _status == 0, f"bash can't read the script: {_output}"
shutil.rmtree(WORK / "job", ignore_errors=True)
_status, _output = shell("bash ../job.sh", WORK / "job", SLURM_CPUS_PER_TASK="2")
assert _status == 0, f"the script fails here with status {_status}: {_output[-300:]}"
assert "running on 2 CPU core(s)" in _output or "GPU" in _output, "SLURM_CPUS_PER_TASK should reach train.py"
assert (WORK / "job" / "checkpoints" / "weights.generator.DCGAN.WGAN-GP.1.h5").exists(), \
    "the script should write checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5: use -m DCGAN, and no -a"
print("✓ exercise 2: the script is ready to submit")

# %%
(WORK / "job.sh").write_text(JOB)
on_cluster("sbatch --test-only job.sh")             # shows when it would start, and submits nothing

# %% [markdown]
r"""
## How long? The queue

How much time should you ask for? If it is too short, Slurm ends the job; if it is too long, the job waits longer. This
is because the scheduler fills gaps: a job may start before earlier ones if it does not delay them (*backfill*), and
only a job with a short *limit* fits into a gap. Here is a scheduler in six lines, for a machine with 16 cores. We give
it the same job, which really takes an hour, once with a limit of two hours and once with a limit of ten.

**Predict first.** Five jobs wait before yours. How much earlier will it start with the shorter limit?
"""

# %% figure queue
def schedule(jobs, cores=16, hours=60, step=0.5):
    """Start times (hours) of jobs (cores, limit in hours), each as early as possible without delaying earlier ones."""
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
        axes.barh(k, length, left=start, color=ORANGE if mine else "0.75")
        axes.text(start + length + 0.5, k, f"{wanted} cores", va="center", fontsize=8)
    axes.set(title=f"limit {limit} h: your job starts after {starts[-1]:g} h", xlabel="hours from now", xlim=(0, 36))
panels[0].set_yticks(range(6), [*(f"job {k + 1}" for k in range(5)), "yours"])
panels[0].invert_yaxis()
plt.show()

# %% [markdown]
r"""
So measure how long an iteration takes, and ask for that time plus some reserve. (Better still, ask for little time and
let the job resume, see below.)

## Exercise 3: a time limit

Round *up* to whole minutes, and write `days-hours:minutes:seconds`, such as `1-02:05:00`.
"""

# %% slide [markdown]
r"""
## Ask for what you need

![](queue.png)

The scheduler fills gaps. A job with a short limit fits into one.
"""

# %% exercise
# Exercise 3
def time_limit(iterations, per_second, reserve=1.2):
    """D-HH:MM:SS for `iterations` at a rate of `per_second`, times the reserve, rounded up to whole minutes."""
    ### BEGIN SOLUTION
    minutes = math.ceil(reserve * iterations / per_second / 60)
    return f"{minutes // 1440}-{minutes // 60 % 24:02}:{minutes % 60:02}:00"
    ### HANDOUT
    # return "0-00:00:00"         # your code instead of this line
    ### END SOLUTION

# %% check
_time_limit = checked(time_limit, kind=str)
assert re.fullmatch(r"\d+-\d\d:\d\d:\d\d", _time_limit(1000, 7.0)), f"write D-HH:MM:SS, not {_time_limit(1000, 7.0)}"
assert _time_limit(600, 10, reserve=1) == "0-00:01:00", f"one minute of work, not {_time_limit(600, 10, reserve=1)}"
assert _time_limit(601, 10, reserve=1) == "0-00:02:00", "slightly more than a minute: round up"
assert _time_limit(50000, 0.5) == "1-09:20:00", f"50,000 iterations of 2 s, plus 20 %, not {_time_limit(50000, 0.5)}"
for _iterations in (5000, 12345, 300000):
    _spare = seconds_of(_time_limit(_iterations, 3.0)) - 1.2 * _iterations / 3
    assert 0 <= _spare < 60, f"{_iterations} iterations: your limit is off by {_spare:.0f} seconds"
print("✓ exercise 3")

# %%
TRAIN = 'train.py -d "$DATA" -p Tea1 -m DCGAN --preset fast'
LOG = "checkpoints/log.DCGAN.WGAN-GP.1.csv"
WEIGHTS = "checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5"


def log_of(folder):
    """{name: array} of some columns of a run's log."""
    with open(WORK / folder / LOG) as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name]) for row in rows]) for name in ("iteration", "critic_loss", "seconds")}


shutil.rmtree(WORK / "uninterrupted", ignore_errors=True)
status, printed = shell(f"{TRAIN} -e 150", WORK / "uninterrupted")
uninterrupted = log_of("uninterrupted")
rate = 100 / (uninterrupted["seconds"][-1] - uninterrupted["seconds"][-101])
print(f"{rate:.0f} iterations per second on this machine: for 50,000 ask for --time={time_limit(50000, rate)}")

# %% [markdown]
r"""
## A job that survives its time limit

Before Slurm ends a job, it can send a **signal**: a number that the operating system delivers to a process, which may
have a function to handle it. With `#SBATCH --signal=B:USR1@180` the job's shell receives the signal `USR1` three
minutes before the limit. `train.py` handles `USR1` and `TERM` alike: it finishes the iteration, saves, and ends with
the **exit status** 75. (The exit status is a number that a process returns to whoever started it: 0 means *done*, 2
here means *a mistake in the options*, and 75, by an old convention, *try again later*.) With `--resume`, the next start
continues from the saved state.

So the rule for whoever starts it is: **as long as the status is 75, start it again.**

## Exercise 4: start it again

`start(number)` runs the training for the `number`th time (0, 1, …) and returns its status. Stop at any status other
than 75, and after `most` starts in total: a job that never finishes must not run for ever.
"""

# %% exercise
# Exercise 4
def until_done(start, most=20):
    """Call `start` until its status is not 75, at most `most` times; returns the list of all statuses."""
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
Now for real. The cell below starts a training run, interrupts it twice by sending `USR1` after some iterations, and
lets the third start finish. Above, we trained with the same seed without interruption.

**Predict first.** Are the final weights identical, nearly the same, or different?
"""

# %% figure interrupted
def start_and_stop(number, iterations=150, stops=(40, 90)):
    """Train in the folder `interrupted`; start number k < 2 receives USR1 when its log has stops[k] iterations."""
    process = subprocess.Popen(["bash", "-c", f"exec {TRAIN} -e {iterations} --resume"], cwd=WORK / "interrupted",
                               env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    log = WORK / "interrupted" / LOG
    clock = tqdm(bar_format=f"start {number}: {{elapsed}}", miniters=1, mininterval=1, leave=False)
    is_due = number < len(stops)
    while process.poll() is None:
        time.sleep(0.02)
        clock.update()
        if is_due and log.exists() and len(log.read_text().splitlines()) > stops[number]:
            process.send_signal(signal.SIGUSR1)
            is_due = False
    clock.close()
    printed = process.communicate(timeout=300)[0]
    messages = re.findall(r"resuming from .*?(?=,)|stopped by .*?(?=,)", printed)
    print(f"start {number}: status {process.returncode};", "; ".join(messages))
    return process.returncode


shutil.rmtree(WORK / "interrupted", ignore_errors=True)
(WORK / "interrupted").mkdir()
statuses = until_done(start_and_stop)
log = log_of("interrupted")
figure, axes = plt.subplots(figsize=(8, 2.8), layout="constrained")
axes.plot(uninterrupted["iteration"], uninterrupted["critic_loss"], color=BLUE, linewidth=4, alpha=0.4,
          label="never interrupted")
axes.plot(log["iteration"], log["critic_loss"], color=ORANGE, linewidth=1, label=f"{len(statuses)} starts: {statuses}")
axes.set(xlabel="iteration", ylabel="critic's loss")
axes.legend()
plt.show()

# %% check
_until_done = checked(until_done, kind=list)


def _pretend(*answers):
    _numbers = []
    return (lambda number: _numbers.append(number) or answers[number]), _numbers


_start, _numbers = _pretend(75, 75, 0, 0)
assert _until_done(_start) == [75, 75, 0] and _numbers == [0, 1, 2], "75, 75, 0: three starts, with the numbers 0, 1, 2"
_start, _ = _pretend(2, 0)
assert _until_done(_start) == [2], "2 is a mistake in the options: starting it again does not help"
assert _until_done(lambda number: 75, most=5) == [75] * 5, "always 75: stop after `most` starts"
assert statuses == [75, 75, 0], f"the training run should end with [75, 75, 0], not {statuses}"
_weights = [load_generator(WORK / folder / WEIGHTS).network.get_weights()
            for folder in ("uninterrupted", "interrupted")]
assert all(np.array_equal(a, b) for a, b in zip(*_weights)), "the weights differ"
print("✓ exercise 4: interrupted twice, and the weights are identical, bit for bit")

# %% slide [markdown]
r"""
## Interrupted twice, identical bit for bit

![](interrupted.png)

`--signal=B:USR1@180` · `train.py` saves and ends with 75 · the job goes back to the queue · `--resume`

So ask for little time, and let the job resume.
"""

# %% [markdown]
r"""
What makes this possible? The checkpoint contains the weights, the optimizers, the position in the data, and the numbers
that determine all random choices. And a new checkpoint is written beside the old one and then renamed, so that a
complete one exists at every moment.

## Exercise 5: pass the signal on

In a batch job the signal reaches the *shell* of the job script, not `train.py`. A shell without a handler for `USR1`
dies; a shell with a handler that waits for a command in the foreground runs the handler only after that command has
ended. The way out, in bash:

- `trap 'kill -USR1 "$child"' USR1` before anything else: the handler, which passes the signal on;
- start the command **in the background**, with `&`, and keep its process number: `child=$!`;
- `wait "$child"` waits for the command, but returns at once when a signal arrives. So `wait "$child"` again: its status
  (`$?`) is the status of the command. Pass it to `exit`.

`"$@"` stands for the words after the script's name. The check tries your script with a small program in the place of
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
assert shell("bash -n pass_on.sh")[0] == 0, f"bash can't read the script: {shell('bash -n pass_on.sh')[1]}"
for _wanted in (0, 3):
    assert shell(f"bash pass_on.sh bash -c 'exit {_wanted}'")[0] == _wanted, \
        f"when the command ends with {_wanted}, the script should end with {_wanted} too"
(WORK / "pretend.sh").write_text('stop() { echo saved; exit 75; }\ntrap stop USR1\necho ready\n'
                                 'for k in {1..100}; do sleep 0.1; done\n')
_process = subprocess.Popen(["bash", "pass_on.sh", "bash", "pretend.sh"], cwd=WORK, stdout=subprocess.PIPE, text=True,
                            start_new_session=True)
assert _process.stdout.readline() == "ready\n", "the script should start the command"
_process.send_signal(signal.SIGUSR1)
_status = None
with contextlib.suppress(subprocess.TimeoutExpired):
    _status = _process.wait(timeout=5)
with contextlib.suppress(ProcessLookupError):
    os.killpg(_process.pid, signal.SIGKILL)             # processes that the script has left behind
_output = _process.stdout.read()
assert _status is not None, "it still runs five seconds after the signal: start the command in the background"
assert _status != -signal.SIGUSR1, "the signal killed the shell: it needs a trap"
assert "saved" in _output, "the command did not receive the signal: kill -USR1 its process number"
assert _status == 75, f"the command ended with 75, but the script with {_status}: wait once more"
print("✓ exercise 5: this is the heart of hpc/train.sbatch")

# %% [markdown]
r"""
`hpc/train.sbatch` does this. It also copies the data to the node's own disk, and returns the job to the queue
(`scontrol requeue`) when the status is 75. Use it like this:

    sbatch --cpus-per-task=4 --time=1:00:00 $BG_HOME/hpc/train.sbatch train.py -d data -m DCGAN -e 50000

## A swarm

A single training run proves little: is method B better than A, or was its seed lucky? Ten seeds of each tell us more.
So we want many jobs that differ in one word. A **swarm** is a file with one command per line; each line becomes a job
(Slurm calls them a *job array*). On Biowulf, the cluster of the NIH, `swarm -f FILE` runs it; with any Slurm, our
`hpc/swarm-array -f FILE` does.

## Exercise 6: write the file

Write one line for each algorithm and each seed. All runs write files with the same names, so each needs **its own
folder**, `runs/<algorithm>.<seed>`, which the line creates and enters (`mkdir -p … && cd … && …`). With `--resume`, you
can submit an interrupted swarm again: finished runs report that they are done, and the others continue.
"""

# %% exercise
# Exercise 6
def swarm(algorithms, seeds, iterations):
    """Text of a swarm file with one line for each algorithm (-a) and seed (-s); the command begins with TRAIN."""
    ### BEGIN SOLUTION
    return "".join(f"mkdir -p runs/{name}.{seed} && cd runs/{name}.{seed} && "
                   f"{TRAIN} -a {name} -s {seed} -e {iterations} --resume\n"
                   for name, seed in itertools.product(algorithms, seeds))
    ### HANDOUT
    # return "".join(f"{TRAIN} -a {name} -s {seed} -e {iterations}\n"          # change this: all run in the same folder
    #                for name, seed in itertools.product(algorithms, seeds))
    ### END SOLUTION

# %% check
_swarm = checked(swarm, kind=str)
_text = _swarm(["GAN", "WGAN-GP"], [1, 2, 3], 7)
assert len(_text.splitlines()) == 6, f"two algorithms and three seeds need six lines, not {len(_text.splitlines())}"
_folder = WORK / "pretended"
shutil.rmtree(_folder, ignore_errors=True)
(_folder / "bin").mkdir(parents=True)
(_folder / "bin" / "train.py").write_text('#!/bin/bash\nprintf "%s\\t" "$PWD" "$@" >> "$CALLS"\necho >> "$CALLS"\n')
(_folder / "bin" / "train.py").chmod(0o755)
for _line in _text.splitlines() * 2:                    # twice, because a swarm may be submitted again
    _status, _output = shell(_line, _folder, PATH=f"{_folder}/bin:{os.environ['PATH']}", CALLS=f"{_folder}/calls")
    assert _status == 0, f"this line fails (perhaps only the second time) with {_output!r}: {_line}"
_calls = [_call.split("\t") for _call in (_folder / "calls").read_text().splitlines()]
assert {_call[0] for _call in _calls} == {f"{_folder}/runs/{_name}.{_seed}" for _name in ("GAN", "WGAN-GP")
                                          for _seed in (1, 2, 3)}, "each line should run in runs/<algorithm>.<seed>"
for _call in _calls:
    _name, _seed = _call[0].rpartition("/")[2].rsplit(".", 1)
    assert _call[_call.index("-a") + 1] == _name and _call[_call.index("-s") + 1] == _seed, \
        f"another algorithm or seed runs in {_call[0]}: {' '.join(_call[1:])}"
    assert "--resume" in _call and _call[_call.index("-e") + 1] == "7", "add --resume and -e with the iterations"
print("✓ exercise 6")

# %% figure sheet
shutil.rmtree(WORK / "swarm", ignore_errors=True)
(WORK / "swarm").mkdir()
(WORK / "swarm" / "seeds.swarm").write_text(swarm(["hinge", "WGAN-GP"], [1, 2], 120))
for line in (WORK / "swarm" / "seeds.swarm").read_text().splitlines():          # on a cluster they run at the same time
    shell(line, WORK / "swarm")
on_cluster("sbatch --test-only --array=0-3 --cpus-per-task=1 --mem=2g --time=10:00 $BG_HOME/hpc/train.sbatch")
status, printed = shell("biogans collect . --palette magenta-green", WORK / "swarm")
print(printed)
plt.figure(figsize=(12, 4))
plt.imshow(plt.imread(WORK / "swarm" / "runs.png"))
plt.axis("off")
plt.show()

# %% [markdown]
r"""
On a cluster, run `$BG_HOME/hpc/swarm-array -f seeds.swarm -t 1 -g 2 --time=10:00` (threads, gigabytes and limit of
*each* line), after `export DATA=${BG_DATA}_48-80/data`, because jobs inherit variables. `biogans collect` made a table
of the runs, and a sheet that shows cells of each run, generated from the same latent vectors. Both seeds agree about
the two algorithms: this is what seeds are for. But is the comparison fair? `--preset fast` was tuned for WGAN-GP.

## Many GPUs, many nodes: one training run

To speed up *one* training run, several **workers** (processes with one GPU or some cores each) share every batch. Each
worker computes the gradient of its part; then all gradients are averaged, and every worker takes the same step. Nothing
changes but the time.

## Exercise 7: average

The loss is a *mean* over the images of a batch. If the parts differ in size, the mean of their means is not the mean of
the batch.
"""

# %% exercise
# Exercise 7
def combined(gradients, sizes):
    """Gradient of a batch's mean loss, from the gradients of its parts' mean losses (arrays) and the parts' sizes."""
    ### BEGIN SOLUTION
    return sum(size * gradient for size, gradient in zip(sizes, gradients)) / sum(sizes)
    ### HANDOUT
    # return sum(gradients)       # your code instead of this line
    ### END SOLUTION

# %% check
_combined = checked(combined)
_r = np.random.default_rng(0)
_x, _y, _w = _r.standard_normal((12, 4)), _r.standard_normal(12), tf.Variable(_r.standard_normal(4))


def _gradient(part):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.nn.softplus(tf.linalg.matvec(_x[part], _w)) * _y[part])
    return tape.gradient(loss, _w).numpy()


for _cuts in ((0, 6, 12), (0, 4, 8, 12), (0, 1, 5, 12)):
    _parts = [slice(*_pair) for _pair in zip(_cuts, _cuts[1:])]
    _yours = _combined([_gradient(_part) for _part in _parts], [_part.stop - _part.start for _part in _parts])
    assert np.allclose(_yours, _gradient(slice(None))), \
        f"parts of {np.diff(_cuts)} images: this is not the gradient of the whole batch"
print("✓ exercise 7: several workers take the same step as one")

# %% [markdown]
r"""
Batch normalisation (a layer of the generator that subtracts the mean over the batch, notebook 2) needs care: it needs
the mean over the *whole* batch, so the workers add up their sums here too. Let us try it with two tasks on this
machine. They find each other through the variables that `srun` sets for each of its tasks. On a cluster,
`sbatch $BG_HOME/hpc/train-multinode.sbatch train.py …` does the same on two nodes.
"""

# %%
def tasks(number, iterations):
    """Train with `number` tasks, started as srun starts them; returns the output of the first one."""
    folder = WORK / f"tasks_{number}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    variables = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_STEP_ID": "0", "SLURM_STEP_NODELIST": "localhost",
               "SLURM_STEP_NUM_TASKS": str(number), "SLURM_CPUS_PER_TASK": "1"}
    command = ["timeout", "300", "bash", "-c", f"{TRAIN} -e {iterations}"]
    others = [subprocess.Popen(command, cwd=folder, env=ENVIRONMENT | variables | {"SLURM_PROCID": str(rank)},
                               stdout=subprocess.DEVNULL)
              for rank in range(1, number)]
    _, printed = run_process(command, folder, ENVIRONMENT | variables | {"SLURM_PROCID": "0"})
    for process in others:
        process.wait()
    return printed


tasks(1, 8)
print(*(line for line in tasks(2, 8).splitlines() if "tasks" in line or "core" in line), sep="\n")
one, two = (log_of(f"tasks_{number}")["critic_loss"] for number in (1, 2))
for k in range(8):
    print(f"iteration {k + 1}: critic's loss {one[k]:.4f}; relative difference with two tasks "
          f"{abs(two[k] / one[k] - 1):.0e}")

# %% [markdown]
r"""
At first the difference is due to rounding, in the seventh digit: the sums are computed in another order. Then it grows,
as even the smallest difference does in a game of two networks; both runs are equally correct. (On one device, sums are
always computed in the same order, so exercise 4 found identical bits.) Is it *faster*? Hardly: on the two
cores of `docs/scaling.md`, two workers with networks of this size passed 1.06 times as many images per second as one.
They wait for each other's messages. So let us calculate.

## Exercise 8: the cost of communication

In a **ring all-reduce**, $N$ workers form a circle. The $S$ bytes of gradients are cut into $N$ pieces. In $N - 1$
rounds, each worker sends a piece to its neighbour, who adds its own; in another $N - 1$ rounds, the sums travel around
the circle. With a bandwidth of $B$ bytes per second and a latency of $\ell$ seconds per message (the time that even an
empty message takes),

$$ t = \frac{2(N - 1)}{N} \frac{S}{B} + 2(N - 1)\, \ell $$

(Patarasuk & Yuan 2009). The first term hardly grows with $N$; the second one does. Then calculate the **speed-up**: the
images per second of $N$ workers, divided by those of one worker. Each worker has as many images per batch as a single
one had (so the whole batch grows), computes for $c$ seconds per iteration, and then communicates.
"""

# %% exercise
# Exercise 8
def exchange(size, workers, bandwidth, latency):
    """Seconds of a ring all-reduce of `size` bytes among `workers` workers."""
    ### BEGIN SOLUTION
    return 2 * (workers - 1) / workers * size / bandwidth + 2 * (workers - 1) * latency
    ### HANDOUT
    # return 0.0 * workers            # your code instead of this line
    ### END SOLUTION


def speed_up(computing, size, workers, bandwidth, latency):
    """Images per second of `workers` workers, relative to one worker, which does not communicate."""
    ### BEGIN SOLUTION
    return workers * computing / (computing + exchange(size, workers, bandwidth, latency))
    ### HANDOUT
    # return 0.0 * workers            # your code instead of this line
    ### END SOLUTION

# %% check
_exchange = checked(exchange, shape=())
_speed_up = checked(speed_up, shape=())
assert _exchange(1e8, 1, 1e9, 1e-3) == 0, "one worker does not communicate"
assert np.isclose(_exchange(1e8, 2, 1e9, 1e-3), 0.102), "100 MB, two workers, 1 GB/s, 1 ms: 0.1 s plus 2 messages"
assert np.isclose(_exchange(1e8, 1000, 1e9, 0), 0.1998), "the volume hardly depends on the number of workers"
assert np.isclose(_speed_up(0.1, 1e8, 2, 1e9, 0), 1), "two workers that communicate as long as they compute gain nothing"
assert np.isclose(_speed_up(1.0, 0, 8, 1e9, 0), 8), "eight workers without messages are eight times as fast"
print("✓ exercise 8")

# %% figure scaling
workers = 2 ** np.arange(10)
figure, axes = plt.subplots(figsize=(6.5, 3.8), layout="constrained")
axes.loglog(workers, workers, "k:", label="ideal")
for size, latency, label, style in ((376e6, 5e-6, "the paper's star: 376 MB of gradients per iteration", "o-"),
                                    (376e6, 1e-3, "the same over Ethernet: latency 1 ms", "s--")):
    axes.loglog(workers, [speed_up(0.088, size, n, 25e9, latency) for n in workers], style, label=label, color=(
        BLUE if style == "o-" else ORANGE))
axes.set(xlabel="GPUs", ylabel="images per second, relative to one GPU", title="calculated, not measured")
axes.legend(fontsize=8)
plt.show()
gpus = [f"{n} GPUs: {speed_up(0.088, 376e6, n, 25e9, 5e-6):.0f}" for n in (8, 64, 512)]
print("speed-up, 25 GB/s, 5 µs:", *gpus, sep="  ")

# %% slide [markdown]
r"""
## What many GPUs gain

$$ t = \frac{2(N - 1)}{N} \frac{S}{B} + 2(N - 1)\, \ell $$

![](scaling.png)

More images per second; whether fewer iterations suffice is another question. Patarasuk & Yuan 2009
"""

# %% [markdown]
r"""
BioGANs itself adds up in a simpler way: the first task receives all gradients and sends back their sums, which suits a
few nodes. `docs/scaling.md` measures it. Note what the speed-up counts: 512 GPUs show the networks 512 times as many images
per iteration. This does *not* mean that a 512th of the iterations suffices; for GANs that is usually wrong. For ten
seeds, a swarm wins, without any communication.
"""

# %% quiz [markdown]
r"""
## Quiz

Four questions about what you have seen, each with one right answer. Enter the letters in the cell below: it explains
every answer, right or wrong.

**Question 1.** A job script asks for memory with `#SBATCH --mem=16g` below the line `module load biogans`. How much does
the job get?

- **a)** The cluster's default.
  ✓ For Slurm the script's requests end at the first command, so this line is an ordinary comment. Nothing reports the
    mistake until the job runs out of memory.
- **b)** 16 GB.
  ✗ Slurm reads requests only up to the first command, and `module load` is a command. Move the request above it.
- **c)** None: `sbatch` refuses the script.
  ✗ The line is a valid comment of the shell, so nobody complains. The job simply does not get what the line asks for.

**Question 2.** `train.py` ends with the exit status 2. What should the job script do?

- **a)** Start it again with `--resume`.
  ✗ That is right for the status 75, which means that it was interrupted. 2 means a mistake in the options, which stays
    the same in every start.
- **b)** Start it again, but at most 20 times.
  ✗ A limit is a good idea for the status 75. A mistake in the options does not go away, so even one more start is
    wasted.
- **c)** End, and keep the message.
  ✓ 2 means a mistake in the options, and the message names it. Only a person can correct that.

**Question 3.** Your job really takes an hour. You ask for two hours in place of ten. What do you gain?

- **a)** It may start earlier.
  ✓ The scheduler fills gaps with jobs whose limit fits into them. The limit counts, because the scheduler can't know how
    long the job really takes.
- **b)** It computes faster.
  ✗ The limit changes nothing about the computation. It only decides where in the queue's plan the job fits.
- **c)** Nothing, if it takes an hour either way.
  ✗ The figure of the queue shows the same job with both limits: with the shorter one it fits into a gap.

**Question 4.** With 512 GPUs an iteration shows the networks 512 times as many images as with one. So a 512th of the
iterations suffices. True?

- **a)** True.
  ✗ More images make each step more exact, but not longer. How many steps are needed is another question, and for GANs
    usually nearly as many as before.
- **b)** False.
  ✓ The speed-up counts images and not progress. To learn whether fewer iterations suffice, one has to measure the
    quality, and for several seeds a swarm needs no communication at all.
"""

# %% [markdown]
r"""
## To discuss

1. Your training run takes 30 hours, and the cluster's short queue allows 4. Which is better: 48 hours in the long
   queue, or jobs of 4 hours that resume?
2. You ask for 32 cores, and the job is no faster than with 4. Who suffers, and how could you have known before?
3. Twenty seeds, or one training run on twenty GPUs: when do you choose which?
4. A job ended with `oom-kill` (out of memory) after nine hours. What is lost, and what do you change?

## Sources

- Yoo, Jette & Grondona (2003), *SLURM: simple Linux utility for resource management*,
  [doi:10.1007/10968987_3](https://doi.org/10.1007/10968987_3)
- Patarasuk & Yuan (2009), *Bandwidth optimal all-reduce algorithms for clusters of workstations*,
  [doi:10.1016/j.jpdc.2008.09.002](https://doi.org/10.1016/j.jpdc.2008.09.002)
- Lifka (1995), *The ANL/IBM SP scheduling system* (backfill),
  [doi:10.1007/3-540-60153-8_35](https://doi.org/10.1007/3-540-60153-8_35)
- In BioGANs: `docs/hpc.md`, `docs/durability.md`, `docs/scaling.md`
"""

# %% answer [markdown]
r"""
## For the instructor

**Timing** (50 minutes): cluster and exercise 1: 7; exercise 2: 8; exercise 3: 5; signals and exercise 4: 10; swarm and
exercise 6: 8; exercise 7 and the two tasks: 7; discussion: 5. Give exercises 5 and 8 to students who are ahead.

On a cluster, let students submit the script of exercise 2 (`sbatch job.sh` in `work_8`, in a terminal with the module
loaded and `export DATA=${BG_DATA}_48-80/data`) and watch `squeue --me`.

**Answers.** 1: usually the 4 hours: short jobs fill gaps, and each interruption costs only the time to save and start,
less than a minute. 2: the others in the queue, and yourself, because you wait until 32 cores are free. Try 1, 2, 4 and
8 cores for a minute each, and compare iterations per second. 3: twenty seeds when you compare methods or need an error
bar; twenty GPUs when one run is too long to wait for, and its networks are so large that computing takes much longer
than communication. 4: everything since the last checkpoint, ten minutes at most (`--save_minutes`). Ask for more memory
with `--mem` (`sacct -j NUMBER --format=MaxRSS` shows how much was used), or use a smaller batch, and submit the job
again with `--resume`.

**If something hangs:** the cell with two tasks needs this machine's network address `localhost`; it gives up after five
minutes.
"""

# %% slide [markdown]
r"""
## To discuss

1. 30 hours of training: 48 hours in the long queue, or jobs of 4 hours that resume?
2. 32 cores are no faster than 4. Who suffers?
3. Twenty seeds, or one training run on twenty GPUs?
4. `oom-kill` after nine hours: what is lost?
"""
