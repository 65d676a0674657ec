"""The notebooks of the course match their sources, their solutions pass, and unsolved exercises fail."""

import ast
import base64
import contextlib
import html
import importlib.util
import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from PIL import Image

from biogans.system import quiz
from conftest import ROOT

COURSE = ROOT / "course"
SECONDS = 300               # CPU time allowed for a notebook

_spec = importlib.util.spec_from_file_location("build", COURSE / "build.py")
build = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(build)

each_source = pytest.mark.parametrize("source", build.SOURCES, ids=lambda source: source.stem)
SOURCE = '''# %% [markdown]
r"""
# Title with $x_1$
"""

# %% slide [markdown]
r"""
# Title

$$ x_1 $$

![](curve.png)
"""

# %% exercise
def double(x):
    ### BEGIN SOLUTION
    return 2 * x
    ### HANDOUT
    # return x    # your code
    ### END SOLUTION

# %% check
assert double(2) == 4, "twice 2 is 4"

# %% answer [markdown]
r"""
It is four.
"""

# %% figure curve
print("curve")
'''


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "9_example.py"
    path.write_text(SOURCE)
    return path


def run(cells):
    """Execute the code cells; returns the kinds of those whose assertions fail."""
    names, failed = {}, []
    for cell in cells:
        try:
            exec("" if cell.is_text else cell.content, names)
        except AssertionError:
            failed.append(cell.kind)
    return failed


def test_students_get_the_exercise_and_instructors_the_solution(source):
    cells = build.read(source)
    assert run(build.with_solutions(cells)) == []
    assert run(build.for_students(cells)) == ["check"]
    handed_out = build.notebook(build.for_students(cells))
    assert "2 * x" not in handed_out and "It is four" not in handed_out and "###" not in handed_out
    assert "It is four" in build.notebook(build.with_solutions(cells))


def test_a_source_runs_as_python_with_its_solutions(source):
    names = {}
    exec(source.read_text(), names)
    assert names["double"](2) == 4


def test_an_unknown_kind_of_cell_is_reported_with_its_line(tmp_path):
    path = tmp_path / "wrong.py"
    path.write_text("# %%\nx = 1\n# %% exercize\n")
    with pytest.raises(ValueError, match=r"wrong.py:3: .*exercize"):
        build.read(path)


def test_figures_keep_rare_colours(tmp_path):
    """Of 256 colours, some must go to thin frames in red on a picture of many greys and greens."""
    shades = np.random.default_rng(0).integers(0, 256, (200, 300, 3)) * (1, 1, 0)
    shades[:, 150:] = shades[:, 150:, :1]
    red = (255, 77, 51)
    shades[50, 20:40] = shades[120, 200:220] = red
    Image.fromarray(shades.astype("uint8")).save(tmp_path / "whole.png")
    build.write_small(tmp_path / "small.png", (tmp_path / "whole.png").read_bytes())
    small = np.asarray(Image.open(tmp_path / "small.png").convert("RGB")).astype(int)
    assert np.abs(small[50, 20:40] - red).max() < 32 and np.abs(small[120, 200:220] - red).max() < 32


@pytest.mark.parametrize("source", [*build.SOURCES, build.FORM], ids=lambda source: source.stem)
def test_notebooks_match_their_source(source):
    """`python course/build.py` writes them, and the answers to their quizzes."""
    for path, text in (build.notebooks(source) | build.quizzes(source)).items():
        assert path.read_text() == text, f"{path} does not match {source}: run python course/build.py"


@pytest.mark.parametrize("path", sorted(COURSE.rglob("*.ipynb")), ids=lambda path: str(path.relative_to(COURSE)))
def test_notebooks_have_no_outputs_and_valid_code(path):
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
            ast.parse("".join(cell["source"]))


@each_source
def test_every_exercise_has_a_handout_and_a_check_with_hints(source):
    cells = build.read(source)
    code = [cell for cell in cells if not cell.is_text]
    exercises = [cell for cell in code if cell.kind == "exercise"]
    checks = [cell for cell in code if cell.kind == "check"]
    assert len(exercises) == len(checks) >= 4
    for exercise in exercises:
        assert build.SOLUTION.search(exercise.content), exercise.content
    for check in checks:
        asserts = [node for node in ast.walk(ast.parse(check.content)) if isinstance(node, ast.Assert)]
        assert asserts and all(node.msg for node in asserts), f"an assertion without a hint: {check.content}"


@each_source
@pytest.mark.parametrize("folder, cells_of", [(build.DOCUMENTS, build.for_students),
                                              (build.SOLUTIONS, build.with_solutions)])
def test_the_document_matches_its_source(source, folder, cells_of):
    """`make course` writes it."""
    text = without_links((folder / f"{source.stem}.md").read_text())
    for cell in (cell for cell in cells_of(build.read(source)) if cell.kind != "install"):
        content = build.linked(cell.content, folder).rstrip()
        assert content in text, f"missing from the document, run make course: {content}"


def without_links(text):
    """The text of a document without the paragraph below its title."""
    title, _, rest = text.split("\n\n", 2)
    assert "[slides](" in _
    return f"{title}\n\n{rest}"


def lines_of_solutions(source):
    """The lines of code and answers that students must not see: those that stand nowhere else in the source."""
    cells = build.read(source)
    others = "\n".join(build.handed_out(cell) for cell in cells if cell.kind != "answer")
    hidden = [match["solution"] for cell in cells for match in build.SOLUTION.finditer(cell.content)]
    hidden += [cell.content for cell in cells if cell.kind == "answer"]
    hidden += [match[0] for cell in cells for match in build.EXPLANATION.finditer(cell.content) if cell.kind == "quiz"]
    lines = {line.strip() for text in hidden for line in text.splitlines()}
    return {line for line in lines if len(line) > 14 and line not in others}


def test_diagrams_are_shown_in_notebooks_and_on_pages():
    """Notebooks hold a copy, pages link to docs, and the file is there."""
    source = build.COURSE / "sources/5_true.py"
    shown = build.DIAGRAM.findall(source.read_text())
    assert shown and all((build.DIAGRAMS / name).is_file() for name in shown)
    notebook = json.loads(build.notebooks(source)[build.COURSE / "5_true.ipynb"])
    cell = next(cell for cell in notebook["cells"] if "attachments" in cell)
    assert f"](attachment:{shown[0]})" in "".join(cell["source"])
    assert base64.b64decode(cell["attachments"][shown[0]]["image/png"]) == (build.DIAGRAMS / shown[0]).read_bytes()
    for folder in (build.DOCUMENTS, build.SOLUTIONS):
        link = build.linked(f"]({shown[0]})", folder).strip("]()")
        assert (folder / link).resolve() == build.DIAGRAMS / shown[0]
    slides = (build.DOCUMENTS / "5_true.html").read_text()
    assert f'src="../{shown[0]}"' in slides


@each_source
def test_solutions_stand_in_one_folder(source):
    """No notebook, page or slide for students has a line of a solution or of an answer."""
    def text(path):
        cells = json.loads(path.read_text())["cells"] if path.suffix == ".ipynb" else ()
        return "\n".join("".join(cell["source"]) for cell in cells) or html.unescape(path.read_text())

    lines, name = lines_of_solutions(source), source.stem
    assert len(lines) > 10
    for path in (COURSE / f"{name}.ipynb", build.DOCUMENTS / f"{name}.md", build.DOCUMENTS / f"{name}.html"):
        found = [line for line in lines if line in text(path)]
        assert not found, f"{path}: {found}"
    for path in (build.SOLUTIONS / f"{name}.ipynb", build.SOLUTIONS / f"{name}.md"):
        assert all(line in text(path) for line in lines), path


def test_documents_show_outputs_and_hide_solutions(source):
    """The example, executed: both documents have the output, and links to the notebook and slides."""
    def cell(kind, outputs=()):
        return SimpleNamespace(cell_type=kind, outputs=outputs, metadata={"name": "curve"})

    printed = {"output_type": "stream", "name": "stdout", "text": "a curve of 9"}
    outputs = [SimpleNamespace(**printed, get=printed.get)]
    run = SimpleNamespace(cells=[cell("markdown"), cell("code"), cell("code"), cell("markdown"), cell("code", outputs)])
    handed_out, solved = build.documents(source, run).items()
    assert handed_out[0] == build.DOCUMENTS / "9_example.md" and solved[0] == build.SOLUTIONS / "9_example.md"
    assert "return x" in handed_out[1] and "2 * x" not in handed_out[1] and "It is four" not in handed_out[1]
    assert "2 * x" in solved[1] and "It is four" in solved[1]
    for text, notebook in ((handed_out[1], "(../../course/9_example.ipynb)"), (solved[1], "(9_example.ipynb)")):
        assert "```text\na curve of 9\n```" in text and notebook in text and "9_example.html)" in text
        assert text.startswith("# Title with $x_1$\n\n[Notebook")


@pytest.mark.course
def test_times_of_cells_are_those_of_the_clock_under_their_headings(tmp_path):
    text = build.notebook([build.Cell("", "", True, "# Title\n\n## Wait\n"),
                           build.Cell("", "", False, "import time\ntime.sleep(1)")])
    (seconds, heading), = build.times_of_cells(build.execute(text, tmp_path))
    assert 1 <= seconds < 5 and heading == "Wait"
    row = build.row_of_times(COURSE / "sources/4_cells.py", [(4.2, "A"), (61.4, "B"), (12, "C")])
    assert row == "| [4](course/4_cells.md) | 1.3 minutes | B: 61 s; C: 12 s |\n"


def test_the_table_of_times_has_all_notebooks_and_is_replaced():
    page = build.TIMES.read_text()
    rows = page.partition(build.BEGIN)[2].partition(build.END)[0].splitlines()[2:]
    assert [row.split("](course/")[1].split(".md")[0] for row in rows] == [source.stem for source in build.SOURCES]
    changed = build.with_rows(page, ["| a |\n"])
    assert "| a |" in changed and rows[0] not in changed
    assert build.with_rows(changed, [f"{row}\n" for row in rows]) == page


@each_source
def test_slides_show_figures_of_the_notebook(source):
    cells = build.read(source)
    available = {path.name for path in (build.DOCUMENTS / source.stem).glob("*.png")}
    assert figures_of(build.DOCUMENTS / source.stem) == {cell.name for cell in cells if cell.kind == "figure"}
    shown = re.findall(r"!\[\]\((.+?)\)", "".join(cell.content for cell in cells if cell.kind == "slide"))
    assert shown and set(shown) <= available


def figures_of(folder):
    """Names of the figures in a folder, without the numbers of several figures of one cell."""
    return {re.sub(r"_\d$", "", path.stem) for path in folder.glob("*.png")}


def test_links_on_the_pages_of_the_course_lead_to_files():
    pages = [*COURSE.rglob("*.md"), *build.DOCUMENTS.glob("*.md"), *build.DOCUMENTS.glob("*.html")]
    assert len(pages) >= 3 + 3 * len(build.SOURCES)
    for page in pages:
        text = re.sub("```.*?```", "", page.read_text(), flags=re.DOTALL)
        for target in re.findall(r'\]\(([^)#]+)|(?:src|href)="([^"]+)"', text):
            target = "".join(target)
            assert target.startswith("https://") or (page.parent / target).exists(), f"{page}: {target}"


def test_the_points_of_a_project_add_up():
    text = (COURSE / "RUBRIC.md").read_text()
    points = [int(number) for number in re.findall(r"^\| \*\*.+?\*\* \| (\d+) \|", text, re.M)]
    assert len(points) >= 6 and f"{sum(points)} points." in text


def definitions(code):
    """The imports, functions, classes and constants of a cell, without what it computes or draws."""
    kept = [node for node in ast.parse(code).body
            if isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef))
            or isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id.isupper()]
    return ast.unparse(ast.Module(kept, []))


def exercise_of(notebook, number):
    """(definitions of the notebook with solutions up to an exercise, code of the exercise, code of its check)."""
    source = next(path for path in build.SOURCES if path.stem.startswith(str(notebook)))
    code = [cell for cell in build.with_solutions(build.read(source)) if not cell.is_text]
    place = next(k for k, cell in enumerate(code) if cell.content.startswith(f"# Exercise {number}\n"))
    after = next(k for k, cell in enumerate(code) if k > place and cell.kind == "check")
    return [definitions(cell.content) for cell in code[:after]], code[place].content, code[after].content


# What a check needs of the cells that are not executed here.
SETUP = {(2, 5): "discriminator = images = None", (4, 2): "z = np.zeros((24, 100))",
         (4, 4): "images = dataloader.load(DATA)", (6, 7): "rows = np.eye(2)"}


def hint_for(notebook, number, answer=""):
    """The hint of a check for an answer, Python code that replaces part of the solution; None if it passes."""
    before, _, check = exercise_of(notebook, number)
    names = {}
    for code in (*before, SETUP.get((notebook, number), ""), answer):
        exec(code, names)
    try:
        exec(check, names)
    except AssertionError as error:
        return str(error)
    return None


GENERATOR_LOSS = "def generator_loss(fake_scores): "
VARIETY = "def variety(green): "
SIMILAR = "def most_similar(red, reds): "
BEST = "def best_discriminator(x): "
DISCRIMINATOR = "real = {} * normal(x, -2, {}) + {} * normal(x, 2, {}); return real / (real + normal(x, 0, 1))"
MODES = "def modes_covered(samples): d = np.linalg.norm(samples[:, None] - CENTRES, axis=2); "
PURITY = """def agreement(labels, kinds):
    return sum(np.bincount(labels[kinds == k]).max() for k in np.unique(kinds)) / len(labels)"""
STAMP = """def transposed_convolution(x, kernel, stride):
    n, m = len(x), len(kernel)
    y = np.zeros((stride * (n - 1) + m,) * 2)
    for i in range(n):
        for j in range(n):
            y[stride * i:stride * i + m, stride * j:stride * j + m] += {}
    return y"""
GENERATOR = """def build_generator():
    size, biased = {2}, {3}
    return keras.Sequential([
        keras.Input((LATENT,)), keras.layers.Dense(2 * 2 * 64, use_bias=biased), keras.layers.Reshape((2, 2, 64)),
        keras.layers.BatchNormalization(), keras.layers.Activation("{1}"),
        keras.layers.Conv2DTranspose(32, size, strides=2, padding="same", use_bias=biased),
        keras.layers.BatchNormalization(), keras.layers.Activation("{1}"),
        keras.layers.Conv2DTranspose(1, size, strides=2, padding="same"), keras.layers.Activation("{0}")])"""
WALK = """def walk(a, b, steps):
    t, angle = np.linspace(0, 1, steps)[:, None], {}
    return (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / ({})"""
PENALTY = """def gradient_penalty(critic, real, fake, alpha):
    points = alpha * real + (1 - alpha) * fake
    with tf.GradientTape() as tape:
        {}
        scores = critic(points)
    slope = tf.norm(tape.gradient(scores, points), axis=1)
    return tf.reduce_mean((slope - 1) ** 2)"""
GRID = """def possible_range(a, b):
    c = np.linspace(-1, 1, 20001)
    c = c[1 + 2 * a * b * c - a ** 2 - b ** 2 - c ** 2 >= 0]
    return c.min(), c.max()"""


@pytest.mark.parametrize("notebook, exercise, answer, hint", [
    (1, 1, "def probability(score): 1 / (1 + np.exp(-score))", "return"),
    (1, 1, "import math\ndef probability(score): return 1 / (1 + math.exp(-score))", "np.exp"),
    (1, 2, GENERATOR_LOSS + "ops.mean(ops.softplus(-fake_scores))", "return"),
    (1, 2, GENERATOR_LOSS + "return ops.sum(ops.softplus(-fake_scores))", "mean.*not a sum"),
    (1, 2, GENERATOR_LOSS + "return np.logaddexp(0, -fake_scores).mean()", "`ops`.*gradients"),
    (1, 2, "import math\n" + GENERATOR_LOSS + "return ops.mean(math.log(1 + math.exp(-fake_scores)))", "np.exp"),
    (1, 3, BEST + DISCRIMINATOR.format(0.5, 0.4, 0.5, 0.4), "40 %.*60 %"),
    (1, 3, BEST + DISCRIMINATOR.format(0.6, 0.4, 0.4, 0.4), "40 %.*60 %"),
    (1, 3, BEST + DISCRIMINATOR.format(0.4, 0.5, 0.6, 0.5), "deviation of 0.4"),
    (1, 5, MODES + "return int(((d < 0.5).mean(axis=0) >= 0.02).sum())", "limit is 0.3"),
    (1, 5, MODES + "return int(((d < 0.3).mean(axis=0) >= 0.05).sum())", "limit is 2 %"),
    (1, 2, GENERATOR_LOSS + "return ops.mean(ops.softplus(fake_scores))", "log 2 for a score of 0, and near 0"),
    (1, 2, GENERATOR_LOSS + "return -ops.mean(ops.softplus(fake_scores))", "log 2 for a score of 0, and near 0"),
    (1, 2, GENERATOR_LOSS + "return ops.mean(ops.softplus(-fake_scores.numpy()))", "no gradient.*generator_loss"),
    (1, 3, BEST + "real = 0.4 * normal(x, -2, 0.4) + 0.6 * normal(x, 2, 0.4); return normal(x, 0, 1) / "
     "(real + normal(x, 0, 1))", "numerator"),
    (1, 5, MODES + "near = (d < 0.3).mean(axis=0); return int((near / max(near.sum(), 1e-9) >= 0.02).sum())",
     "all samples"),
    (2, 1, STAMP.format("x[i, j] * kernel[::-1]"), "print the kernel once"),
    (2, 1, STAMP.format("x[j, i] * kernel"), "row 0, column 2"),
    (2, 2, "GOOD_SIZE = 2", "3, 4 and 5, not 2"),
    (2, 2, "GOOD_SIZE = '4'", "3, 4 and 5, not '4'"),
    (2, 2, "def stamps(size, stride, count): return size // stride", "shape .*not one number"),
    (2, 3, "def batch_normalisation(h, gamma, beta, epsilon=1e-5):\n    return gamma * (h - h.mean(axis=0)) / "
     "(h.std(axis=0) + epsilon) + beta", r"axis=\(0, 1, 2\)"),
    (2, 4, GENERATOR.format("sigmoid", "relu", 4, False), "tanh"),
    (2, 4, GENERATOR.format("tanh", "linear", 4, False), "ReLU"),
    (2, 4, GENERATOR.format("tanh", "relu", 3, False), "23,201.*37,761"),
    (2, 4, GENERATOR.format("tanh", "relu", 4, True), "38,049.*37,761"),
    (2, 6, WALK.format("np.arccos(a @ b)", "np.sin(angle)"), "first should be a"),
    (2, 6, WALK.format("np.pi / 2", "np.sin(angle)"), "length 4"),
    (2, 6, WALK.format("np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))", "1"), "first should be a"),
    (3, 1, "def jensen_shannon(p, q): return 2 * np.log(2) * (p.argmax() != q.argmax())", "yours: 1.386"),
    (3, 3, "def clip(weights, c): return [np.clip(weights[0], -c, c)]", r"\[-3\] become \[-0.1\]"),
    (3, 4, PENALTY.format("pass"), "tape watch the points"),
    (3, 6, "def critic_loss(real_scores, fake_scores, penalty, lam): return tf.reduce_mean(real_scores) - "
     "tf.reduce_mean(fake_scores) + lam * penalty", "L_C should be 2"),
    (3, 6, "def generator_loss(fake_scores): return np.mean(fake_scores)", "TensorFlow's functions"),
    (4, 1, "def to_rgb(cells): colours = (cells + 1) / 2", "return"),
    (4, 3, VARIETY + "return np.sqrt(green.var(axis=1).mean() / green.var())", "each pixel"),
    (4, 3, VARIETY + "return green.std(axis=1).mean() / green.reshape(-1, *green.shape[2:]).std(axis=0).mean()",
     "not standard deviations"),
    (4, 4, SIMILAR + "return int(np.abs(reds.astype(float) - red).sum(axis=(1, 2)).argmin())", "square"),
    (4, 4, SIMILAR + "return int(((reds - red) ** 2).sum(axis=(1, 2)).argmin())", "uint8"),
    (4, 4, SIMILAR + "return int(((reds.astype('int16') - red) ** 2).sum(axis=(1, 2)).argmin())", "int16"),
    (4, 5, GRID, "grid"),
    (6, 5, PURITY, "only one kind"),
])
def test_wrong_answers_get_a_hint(notebook, exercise, answer, hint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = hint_for(notebook, exercise, answer)
    assert found and re.search(hint, found), found


# Exercises whose checks need neither a trained network nor the cluster's commands, and take seconds at most.
QUICK = {1: (1, 2, 4, 5), 2: (1, 2, 3, 4, 6), 3: range(1, 7), 4: (1, 4, 5), 5: (1, 2, 3, 4), 6: range(1, 7),
         7: range(1, 7), 8: (1, 3, 7, 8)}


@pytest.mark.parametrize("notebook, exercise", [(notebook, number) for notebook in QUICK for number in QUICK[notebook]])
def test_solutions_pass_quick_checks(notebook, exercise, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert hint_for(notebook, exercise) is None
    assert f"✓ exercise {exercise}" in capsys.readouterr().out


@pytest.mark.parametrize("notebook, exercise, answer", [
    (1, 2, GENERATOR_LOSS + "return keras.losses.binary_crossentropy(ops.ones((1, len(fake_scores))), "
     "ops.transpose(fake_scores), from_logits=True)[0]"),
    (2, 4, GENERATOR.format("tanh", "relu", 4, False)),
    (3, 2, "def earth_mover(a, b): a.sort(); b.sort(); return np.abs(a - b).mean()"),
    (3, 4, PENALTY.format("tape.watch(points)")),
    (3, 5, """def largest_gain(w, lam):
    s = np.linspace(0, 10, 100001)
    return (s * w - lam * (s - 1) ** 2).max()"""),
])
def test_right_answers_of_another_kind_pass(notebook, exercise, answer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert hint_for(notebook, exercise, answer) is None


def test_32_bits_are_enough_for_squares(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert hint_for(4, 4, SIMILAR + "return ((reds.astype('int32') - red) ** 2).sum(axis=(1, 2)).argmin()") is None


def test_a_bad_bound_is_no_success(capsys, tmp_path, monkeypatch):
    """The best of some random guesses may lie below 0, where it shows nothing of the information."""
    monkeypatch.chdir(tmp_path)
    hint_for(6, 3)
    assert re.search(r"-0\.\d+, below 0: a bad guess shows nothing", capsys.readouterr().out)


@each_source
def test_every_function_may_return_nothing_or_fail(source, tmp_path, monkeypatch):
    """Each function of an exercise is replaced in turn; the hints name it, and no other error is raised."""
    monkeypatch.chdir(tmp_path)
    notebook, tried = int(source.stem[0]), 0
    for number in range(1, 9):
        with contextlib.suppress(StopIteration):
            for name in re.findall(r"checked\((\w+)", exercise_of(notebook, number)[2]):
                assert f"{name} returns nothing" in hint_for(notebook, number, f"def {name}(*_, **__): pass")
                assert f"{name} stops with KeyError" in hint_for(notebook, number, f"def {name}(*_, **__): {{}}['a']")
                tried += 1
    assert tried >= 4


@each_source
def test_students_predict_before_they_see(source):
    """Before two results at least, a text asks what they will be."""
    cells = [cell for cell in build.read(source) if cell.kind not in ("slide", "answer", "quiz")]
    asked = [number for number, cell in enumerate(cells) if cell.is_text and "**Predict first.**" in cell.content]
    assert len(asked) >= 2
    for number in asked:
        after = [cell.kind for cell in cells[number + 1:number + 6]]
        assert {"figure", "check"} & {*after}, cells[number].content


INSTALL = (COURSE / "install.py").read_text()


@pytest.mark.parametrize("path", sorted(COURSE.rglob("*.ipynb")), ids=lambda path: str(path.relative_to(COURSE)))
def test_the_first_cell_installs(path):
    first = next(cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code")
    lines = "".join(first["source"]).splitlines()
    assert [line for line, other in zip(lines, INSTALL.splitlines(), strict=True) if line != other] == (
        [f'REPOSITORY = "{build.repository()}"'] if build.repository() else [])


def first_cell(python, folder, code=INSTALL, **environment):
    """What the first cell prints if an interpreter runs it in a folder, and what is left of it on the screen."""
    done = subprocess.run([*python, "-c", code], cwd=folder, capture_output=True, timeout=120,
                          env=os.environ | environment)
    assert done.returncode == 0 and not done.stderr, done.stderr
    printed = done.stdout.decode()
    return printed, printed.rpartition("\r")[2]


def test_the_first_cell_does_nothing_where_biogans_is_installed(tmp_path):
    assert first_cell([sys.executable], tmp_path) == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_the_first_cell_names_a_remedy_without_a_network(tmp_path):
    """In a new environment beside the repository: pip asks a closed port for packages."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "new"], check=True)
    _, left = first_cell([str(tmp_path / "new/bin/python")], COURSE, PIP_RETRIES="0",
                         PIP_CONFIG_FILE=os.devnull, https_proxy="http://127.0.0.1:9", http_proxy="http://127.0.0.1:9")
    assert re.fullmatch(r"BioGANs can't be installed here \(.+\): start Jupyter by `make lab` .*\n", left)


@pytest.mark.parametrize("address", ["", "/no/such/repository"])
def test_the_first_cell_names_a_remedy_where_there_is_no_repository(address, tmp_path):
    alone = [sys.executable, "-I", "-S"]                    # without the packages of the environment
    code = INSTALL.replace('REPOSITORY = ""', f'REPOSITORY = "{address}"')
    printed, left = first_cell(alone, tmp_path, code)
    assert re.fullmatch(r"BioGANs can't be installed here \(.+\): start Jupyter by .*\n", left)
    assert printed.count("\n") == 1


def test_the_first_cell_names_no_registry():
    assert not re.search("pypi|pythonhosted|anaconda|conda|://", INSTALL)


@pytest.mark.parametrize("address, links", [("", 0), ("https://example.org/biogans", 0),
                                            ("https://github.com/example/biogans", 2),
                                            ("https://github.com/example/biogans.git", 2)])
def test_badges_stand_where_the_repository_has_an_address(address, links, monkeypatch):
    monkeypatch.setattr(build, "repository", lambda: address)
    text = build.notebooks(build.SOURCES[0])[COURSE / "1_game.ipynb"]
    assert text.count("/example/biogans/") == links
    assert f'REPOSITORY = \\"{address}\\"' in text


QUIZ = '''# %% quiz [markdown]
r"""
**Question 1.** What is 1 + 1?

- **a)** One.
  ✗ That is 1
    *plus* 0.
- **b)** Two.
  ✓ Count them.

**Question 2.** Is it even? True?

- **a)** True.
  ✓ Half of it is whole.
- **b)** False.
  ✗ Halve it.
"""
'''


@pytest.fixture
def quiz_source(tmp_path, monkeypatch):
    """A source with a quiz, whose answers biogans.system.quiz finds."""
    monkeypatch.setattr(build, "QUIZZES", tmp_path)
    monkeypatch.setattr(quiz, "QUIZZES", tmp_path)
    path = tmp_path / "9_quiz.py"
    path.write_text(QUIZ)
    for file, text in build.quizzes(path).items():
        file.write_text(text)
    return path


def test_a_quiz_for_students_has_no_explanations(quiz_source):
    students, solved = ("".join(cell.content for cell in cells_of(build.read(quiz_source)))
                        for cells_of in (build.for_students, build.with_solutions))
    assert 'answers = {1: "", 2: ""}' in students and "**b)** Two.\n\n**Question 2.**" in students
    assert not re.search("[✓✗]|Count|Half|Halve", students)
    assert 'answers = {1: "b", 2: "a"}' in solved and "✓ Count them." in solved
    assert {line.strip() for line in ("✓ Half of it is whole.", 'answers = {1: "b", 2: "a"}')} <= lines_of_solutions(
        quiz_source)


@pytest.mark.parametrize("solved", [True, False])
def test_the_cell_below_a_quiz_checks_it(solved, quiz_source, capsys):
    cells = build.read(quiz_source)
    assert run((build.with_solutions if solved else build.for_students)(cells)) == []
    assert ("✓ quiz: all 2" in capsys.readouterr().out) == solved


@pytest.mark.parametrize("answers, expected", [
    ({1: "b", 2: "a"}, ["Question 1, b) ✓ right. Count them.", "Question 2, a) ✓ right. Half of it is whole.",
                        "✓ quiz: all 2 answers are right"]),
    ({"1": "b)", 2: "(A)."}, ["Question 1, b) ✓ right. Count them.", "Question 2, a) ✓ right. Half of it is whole.",
                              "✓ quiz: all 2 answers are right"]),
    ({1: " B", 2: "b"}, ["Question 1, b) ✓ right. Count them.", "Question 2, b) ✗ not right. Halve it.",
                         "1 of 2 answers are right"]),
    ({1: "a"}, ["Question 1, a) ✗ not right. That is 1 plus 0.", "Question 2: write one of the letters a, b",
                "0 of 2 answers are right"])])
def test_every_answer_is_explained(answers, expected, quiz_source, capsys):
    quiz.check_quiz("9_quiz", answers)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(expected) and all(line.startswith(start) for line, start in zip(lines, expected)), lines


@pytest.mark.parametrize("answers", [None, [], "ba", ["b", "a"], {"b", "a"}, 2, {}, {1: "", 2: None}, {1: "ba", 2: 1},
                                     {1: ["b"], 2: {"a": "a"}}, {"one": "b"}, {1: "c", 2: True}])
def test_other_things_than_letters_get_a_hint(answers, quiz_source, capsys):
    quiz.check_quiz("9_quiz", answers)
    text = capsys.readouterr().out
    assert re.search(r"dictionary of letters, such as \{1: \"a\"|write one of the letters a, b in quotes", text), text
    assert "✓" not in text and "✗" not in text


@each_source
def test_every_answer_of_a_quiz_has_an_explanation(source):
    cells = [cell for cell in build.read(source) if cell.kind == "quiz" and cell.is_text]
    assert len(cells) == 1
    questions = build.questions_of(cells[0].content)
    assert 3 <= len(questions) == cells[0].content.count("**Question ") <= 4
    assert cells[0].content.count("\n- **") == sum(map(len, questions))
    for question in questions:
        assert [option["right"] for option in question.values()].count(True) == 1 and len(question) >= 2
        assert all(len(option["why"]) > 40 and option["why"].endswith(".") for option in question.values())


def executed(path, folder, allow_errors):
    """Execute a notebook file in `folder` within SECONDS of CPU time; returns the executed notebook."""
    before = cpu_time()
    notebook = build.execute(path.read_text(), folder, allow_errors)
    seconds = cpu_time() - before
    print(f"{path.relative_to(COURSE)}: {seconds:.0f} s of CPU time")
    assert seconds < SECONDS
    return notebook


def cpu_time():
    """CPU time, in seconds, of the child processes that have ended; unaffected by other work on the machine."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.course
@each_source
def test_solutions_pass_their_checks(source, tmp_path):
    """A failing check would raise CellExecutionError in nbclient."""
    notebook = executed(COURSE / "solutions" / f"{source.stem}.ipynb", tmp_path, allow_errors=False)
    slow = [silent for silent in build.silent_cells(notebook) if silent[0] > 3 * build.LONGEST_SILENCE]
    assert not slow, slow                       # thrice as long, because others may use the machine
    build.write_figures(notebook, tmp_path / source.stem)
    assert len(build.documents(source, notebook)) == 2
    for cell in notebook.cells:
        if "check" in cell.metadata.get("tags", ()):
            assert "✓ exercise" in printed(cell), cell.source
        if "check_quiz(" in cell.source:
            assert "✓ quiz" in printed(cell), cell.source
    assert figures_of(tmp_path / source.stem) == {cell.name for cell in build.read(source) if cell.kind == "figure"}


@pytest.mark.course
@each_source
def test_unsolved_exercises_fail_their_checks_but_no_other_cell(source, tmp_path):
    for cell in executed(COURSE / f"{source.stem}.ipynb", tmp_path, allow_errors=True).cells:
        errors = [output for output in cell.get("outputs", ()) if output.output_type == "error"]
        if "check" in cell.metadata.get("tags", ()):
            assert [error.ename for error in errors] == ["AssertionError"], cell.source
            assert errors[0].evalue, cell.source
        else:
            assert not errors, (cell.source, errors)
        if "check_quiz(" in cell.source:
            assert "Question 1: write one of the letters" in printed(cell) and "✓" not in printed(cell)


def printed(cell):
    """What an executed code cell has printed."""
    return "".join(output.get("text", "") for output in cell.outputs)


def chosen(notebook, **values):
    """The text of a notebook with other values of its form."""
    cells = json.loads(notebook)
    for cell in cells["cells"]:
        for name, value in values.items():
            cell["source"] = [re.sub(rf"^{name} = \S+", f"{name} = {value!r}", line) for line in cell["source"]]
    return json.dumps(cells)


@pytest.mark.course
def test_the_notebook_without_code_trains_and_generates(tmp_path):
    """With a few seconds on the sample data: pictures on the way, and a stack of as many cells as chosen."""
    text = chosen((COURSE / "no_code.ipynb").read_text(), minutes=0.15, number_of_cells=7, file_format="h5")
    notebook = build.execute(text, tmp_path)
    train, generate = (next(cell for cell in notebook.cells if cell.source.startswith(f"# @title Step {number}"))
                       for number in (2, 3))
    assert "trained for 0.15 minutes, and saved" in printed(train)
    assert any("image/png" in output.get("data", {}) for output in train.outputs)
    (stack,) = (tmp_path / "my_cells/images").glob("stack2.*.h5")
    with h5py.File(stack) as file:
        assert len(file["stack"]) == 7
    assert f"my_cells/images/{stack.name}" in generate.outputs[-1]["data"]["text/html"]
    assert max(cell.metadata.get("silent", 0) for cell in notebook.cells) < 3 * build.LONGEST_SILENCE


@pytest.mark.course
@pytest.mark.parametrize("values, message", [({"folder": "nowhere"}, "nowhere: no such folder"),
                                             ({"classes": "Tea2"}, "no polarity factor Tea2")])
def test_the_notebook_without_code_explains_mistakes(values, message, tmp_path):
    notebook = build.execute(chosen((COURSE / "no_code.ipynb").read_text(), **values), tmp_path)
    shown = "".join(printed(cell) for cell in notebook.cells if cell.cell_type == "code")
    assert message in shown and "no trained network yet: run step 2 first" in shown


@pytest.mark.course
@each_source
def test_slides_match_their_source(source):
    page = build.slides(source)
    assert Path(build.DOCUMENTS, f"{source.stem}.html").read_text() == page
    assert page.count("<section>") >= 5 and "FORMULA" not in page and "$" not in page
