"""docs/troubleshooting.md: its commands, typed, print what it shows, and the messages in its tables are in the code."""

import ast
import contextlib
import doctest
import io
import os
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from biogans import commands
from biogans.core import train
from biogans.system import files, launch
from conftest import ROOT, TEST_MODULES
from quick_training import quick_training

PAGE = (ROOT / "docs/troubleshooting.md").read_text()
SECTIONS = {text.partition("\n")[0]: text for text in re.split("^## ", PAGE, flags=re.MULTILINE)[1:]}
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
# The first line of BioGANs, the number of bash's line, and the progress that a slow machine shows.
VARYING = re.compile(r"^biogans \S+, sources in .*\n|(?<=^bash: )line \d+: "
                     r"|^.*: [\d,]+ of [\d,]+ \w+ in .*\n|^.* so far\n", re.MULTILINE)
WITHOUT_BIOGANS = "without_biogans"
HOLD = """import sys
from biogans.system import files
lock = files.Lock(sys.argv[1])
print(lock.take(), flush=True)
sys.stdin.read()
"""


def examples(text):
    """(command, output) in the console blocks of a text."""
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for example in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = example.partition("\n")
            yield command, output


def quoted(text):
    """The messages in the first column of the tables of a text."""
    return [message for cell in re.findall(r"^\| ([^|]*) \|", text, re.MULTILINE)
            for message in re.findall(r"`([^`]+)`", cell)]


def write_noise(folder, number, shape):
    """PNG files of noise, in a folder of one class."""
    (folder / "Tea1").mkdir(parents=True, exist_ok=True)
    for k in range(number):
        pixels = np.random.default_rng(k).integers(0, 255, shape, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "Tea1" / f"wide{k or ''}.png")


def damage(path, *copies):
    """Change some bytes of a file, or of its copies."""
    for copy in copies or [path]:
        shutil.copy(path, copy)
        with open(copy, "r+b") as file:
            file.seek(5000)
            file.write(b"damage")


@pytest.fixture(scope="module")
def mistaken(tmp_path_factory):
    """The folder of the page's user: sample data, a DCGAN of Tea1, broken folders and files, and a running job."""
    folder = tmp_path_factory.mktemp("mistaken")
    shutil.copytree(ROOT / "data_48-80", folder, dirs_exist_ok=True)
    with contextlib.chdir(folder), quick_training():
        for more in (["-e", "1", "-p", "Tea1", "--preset", "fast"], ["-e", "2", "-w"]):
            assert train.main(["-d", "data", "-m", "DCGAN", *more]) == 0
    shutil.copytree(folder / "checkpoints", folder / "truncated")
    os.truncate(folder / "truncated/weights.combined_model.DCGAN.WGAN-GP.1.h5", 50000)
    damage(folder / "checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5", folder / "damaged.h5")
    (folder / "netG_iter_50000.pth").touch()
    (folder / "empty").mkdir()
    for name, number, shape in (("mixed", 1, (48, 64, 3)), ("odd", 4, (50, 50, 3)), ("large", 4, (64, 64, 3)),
                                ("gray", 4, (48, 80)), ("damaged", 0, ())):
        write_noise(folder / name, number, shape)
    for name in ("mixed", "damaged"):
        shutil.copy(folder / "data/LIN_Normalized_WT_size-48-80_train/Tea1/cell100005.png", folder / name / "Tea1")
    os.truncate(folder / "damaged/Tea1/cell100005.png", 100)
    for name in ("copy", "incomplete", "broken"):
        shutil.copytree(ROOT / "src/biogans/core", folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "incomplete/models.py").unlink()
    (folder / "broken/models.py").write_text("def broken(:\n")
    (folder / "busy").mkdir()
    with subprocess.Popen([sys.executable, "-c", HOLD, folder / "busy/.lock.DCGAN.WGAN-GP.1"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, env=os.environ | TEST_MODULES) as job:
        assert job.stdout.readline() == b"True\n"
        yield folder
        job.communicate()


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """A PATH without BioGANs, with a Python that has no libraries."""
    folder = tmp_path_factory.mktemp(WITHOUT_BIOGANS)
    (folder / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} -B -E -s -S "$@"\n')
    (folder / "python3").chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


def answer(command, path):
    """What a command prints, without VARYING: typed in bash, unless it is BioGANs's own alone.

    Such a command runs in this process, which has imported TensorFlow already.
    """
    words = shlex.split(command)
    name, arguments = (words[0].removesuffix(".py"), words[1:]) if words[0] != "biogans" else (words[1], words[2:])
    if name not in commands.COMMANDS or WITHOUT_BIOGANS in path:
        return typed_in_bash(command, path)
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as printed:
        patch.setattr(sys, "argv", words)
        with contextlib.redirect_stderr(printed), contextlib.suppress(SystemExit):
            launch.run(commands.load(name).main, arguments)
    return VARYING.sub("", printed.getvalue())


def typed_in_bash(command, path):
    """What a command prints in bash, without VARYING."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("BG_", "DISPLAY"))}
    done = subprocess.run(["bash", "--norc", "-c", command], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=120, env=environment | {"PATH": path})
    return VARYING.sub("", done.stdout)


@pytest.mark.parametrize("heading", [heading for heading, text in SECTIONS.items() if "```console" in text])
def test_commands_print_what_the_page_shows(heading, mistaken, elsewhere, monkeypatch):
    monkeypatch.chdir(mistaken)
    path = elsewhere if heading == "BioGANs is not found" else f"{ROOT}/bin:{os.environ['PATH']}"
    same, different = doctest.OutputChecker().check_output, []
    for command, expected in examples(SECTIONS[heading]):
        printed = answer(command, path)
        if not same(expected, printed, FLAGS):
            different.append(f"$ {command}\n{printed}and the page has\n{expected}")
    assert not different, "\n".join(different)


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """All texts of the sources that a message can be part of, and a message that is made of several."""
    with pytest.raises(files.NoRoom) as problem:
        files.check_room(tmp_path_factory.mktemp("disk") / "weights.h5", 2 ** 60)
    return [str(problem.value), *texts_of_the_sources()]


def texts_of_the_sources():
    """The texts of modules, with \\0 in place of values, and the lines of scripts."""
    for path in (ROOT / "src/biogans").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield re.sub(r"\{\w*\}", "\0", node.value)
    for path in [*(ROOT / "hpc").glob("*.sbatch"), ROOT / "modulefiles/biogans/1.0.0"]:
        yield from path.read_text().splitlines()


def unknown(messages, texts):
    """The messages that neither the texts nor the operating system can be the source of; … stands for values."""
    system = {os.strerror(number) for number in range(1, 134)}
    patterns = {message: ".*".join(map(re.escape, message.split("…"))) for message in messages}
    return [message for message, pattern in patterns.items()
            if message not in system and not any(re.search(pattern, text, re.DOTALL) for text in texts)]


def test_the_messages_in_tables_are_in_the_code(texts):
    messages = quoted(PAGE)
    assert len(messages) > 20 and all(len(message.replace("…", "")) > 8 for message in messages)
    assert not unknown(messages, texts)


def test_a_message_that_no_code_prints_is_found(texts):
    assert not unknown(["… is not on PATH: module load biogans, then sbatch", "No space left on device"], texts)
    planted = ["… is not on PATH: module unload biogans", "the disk is fuller than full"]
    assert unknown(planted, texts) == planted
