"""The notebooks of the course match their sources, their solutions pass, and unsolved exercises fail."""

import ast
import importlib.util
import json
import re
import resource
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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


@each_source
def test_notebooks_match_their_source(source):
    """`python course/build.py` writes them."""
    for path, text in build.notebooks(source).items():
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
def test_the_document_matches_its_source(source):
    """`make course` writes it."""
    text = (build.DOCUMENTS / f"{source.stem}.md").read_text()
    for cell in build.with_solutions(build.read(source)):
        assert cell.content.rstrip() in text, f"missing from the document, run make course: {cell.content}"


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
    pages = [*COURSE.glob("*.md"), *build.DOCUMENTS.glob("*.md"), *build.DOCUMENTS.glob("*.html")]
    assert len(pages) >= 2 + 2 * len(build.SOURCES)
    for page in pages:
        text = re.sub("```.*?```", "", page.read_text(), flags=re.DOTALL)
        for target in re.findall(r'\]\(([^)#]+)|(?:src|href)="([^"]+)"', text):
            target = "".join(target)
            assert target.startswith("https://") or (page.parent / target).exists(), f"{page}: {target}"


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
    build.document(notebook, tmp_path / source.stem)
    for cell in notebook.cells:
        if "check" in cell.metadata.get("tags", ()):
            assert "✓ exercise" in "".join(output.get("text", "") for output in cell.outputs), cell.source
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


@pytest.mark.course
@each_source
def test_slides_match_their_source(source):
    page = build.slides(source)
    assert Path(build.DOCUMENTS, f"{source.stem}.html").read_text() == page
    assert page.count("<section>") >= 5 and "FORMULA" not in page and "$" not in page
