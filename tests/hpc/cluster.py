"""A real Slurm cluster of two nodes on this machine, in one folder, without systemd and cgroups, for the tests only."""

import contextlib
import os
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = Path(os.environ.get("BG_TEST_TOOLS", ROOT / ".hpc-tools"))
CPUS, MEMORY, GPUS = 4, 16000, 1         # of each node, as configured; the machine may have less
PARTITIONS = """
PartitionName=norm  Nodes=ALL Default=YES MaxTime=1-0 DefaultTime=10 State=UP PriorityTier=10
PartitionName=quick Nodes=ALL MaxTime=1-0 DefaultTime=10 State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=60
"""


def configuration(folder, port):
    """The text of slurm.conf."""
    settings = {
        "ClusterName": "test", "SlurmctldHost": "localhost(127.0.0.1)", "SlurmctldPort": port,
        "SlurmUser": "root", "SlurmdUser": "root",
        # cred_expire is also the time that a requeued job waits before it may restart; 120 s by default
        "AuthType": "auth/munge", "AuthInfo": f"socket={folder}/munge.socket,cred_expire=5",
        "StateSaveLocation": f"{folder}/state", "SlurmdSpoolDir": f"{folder}/spool.%n",
        "SlurmctldPidFile": f"{folder}/slurmctld.pid", "SlurmdPidFile": f"{folder}/slurmd.%n.pid",
        "ProctrackType": "proctrack/linuxproc", "TaskPlugin": "task/none", "MpiDefault": "none",
        "JobAcctGatherType": "jobacct_gather/none",
        "SelectType": "select/cons_tres", "SelectTypeParameters": "CR_Core_Memory", "DefMemPerCPU": 256,
        "SlurmdParameters": "config_overrides", "ReturnToService": 2, "KillWait": 5, "MinJobAge": 900,
        "PreemptType": "preempt/partition_prio", "PreemptMode": "REQUEUE",
        "SchedulerParameters": "sched_interval=2,bf_interval=5,batch_sched_delay=0", "GresTypes": "gpu",
    }
    nodes = (f"NodeName=n[1-2] NodeHostname=localhost NodeAddr=127.0.0.1 Port=[{port + 1}-{port + 2}] CPUs={CPUS} "
             f"RealMemory={MEMORY} Gres=gpu:fake:{GPUS} State=UNKNOWN")
    return "\n".join(f"{key}={value}" for key, value in settings.items()) + f"\n{nodes}{PARTITIONS}"


@contextlib.contextmanager
def slurm(folder, port, limits_memory=False):
    """Start the cluster in `folder` and yield the environment in which sbatch, squeue, … talk to it.

    limits_memory   kill jobs that take more memory than they requested, with the kernel's control groups
    """
    folder.mkdir()
    (folder / "state").mkdir()
    text = configuration(folder, port)
    if limits_memory:
        text = text.replace("task/none", "task/cgroup")
        (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupAutomount=no\nConstrainRAMSpace=yes\n")
    (folder / "slurm.conf").write_text(text)
    gpus = [folder / f"nvidia{k}" for k in range(GPUS)]
    for gpu in gpus:
        gpu.symlink_to("/dev/null")     # Slurm wants a character device
    (folder / "gres.conf").write_text("".join(f"NodeName=n[1-2] Name=gpu Type=fake File={gpu}\n" for gpu in gpus))
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o600)
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith(("SLURM_", "SBATCH_", "TF_NUM"))}
    environment |= {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    commands = [["munged", "--foreground", "--force", f"--key-file={folder}/munge.key",
                 f"--socket={folder}/munge.socket", f"--pid-file={folder}/munge.pid",
                 f"--seed-file={folder}/munge.seed"],
                ["slurmctld", "-D", "-c"], ["slurmd", "-D", "-N", "n1"], ["slurmd", "-D", "-N", "n2"]]
    daemons = []
    try:
        for command in commands:
            with open(folder / f"{command[0]}-{len(daemons)}.log", "w") as log:
                daemons.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log,
                                                stdin=subprocess.DEVNULL))
            wait_for(lambda: Path(folder, "munge.socket").exists(), 10, lambda: logs(folder))
        wait_for(lambda: idle(environment) == {"n1", "n2"}, 30, lambda: logs(folder))
        yield environment
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            try:
                daemon.wait(timeout=30)
            except subprocess.TimeoutExpired:       # it waits for jobs that a failed test left behind
                daemon.kill()


def idle(environment):
    """Names of the idle nodes."""
    listed = subprocess.run(["sinfo", "-h", "-N", "-p", "norm", "-t", "idle", "-o", "%N"], env=environment,
                            capture_output=True, text=True)
    return set(listed.stdout.split())


def logs(folder):
    """The end of each daemon's log."""
    return "\n".join(f"{log.name}: {log.read_text()[-500:]}" for log in sorted(folder.glob("*.log")))


def wait_for(condition, seconds, explanation):
    """Wait until `condition()` is true; fail with `explanation()` after so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s in vain: {explanation()}")
        time.sleep(0.2)


class Job:
    """A submitted job and its log, by default the log of train.sbatch."""

    def __init__(self, environment, folder, *command, log="biogans-{}.out"):
        self.environment, self.folder = environment, folder
        self.number = self.run(*command).stdout.strip().split(";")[0]
        self.path = folder / log.format(self.number)

    def run(self, *command):
        """Run a Slurm command in the job's folder."""
        result = subprocess.run(list(map(str, command)), cwd=self.folder, env=self.environment, capture_output=True,
                                text=True)
        assert result.returncode == 0, result.stderr
        return result

    @property
    def log(self):
        return self.path.read_text() if self.path.exists() else ""

    @property
    def state(self):
        return self.run("squeue", "-h", "-t", "all", "-j", self.number, "-o", "%T").stdout.strip()

    @property
    def reason(self):
        return self.run("squeue", "-h", "-t", "all", "-j", self.number, "-o", "%T (%r)").stdout.strip()

    def wait_for_log(self, text, seconds=240):
        wait_for(lambda: text in self.log, seconds, lambda: f"{text!r} in the log, job {self.reason}:\n{self.log}")

    def wait(self, seconds=240):
        """Wait until the job has ended; returns its state."""
        ended = {"COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "PREEMPTED", "NODE_FAIL", "OUT_OF_MEMORY", "DEADLINE"}
        wait_for(lambda: set(self.state.split()) <= ended, seconds, lambda: f"the end, job {self.reason}:\n{self.log}")
        return self.state


def need(tool):
    """Skip the test if test-tools.sh could not download the tool. Any other problem with it is a failure."""
    failed = TOOLS / f"{tool}.failed"
    if failed.exists():
        pytest.skip(f"{tool} could not be downloaded: {failed.read_text().strip()}")


def show(*lines):
    """Print what a test observed, indented."""
    print("    " + "\n    ".join(str(line).rstrip().replace("\n", "\n    ") for line in lines), flush=True)
