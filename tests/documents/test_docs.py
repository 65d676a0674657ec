"""The documentation: commands, links, paths, claims about files, blocks that run, and the site."""

import argparse
import collections
import contextlib
import functools
import html
import importlib.util
import itertools
import json
import os
import re
import shlex
import subprocess
import sys
import unicodedata
from pathlib import Path

import h5py
import pytest

from biogans import commands
from biogans.core import predict, train
from biogans.latent import toy
from conftest import ROOT, SMALL, train_small_networks
from quick_training import quick_training
from test_course import build as course, lines_of_solutions

SOURCES = course.SOURCES
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "course").glob("*.md"),
                *(ROOT / "docs").glob("*.md")])
WITHOUT_MISTAKES = [page for page in PAGES if page.name != "troubleshooting.md"]    # for test_troubleshooting.py
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


def with_values(text):
    """A block of a shell with the values of the variables that it sets."""
    values = dict(re.findall(r"""^(\w+)=["'](.*)["']$""", text, re.MULTILINE))
    return re.sub(r"\$(\w+)", lambda name: values.get(name[1], name[0]), text)


def lines(page):
    """(line of a shell, whether it is complete) of blocks, indented lines and code within the text."""
    text = page.read_text()
    for match in BLOCK.finditer(text):
        if match["language"] not in ("python", "text"):
            for line in with_values(match["text"]).splitlines():
                yield re.split(r"   +", line.strip().removeprefix("$ "))[0], True
    text = BLOCK.sub("", text)
    for line in re.findall(r"^    (\S.*)$", text, re.MULTILINE):
        yield re.split(r"   +", line)[0], True
    for code in re.findall(r"`([^`]+)`", text):
        yield code, False


def simple_commands(line):
    """[[word, …], …] of the commands in a line of a shell."""
    words, commands = shlex.shlex(line, posix=True, punctuation_chars=";&|<>()"), [[]]
    words.whitespace_split = True
    for word in words:
        if set(word) <= set(";&|<>()"):
            commands.append([])
        else:
            commands[-1].append(word)
    return commands


class Refused(Exception):
    """The message of a parser that refuses a command line."""


def parse(name, arguments):
    """Parse the arguments of a command. Raises Refused if its parser does not accept them."""
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
    """Check the commands of a line, and return how many they are. Raises Refused for one that would fail."""
    try:
        found = simple_commands(line)
    except ValueError:              # no line of a shell, but output with a quotation mark
        return 0
    count = 0
    for words in found:
        names = [os.path.basename(word) for word in words]
        name, first, rest = command_of(names)
        if rest and words[rest:] and (first == 0 or names[0] in BEFORE or "=" in names[0]):
            try:
                parse(name, words[rest:])
            except (Refused, argparse.ArgumentError) as refusal:
                if whole or not re.search("required|expected (at least )?one argument", str(refusal)):
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


@pytest.mark.parametrize("page", WITHOUT_MISTAKES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_parsers_accept_the_commands_of_a_page(page):
    refusals = []
    for line, whole in lines(page):
        try:
            checked(line, whole)
        except Refused as refusal:
            refusals.append(str(refusal))
    assert not refusals, "\n".join(refusals)


def test_commands_are_found_and_wrong_ones_refused():
    """The check above finds planted mistakes."""
    assert sum(checked(*line) for page in WITHOUT_MISTAKES for line in lines(page)) > 150
    assert checked("srun -n 2 train.py -d data | tee log; predict.py -i FILE -n 3", True) == 2
    for wrong in ("train.py -d data --no-such", "cd x && train.py -d data -a GAAN", "predict.py -n 3",
                  "biogans evalaute -d data"):
        with pytest.raises(Refused):
            checked(wrong, True)
    assert checked("predict.py -n 3", False) == 1
    with pytest.raises(AssertionError):
        checked("make coffee", True)


@pages_with("python")
def test_the_python_of_a_page_is_python(page):
    for text in blocks(page, "python"):
        compile(text, page.name, "exec")


# ------------------------------------------------------------------------------------------ claims of the pages

def anchors(page):
    """The anchors of a page's headings, if the forge and the site agree on them."""
    headings = [re.sub(r"[`*]|!?\[|\]\([^)]*\)", "", heading)
                for heading in re.findall(r"^#+ +(.*)$", BLOCK.sub("", page.read_text()), re.MULTILINE)]
    forge = [re.sub(r"[^\w\s-]", "", heading.lower()).replace(" ", "-") for heading in headings]
    latin = [unicodedata.normalize("NFKD", heading).encode("ascii", "ignore").decode() for heading in headings]
    site = [re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip()) for heading in latin]
    return {*numbered(forge, "-")} & {*numbered(site, "_")}


def numbered(names, separator):
    """The names; repeated ones end with a number, from 1 on."""
    seen = collections.Counter()
    for name in names:
        yield f"{name}{separator}{seen[name]}" if seen[name] else name
        seen[name] += 1


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: str(page.relative_to(ROOT)))
def test_the_links_of_a_page_have_targets(page):
    """Every relative link points to a file or folder, and its anchor to a heading."""
    text, broken = re.sub(r"`[^`\n]*`", "", BLOCK.sub("", page.read_text())), []
    for target in re.findall(r"\]\(([^)\s]+)", text):
        path, _, anchor = target.partition("#")
        goal = page.parent / path if path else page
        if not re.match(r"\w+:", target) and (not goal.exists() or anchor and anchor not in anchors(goal)):
            broken.append(target)
    assert not broken, ", ".join(broken)


def test_anchors_are_those_of_headings(tmp_path):
    """Only those on which a forge and the site agree."""
    page = tmp_path / "page.md"
    page.write_text("# A `b.py`: c, [d](e.md)\n```\n# no heading\n```\n## Twice\n## Twice\n## Fréchet\n## e & f\n")
    assert anchors(page) == {"a-bpy-c-d", "twice"}      # the site differs from a forge in twice-1, fréchet and e--f


def test_one_page_says_how_to_prepare_a_folder():
    assert [page for page in PAGES if "mktemp" in page.read_text()] == [ROOT / "README.md"]


def test_the_times_are_those_of_the_cards():
    """Every row of docs/times.md has a time, and those of the included models are the times on their cards."""
    text = (ROOT / "docs/times.md").read_text()
    rows = [row.strip("|").split("|") for row in re.findall(r"^\| (?!---).*\|$", text, re.MULTILINE)]
    assert len(rows) > 35 and all(re.search(r"\d|hour|minute|time", "".join(row)) for row in rows)
    times = dict(re.findall(r"\]\(\.\./([^)]*/card[^)]*)\) \| [^|]* \| ([^|]*) \|", text))
    assert times == {str(path.relative_to(ROOT)): re.search(r"training time \| (.*?) \(", path.read_text())[1]
                     for path in (ROOT / "data_48-80/checkpoints").rglob("card.*.md")}


def test_the_index_lists_every_page():
    index = (ROOT / "docs/README.md").read_text()
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert not [page for page in pages if f"]({page})" not in index]


@each_page
def test_the_paths_on_a_page_exist(page):
    """Those in code, such as `tests/core/test_gan.py`, or `core/gan.py` for a module in a room."""
    rooms = [path.name for path in (ROOT / "src/biogans").iterdir() if path.is_dir()]
    missing = []
    for code in re.findall(r"`([\w.-]+/[\w./*-]+)`", BLOCK.sub("", page.read_text())):
        first = code.partition("/")[0]
        if first in rooms and code.endswith(".py"):
            missing += [] if any((ROOT / "src/biogans").glob(code)) else [code]
        elif first in FOLDERS:
            missing += [] if any(ROOT.glob(code.rstrip("/"))) else [code]
    assert not missing, ", ".join(missing)


FOLDERS = ("bin", "src", "tests", "benchmarks", "course", "docs", "hpc", "data_48-80", "modulefiles")


def test_copies_of_the_sources_are_complete():
    """All pages have `cp $BG_SRC/* .`, because a copy of some of the files does not run."""
    copies = [copy.strip() for page in PAGES
              for copy in re.findall(r"\bcp [^\n`;&#]*BG_SRC[^\n`;&#]*", page.read_text())]
    assert len(copies) >= 3 and {*copies} == {"cp $BG_SRC/* ."}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A user's folder with all kinds of files that trainings of a star, of a DCGAN and of an InfoGAN write."""
    folder = tmp_path_factory.mktemp("written")
    train_small_networks(folder, ("DCGAN",))
    with contextlib.chdir(folder), quick_training():
        for model in (["-m", "DCGAN-starshaped", "--keep_every", "2"], ["-m", "InfoGAN", "-a", "GAN", "-z", "20"]):
            assert train.main([*SMALL, "-d", "data", *model, "-e", "2"]) == 0
        assert train.main([*SMALL, "-d", "data", "-m", "DCGAN-starshaped", "--keep_every", "2", "-e", "3", "-w"]) == 0
    return folder


@pytest.fixture
def in_written(written, monkeypatch):
    monkeypatch.chdir(written)


def section(page, heading):
    """The text of a page below a heading, up to the next one of its level or above."""
    level, text = heading.split()[0], (ROOT / page).read_text()
    return re.split(rf"^#{{1,{len(level)}}} ", text.split(f"{heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def test_the_page_lists_exactly_the_weights_that_a_training_writes(in_written):
    """In its names … and digits stand for parts that depend on the run."""
    listed = re.findall(r"`((?:weights|model)\.[^`\s]+)`", section("docs/formats.md", "## Weights"))
    files = [path.name for path in Path("checkpoints").glob("*.h5")]
    kinds = {re.sub(r"\.(DCGAN|InfoGAN).*", "", name) for name in files}
    assert kinds == {name for name in listed if "…" not in name}
    endings = [re.sub(r"\d+", r"\\d+", re.escape(name).replace("…", ".+")) for name in listed if "…" in name]
    assert len(endings) == 2
    for ending in endings:
        assert any(re.fullmatch(ending, name) for name in files), ending


def test_the_page_lists_exactly_the_logs_that_a_training_writes(in_written):
    names = re.findall(r"`checkpoints/([^`\s]+)`", section("docs/formats.md", "## Logs and results"))
    for name in names:
        assert any(Path("checkpoints").glob(name.replace("<run>", "*").rstrip("/"))), name
    others = [path.name for path in Path("checkpoints").iterdir() if path.suffix != ".h5" and path.name[0] != "."]
    assert {re.split("[./]", name)[0] for name in others} == {re.split("[./]", name)[0] for name in names}


def test_the_page_lists_all_datasets_and_attributes(in_written):
    """Those of a stack, and those attributes of a weights file that are not Keras's."""
    def first_column(text):
        cells = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
        return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}

    weights = "checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5"
    predict.main(["-i", weights, "-s", "1"])
    datasets, attributes = map(first_column, section("docs/formats.md", "## Stacks").split("The attributes of"))
    with h5py.File("images/stack2.DCGAN.WGAN-GP.h5") as file:
        assert {*file} == datasets
        assert {*file["stack"].attrs} | {"pixel_size_um"} == attributes        # which these images don't have
    with h5py.File(weights) as file:
        assert {"biogans", "sha256"} == first_column(section("docs/formats.md", "## Weights")) & {*file.attrs}


def test_the_page_lists_the_files_of_data_folders(in_written):
    """For each command that creates such a folder: the files in the page's table that it writes, and no others."""
    rows = re.findall(r"^\| (`[^|]*) \| ([^|]*) \|", section("docs/formats.md", "## Data folders"), re.MULTILINE)
    makers = {file.strip("`"): re.findall(r"`([^`]+)`", by) for file, by in rows}
    made = {
        "simulate": ["-o", "simulate", "--train", "12", "--test", "6", "--joint", "1"],
        "simulate_videos": ["-o", "simulate_videos", "-n", "2", "--frames", "4", "--size", "128"],
        "preprocess": ["-i", "simulate_videos/videos", "-o", "preprocess"],
        "get_data round": ["-o", "get_data", "-n", "30"]}
    for command, arguments in made.items():
        name, *what = command.split()
        assert commands.load(name).main([*what, *arguments]) == 0
        assert {file for file in makers if any(Path(name).rglob(file))} == {
            file for file, by in makers.items() if f"biogans {command}" in by}, command
    commands.load("predict").main(["-i", "checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5", "--format", "png"])
    assert {path.name for path in Path("images/stack2.DCGAN.WGAN-GP").iterdir() if path.is_file()} == {
        file for file, by in makers.items() if "predict.py --format png" in by}


def test_pages_name_the_measure_that_predict_prints(in_written, capsys):
    """A paragraph about `predict.py -e`, with a table and a remark in brackets below it, names no other measure."""
    predict.main(["-i", "checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5", "-e", "-d", "data"])
    measures, printed = ("two-sample", "wasserstein", "fréchet", "kernel distance"), capsys.readouterr().out.lower()
    assert [name for name in measures if name in printed] == ["two-sample"]
    found = 0
    for page in PAGES:
        paragraphs = re.split(r"\n\n+", page.read_text())
        for k, paragraph in enumerate(paragraphs):
            if re.search(r"predict\.py[^`\n]* -e\b", paragraph):
                below = itertools.takewhile(lambda text: text.startswith(("|", "(")), paragraphs[k + 1:])
                whole = "\n".join([paragraph, *below]).lower()
                named = [name for name in measures if name in whole]
                assert not named or "two-sample" in named, f"{page.name}: {paragraph}"
                found += 1
    assert found > 3


def test_no_command_works_in_a_folder_that_others_can_prepare():
    """A fixed name in /tmp may hold links of another user, through which root would overwrite files."""
    scripts = [ROOT / "Makefile", ROOT / "singularity.def", *(ROOT / "hpc").rglob("*"),
               *(ROOT / "course/sources").glob("*.py"), *(ROOT / "bin").iterdir()]
    assert not [path for path in (*PAGES, *scripts) if path.is_file() and re.search(r"/tmp\b", path.read_text())]


# ---------------------------------------------------------------------------------------------- make test-docs

@pytest.mark.docs
@pages_with("sh", but=("README.md",))                   # which test_readme.py runs
def test_the_commands_of_a_page(page, tmp_path):
    """All its sh blocks, in order, in one shell, with fewer iterations and images.

    In the folder that the README prepares, if the page refers to it; otherwise in an empty one.
    """
    prepare = f"export PATH={ROOT}/bin:$PATH; cd {tmp_path}"
    if "README.md#a-folder-to-work-in" in page.read_text():
        prepare = blocks(ROOT / "README.md", "sh")[0]
    script = "\n".join([prepare, *blocks(page, "sh")])
    for pattern, replacement in SHORTER:
        script = re.sub(pattern, replacement, script)
    environment = {name: value for name, value in os.environ.items() if "DISPLAY" not in name}
    result = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=ROOT, capture_output=True,
                            text=True, env=environment | {"TMPDIR": str(tmp_path)})
    assert result.returncode == 0 and result.stderr == "", result.stdout + result.stderr
    print(result.stdout)


@pytest.fixture(scope="module")
def used(tmp_path_factory):
    """A folder in which a DCGAN was trained and generated cells."""
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


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A function that builds the site of an edition, and returns its folder."""
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("no MkDocs: make test-docs installs it")

    def built(edition):
        folder = tmp_path_factory.mktemp(edition)
        done = subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder], cwd=ROOT,
                              capture_output=True, text=True, env=os.environ | {"EDITION": edition})
        assert done.returncode == 0, done.stdout + done.stderr
        return folder
    return functools.cache(built)


def shown(path):
    """The text of a file of a site, as a reader sees it."""
    if path.suffix == ".ipynb":
        return "\n".join("".join(cell["source"]) for cell in json.loads(path.read_text())["cells"])
    text = path.read_text() if path.suffix in (".html", ".md", ".py", ".json") else ""
    return html.unescape(re.sub("<[^>]*>", "", text) if path.suffix == ".html" else text)


@pytest.mark.docs
def test_solutions_are_in_one_folder_of_the_site_for_instructors(site):
    lines = {line for source in SOURCES for line in lines_of_solutions(source)}
    for edition, expected in (("student", set()), ("instructor", {"course/solutions", "files/course/solutions"})):
        folder = site(edition)
        files = {path for path in folder.rglob("*") if path.name != "search_index.json" or edition == "student"}
        solved = {path for path in files if any(line in shown(path) for line in lines)}
        assert {str(path.parent.relative_to(folder)) for path in solved} == expected
    for name in (source.stem for source in SOURCES):
        for edition in ("student", "instructor"):
            page = (site(edition) / f"course/{name}.html").read_text()
            assert f'href="{name}_slides.html"' in page and f'files/course/{name}.ipynb"' in page
            assert (f'href="solutions/{name}.html"' in page) == (edition == "instructor")


@pytest.mark.docs
def test_an_unknown_edition_is_refused():
    done = subprocess.run([sys.executable, "-m", "mkdocs", "build"], cwd=ROOT, capture_output=True, text=True,
                          env=os.environ | {"EDITION": "teacher"})
    assert done.returncode and "EDITION=teacher: it is one of student, instructor" in done.stderr


@pytest.mark.docs
@pytest.mark.parametrize("edition", ["student", "instructor"])
def test_the_site_is_whole(edition, site):
    """All pages are in the navigation, links have targets, every command has a page, and formulas are MathML."""
    tmp_path = site(edition)
    assert {f"{name}.html" for name in commands.COMMANDS} == {path.name for path in (tmp_path / "commands").iterdir()}
    reference = (tmp_path / "commands/train.html").read_text()
    assert all(f"--{option}" in reference for option in ("gan_algorithm", "num_D_iters", "wgangp_lambda"))
    algorithms = (tmp_path / "algorithms.html").read_text()
    assert algorithms.count("<math") > 20 and r"\lambda" not in algorithms
    assert 'href="toy_page.html"' in (tmp_path / "toy.html").read_text()
    assert (tmp_path / "toy_page.html").read_bytes() == toy.toy_page()
    found = 0
    for page in {*tmp_path.rglob("*.html")} - {tmp_path / "404.html"}:      # with addresses from the server's root on
        for address in re.findall(r'(?:href|src)="([^"#?]+)', page.read_text()):
            assert address.startswith(("https://", "data:")) or (page.parent / address).exists(), f"{page}: {address}"
            found += 1
    assert found > 1000
