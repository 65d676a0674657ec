"""docs/hpc.md: its commands, typed in order in one shell of a user on the cluster, print what the page shows."""

import doctest
import re
import subprocess

from .cluster import ROOT, need, show, wait_for

INIT = "/usr/share/modules/init/bash"
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def examples():
    """(command, output) in the page's console blocks, except for the container's, which has tests of its own."""
    text = (ROOT / "docs/hpc.md").read_text()
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for example in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = example.partition("\n")
            if "apptainer" not in command:
                yield command, output


def comparable(text):
    """The text without what differs between runs: numbers, the installation's path, notes on short trainings and waits.
    """
    text = text.replace(str(ROOT), "/apps/biogans/1.0.0").replace("far (over 1000)", "1000")
    text = re.sub("^(note: it has been trained for .*|.* so far)\n", "", text, flags=re.MULTILINE)
    return re.sub(r"-?\d+(\.\d+)?(e[-+]?\d+)?", "N", text)


class Shell:
    """One bash that reads the commands typed into it."""

    def __init__(self, folder, environment):
        self.process = subprocess.Popen(["bash", "--norc", "--noprofile"], cwd=folder, env=environment, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def type(self, command):
        self.process.stdin.write(f"{{ {command}; }} < /dev/null\necho \"== $?\"\n")
        self.process.stdin.flush()
        output = []
        while not (line := self.process.stdout.readline()).startswith("== "):
            assert line, "the shell has ended:\n" + "".join(output)
            output.append(line)
        return "".join(output), int(line.split()[1])

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)


def test_the_page(cluster, tmp_path):
    need("environment-modules")
    environment = {name: value for name, value in cluster.items() if not name.startswith("BG_")}
    environment["PATH"] = environment["PATH"].replace(f"{ROOT}/bin:", "")
    (tmp_path / "work").mkdir()
    shell, same = Shell(tmp_path / "work", environment), doctest.OutputChecker().check_output
    different = []
    try:
        shell.type(f". {INIT}; module use {ROOT}/modulefiles")
        for command, expected in examples():
            if command == "cat seeds.swarm":
                (tmp_path / "work/seeds.swarm").write_text(expected)
            output, status = shell.type(re.sub(r"-e \d+", "-e 30", command))
            show(f"$ {command}", output)
            if command.startswith(("sbatch", "$BG_HOME/hpc/swarm-array")):
                wait_for(lambda: not subprocess.run(["squeue", "-h"], env=cluster, capture_output=True).stdout, 240,
                         lambda output=output: output)
            if status or not same(comparable(expected), comparable(output), FLAGS):
                different.append(f"$ {command}\n{output}    with status {status}, and the page has\n{expected}")
    finally:
        shell.close()
    assert not different, "\n".join(different)
