#!/usr/bin/env python3
"""Time the commands of a guide, one after another, in a new folder with the sample data, as its readers run them.

    python benchmarks/guide.py docs/tutorial.md

Prints a Markdown table of the commands in the blocks of the kind «sh», with the time of the clock for each. A command
that fails ends the run.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))
from biogans.system import arguments, launch
from biogans.system.errors import InputError


def commands(text):
    """The commands in the blocks of the kind «sh» of a Markdown text, each on one line."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [" ".join(line.split()) for block in blocks for line in block.replace("\\\n", " ").splitlines()
            if line.strip() and not line.startswith("#")]


def measure(options):
    """Print the table row by row. Raises InputError if the guide has no commands, or if one fails."""
    lines = commands(options.guide.read_text())
    if not lines:
        raise InputError(f"{options.guide}: no block of the kind «sh»: give a guide with commands")
    environment = os.environ | {"PATH": f"{ROOT / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["cp", "-r", *(ROOT / "data_48-80").iterdir(), folder], check=True)
        print("| command | time |\n|---|---|")
        total = 0.0
        for line in lines:
            start = time.monotonic()
            result = subprocess.run(["bash", "-c", line], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                                    capture_output=True, text=True)
            if result.returncode:
                raise InputError(f"{line}: failed: {result.stderr[-1000:].strip()}")
            seconds = time.monotonic() - start
            total += seconds
            print(f"| `{line}` | {seconds:.0f} s |", flush=True)
        print(f"| all | {total / 60:.1f} minutes |")


def parser():
    result = arguments.Parser(prog="guide.py", description=__doc__.splitlines()[0])
    result.add_argument("guide", type=Path, metavar="GUIDE.md", help="a page with commands in blocks of the kind «sh»")
    return result


def main(arguments=None):
    return launch.run(measure, parser().parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
