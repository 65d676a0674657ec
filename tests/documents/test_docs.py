"""The pages: every command on them is one that its parser takes; sh and python blocks run; the site is whole."""

import argparse
import importlib.util
import os
import re
import shlex
import subprocess
import sys

import pytest

from biogans import commands
from conftest import ROOT, train_small_networks

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "course").glob("*.md"),
                *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^ *```(?P<language>\w*)\n(?P<text>.*?)^ *```", re.DOTALL | re.MULTILINE)
SHORTER = ((r"-n 12 --frames 20", "-n 6 --frames 12 --size 192"), (r"-e \d+", "-e 2"), (r"-M \d+", ""),
           (r"-n \d{3,}", "-n 60"), (r"--iterations \d+", "--iterations 2"), (r"--frames 8", "--frames 2"))
BEFORE = ("do", "srun", "sbatch", "python", "python3", "apptainer", "swarm-array", "echo")     # a command, on its line

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def blocks(page, language):
    return [match["text"] for match in BLOCK.finditer(page.read_text()) if match["language"] == language]


def pages_with(language, but=()):
    """For parametrize: the pages with blocks of this language."""
    found = [page for page in PAGES if blocks(page, language) and page.name not in but]
    return pytest.mark.parametrize("page", found, ids=lambda page: page.stem)


def lines(page):
    """(line of a shell, whether it is whole), of blocks, of indented lines and of code within the text."""
    text = page.read_text()
    for match in BLOCK.finditer(text):
        if match["language"] not in ("python", "text"):
            values = dict(re.findall(r"""^(\w+)=["'](.*)["']$""", match["text"], re.MULTILINE))
            for line in re.sub(r"\$(\w+)", lambda name: values.get(name[1], name[0]), match["text"]).splitlines():
                yield re.split(r"   +", line.strip().removeprefix("$ "))[0], True
    text = BLOCK.sub("", text)
    for line in re.findall(r"^    (\S.*)$", text, re.MULTILINE):
        yield re.split(r"   +", line)[0], True
    for code in re.findall(r"`([^`]+)`", text):
        yield code, False


def simple_commands(line):
    """[[word, …], …] of the commands of a line of a shell."""
    words, commands = shlex.shlex(line, posix=True, punctuation_chars=";&|<>()"), [[]]
    words.whitespace_split = True
    for word in words:
        if set(word) <= set(";&|<>()"):
            commands.append([])
        else:
            commands[-1].append(word)
    return commands


class Refused(Exception):
    """What a parser says."""


def parse(name, arguments):
    """Raises Refused unless the command's own parser takes the arguments."""
    if name not in commands.COMMANDS:
        raise Refused(f"no command {name}")
    parser = commands.load(name).parser()
    parser.error = lambda message: (_ for _ in ()).throw(Refused(message))
    try:
        parser.parse_args(["1" if word in ("N", "$k") else word for word in arguments if word != "…"])
    except SystemExit as end:       # of -h
        assert end.code == 0


def command_of(names):
    """(command, position of its program, position of its arguments) in a command's words; (None, 0, 0) without one."""
    for k, name in enumerate(names):
        if name in CORE:
            return name.removesuffix(".py"), k, k + 1
        if name == "biogans" and re.fullmatch("[a-z_]+", "".join(names[k + 1:k + 2])) and names[k + 1] != "complete":
            return names[k + 1], k, k + 2
    return None, 0, 0


def checked(line, whole):
    """How many commands of the line were checked. Raises Refused for one that could not be typed so."""
    try:
        commands = simple_commands(line)
    except ValueError:              # no line of a shell: a quotation mark in what a program prints
        return 0
    count = 0
    for words in commands:
        names = [os.path.basename(word) for word in words]
        name, first, rest = command_of(names)
        if rest and words[rest:] and (first == 0 or names[0] in BEFORE or "=" in names[0]):
            try:
                parse(name, words[rest:])
            except (Refused, argparse.ArgumentError) as refusal:
                if whole or not re.search("required|expected one argument", str(refusal)):
                    raise Refused(f"{line}: {refusal}") from None
            count += 1
        for word in words:
            if word.startswith("benchmarks/") and word.endswith(".py"):
                assert (ROOT / word).is_file(), line
        if names and names[0] == "make":
            for target in (word for word in words[1:] if re.fullmatch(r"[a-z][a-z-]*", word)):
                assert re.search(rf"^([\w-]+ )*{target}( [\w-]+)*:", MAKEFILE, re.MULTILINE), f"{line}: no such target"
                count += 1
    return count


MAKEFILE = (ROOT / "Makefile").read_text()
CORE = [f"{name}.py" for name in commands.GROUPS["train and generate"]]


@each_page
def test_the_parsers_take_the_commands_of_a_page(page):
    refusals = []
    for line, whole in lines(page):
        try:
            checked(line, whole)
        except Refused as refusal:
            refusals.append(str(refusal))
    assert not refusals, "\n".join(refusals)


def test_commands_are_found_and_wrong_ones_refused():
    """The check above is worth something."""
    assert sum(checked(*line) for page in PAGES for line in lines(page)) > 150
    assert checked("srun -n 2 train.py -d data | tee log; predict.py -i FILE -n 3", True) == 2
    for wrong in ("train.py -d data --no-such", "cd x && train.py -d data -a GAAN", "predict.py -n 3", "biogans evalaute -d data"):
        with pytest.raises(Refused):
            checked(wrong, True)
    assert checked("predict.py -n 3", False) == 1
    with pytest.raises(AssertionError):
        checked("make coffee", True)


@pages_with("python")
def test_the_python_of_a_page_is_python(page):
    for text in blocks(page, "python"):
        compile(text, page.name, "exec")


def test_the_pages_beside_the_readme_name_files_that_exist():
    for page in (ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"):
        for target in re.findall(r"\]\(([^)#\s]+)", BLOCK.sub("", page.read_text())):
            assert re.match(r"https?://", target) or (page.parent / target).exists(), f"{page.name}: {target}"


# ---------------------------------------------------------------------------------------------- make test-docs

@pytest.mark.docs
@pages_with("sh", but=("README.md",))                   # which test_readme.py types
def test_the_commands_of_a_page(page, tmp_path):
    """All its sh blocks, in order, in one shell, with fewer iterations and images."""
    script = "\n".join(blocks(page, "sh"))
    for pattern, replacement in SHORTER:
        script = re.sub(pattern, replacement, script)
    folder = f"/tmp/biogans-{page.stem}"
    setup = "" if folder in script else f"export PATH={ROOT}/bin:$PATH; cd {tmp_path}\n"
    environment = {name: value for name, value in os.environ.items() if "DISPLAY" not in name}
    result = subprocess.run(["bash", "-euo", "pipefail", "-c", setup + script.replace(folder, str(tmp_path / "own"))],
                            cwd=ROOT, capture_output=True, text=True, env=environment)
    assert result.returncode == 0 and result.stderr == "", result.stdout + result.stderr
    print(result.stdout)


@pytest.fixture(scope="module")
def used(tmp_path_factory):
    """A folder in which a DCGAN was trained and has drawn."""
    from biogans.core import predict
    folder = tmp_path_factory.mktemp("used")
    train_small_networks(folder, architectures=("DCGAN",))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert predict.main(["-i", "checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5", "-n", "2"]) == 0
    return folder


@pytest.mark.docs
@pages_with("python")
def test_the_python_of_a_page_runs(page, used):
    """All its python blocks, in order."""
    done = subprocess.run([sys.executable, "-c", "\n".join(blocks(page, "python"))], cwd=used, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.docs
def test_the_site_is_whole(tmp_path):
    """No page outside of the navigation, no link that leads nowhere; every command has its page; formulas are drawn."""
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("no MkDocs: make test-docs installs it")
    done = subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path], cwd=ROOT,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {f"{name}.html" for name in commands.COMMANDS} == {path.name for path in (tmp_path / "commands").iterdir()}
    train = (tmp_path / "commands/train.html").read_text()
    assert all(f"--{option}" in train for option in ("gan_algorithm", "num_D_iters", "wgangp_lambda"))
    algorithms = (tmp_path / "algorithms.html").read_text()
    assert algorithms.count("<math") > 20 and r"\lambda" not in algorithms
    found = 0
    for page in {*tmp_path.rglob("*.html")} - {tmp_path / "404.html"}:      # whose addresses begin at a server's root
        for address in re.findall(r'(?:href|src)="([^"#?]+)', page.read_text()):
            assert address.startswith(("https://", "data:")) or (page.parent / address).exists(), f"{page}: {address}"
            found += 1
    assert found > 1000
