"""Make the course from course/sources/*.py: notebooks and executed documents with and without solutions, slides.

Everything with solutions is in the folder course/solutions; what students read (course/*.ipynb, docs/course) has none.

A source is a Python file in the percent format that Jupytext and most editors understand: "# %%" starts a code cell,
"# %% [markdown]" a text cell, whose text is an r\"\"\" string. A word after the percent signs is the kind of the cell:

    exercise    students replace the part between ### BEGIN SOLUTION and ### END SOLUTION. They receive the lines after
                ### HANDOUT, without the leading "# "; these run, but do not pass the check
    check       tests the exercise before it
    figure NAME saves its figure as NAME.png for the documents and slides
    answer      text that appears only in the notebooks with solutions
    slide       text that appears only on the slides; ![](NAME.png) shows a figure
    quiz        text with questions, "**Question 1.** …", and their answers, "- **a)** …". Below each answer, a line
                that begins with "  ✓ " or "  ✗ " explains why it is right or wrong; these lines appear only in the
                notebooks with solutions. A cell in which students enter letters follows by itself
    install     an empty cell, which install.py fills: it installs BioGANs where it is missing; not on the pages
    form        a cell whose "# @param" comments Colab shows as a form

In any text, ![words](diagram_NAME.png) shows a diagram of docs/diagrams.py; notebooks hold a copy of it.
"""

import argparse
import base64
import html
import io
import json
import re
import textwrap
import time
import tomllib
from pathlib import Path
from typing import NamedTuple

COURSE = Path(__file__).resolve().parent
SOLUTIONS = COURSE / "solutions"
DOCUMENTS = COURSE.parent / "docs" / "course"
SOURCES = sorted((COURSE / "sources").glob("[0-9]_*.py"))
FORM = COURSE / "sources" / "no_code.py"        # a notebook without exercises, so without solutions, page and slides
QUIZZES = COURSE.parent / "src" / "biogans" / "system" / "quizzes"
KINDS = "exercise|check|figure|answer|slide|quiz|install|form"
HEADER = re.compile(rf"# %%(?: (?P<kind>{KINDS})(?: (?P<name>\w+))?)?(?P<text> \[markdown\])?")
SOLUTION = re.compile(r"^ *### BEGIN SOLUTION\n(?P<solution>.*?)^ *### HANDOUT\n(?P<handout>.*?)^ *### END SOLUTION\n",
                      re.DOTALL | re.MULTILINE)
EXPLANATION = re.compile(r"^  (?P<sign>[✓✗]) (?P<text>.*\n(?:    .*\n)*)", re.MULTILINE)
DIAGRAMS = COURSE.parent / "docs"
DIAGRAM = re.compile(r"\]\((diagram_\w+\.png)\)")
FORMULA = re.compile(r"\$\$(.+?)\$\$|\$(.+?)\$", re.DOTALL)
LONGEST_SILENCE = 10        # seconds; a cell that computes for longer shows progress
WIDEST = 1400               # largest side of a figure in the documents, in pixels
SHOWN = "../../docs/course"     # the folder of figures and slides, from the documents with solutions
HIDDEN_CODE = {"cellView": "form", "jupyter": {"source_hidden": True}}       # on Colab; in JupyterLab
SHOWN_AS = {"install": HIDDEN_CODE, "form": {"cellView": "form"}}
LINKS = ("[Notebook](../../course/{name}.ipynb) · [slides]({name}.html). Exercises are shown as you receive them; "
         "outputs and\nfigures are those of the solved notebook.")
LINKS_OF_SOLUTIONS = (f"[Notebook with solutions]({{name}}.ipynb) · [slides]({SHOWN}/{{name}}.html) · "
                      f"[page for students]({SHOWN}/{{name}}.md)")


class Cell(NamedTuple):
    """Cell of a source: its kind (see above, or ""), the name of its figure, and Markdown or else Python content."""

    kind: str
    name: str
    is_text: bool
    content: str


def read(path):
    """Cells of a source. Raises ValueError with file and line if a header is invalid."""
    cells, lines = [], path.read_text().splitlines(keepends=True)
    starts = [number for number, line in enumerate(lines) if line.startswith("# %%")]
    for start, end in zip(starts, [*starts[1:], len(lines)]):
        header = HEADER.fullmatch(lines[start].rstrip())
        if not header:
            raise ValueError(f"{path}:{start + 1}: unknown kind of cell: {lines[start].rstrip()}")
        content = "".join(lines[start + 1:end]).strip()
        if header["kind"] == "install":
            content = (COURSE / "install.py").read_text().replace('REPOSITORY = ""', f'REPOSITORY = "{repository()}"')
        if header["text"]:
            content = content.removeprefix('r"""').removesuffix('"""').strip()
        cells.append(Cell(header["kind"] or "", header["name"] or "", bool(header["text"]), content + "\n"))
        if cells[-1].kind == "quiz":
            cells.append(Cell("quiz", "", False, answers_of(path.stem, cells[-1].content)))
    return cells


def repository():
    """The public address of the repository in pyproject.toml, or "" if there is none."""
    project = tomllib.loads((COURSE.parent / "pyproject.toml").read_text())["project"]
    return project.get("urls", {}).get("Repository", "")


def badges(name):
    """Markdown of links that open a notebook on Colab and Binder, or "" if the repository is not on GitHub."""
    if not (match := re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+?)(?:\.git)?/?", repository())):
        return ""
    return (f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
            f"(https://colab.research.google.com/github/{match[1]}/blob/HEAD/course/{name})\n"
            f"[![Open on Binder](https://mybinder.org/badge_logo.svg)]"
            f"(https://mybinder.org/v2/gh/{match[1]}/HEAD?labpath=course/{name})\n\n")


def questions_of(text):
    """[{letter: {"right": whether, "why": explanation}}, …] of the questions of a quiz."""
    questions = []
    for question in re.split(r"^\*\*Question \d+\.\*\*", text, flags=re.M)[1:]:
        options = re.split(r"^- \*\*([a-d])\)\*\*", question, flags=re.M)[1:]
        questions.append({letter: {"right": match["sign"] == "✓", "why": plain(match["text"])}
                          for letter, option in zip(options[::2], options[1::2])
                          for match in EXPLANATION.finditer(option)})
    return questions


def plain(text):
    """A text without the marks of Markdown, in one line."""
    return " ".join(re.sub("[*`]", "", text).split())


def answers_of(name, text):
    """Code of the cell in which students answer a quiz."""
    right = ["".join(letter for letter, option in question.items() if option["right"])
             for question in questions_of(text)]
    solved, empty = ("{" + ", ".join(f'{number}: "{letter}"' for number, letter in enumerate(letters, 1)) + "}"
                     for letters in (right, [""] * len(right)))
    return ANSWERS.format(name=name, solved=solved, empty=empty)


def with_solutions(cells):
    """Cells of the notebook with solutions."""
    return [cell._replace(content=SOLUTION.sub(lambda match: match["solution"], cell.content))
            for cell in cells if cell.kind != "slide"]


def for_students(cells):
    """Cells of the notebook for students, without solutions."""
    return [cell._replace(content=handed_out(cell)) for cell in cells if cell.kind not in ("slide", "answer")]


def handed_out(cell):
    """The content of a cell for students."""
    if cell.kind == "quiz" and cell.is_text:
        return EXPLANATION.sub("", cell.content)
    return SOLUTION.sub(lambda match: re.sub(r"^( *)# ", r"\1", match["handout"], flags=re.M), cell.content)


def notebook(cells):
    """Text of the notebook file (nbformat 4.5) that holds the cells."""
    document = {"cells": [], "metadata": {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"}}, "nbformat": 4, "nbformat_minor": 5}
    for number, cell in enumerate(cells):
        entry = {"cell_type": "markdown" if cell.is_text else "code", "id": f"cell-{number}",
                 "metadata": ({"tags": [cell.kind]} if cell.kind else {}) | SHOWN_AS.get(cell.kind, {}),
                 "source": DIAGRAM.sub(r"](attachment:\1)", cell.content).rstrip("\n").splitlines(keepends=True)}
        if shown := DIAGRAM.findall(cell.content) if cell.is_text else ():
            entry["attachments"] = {name: {"image/png": base64.b64encode((DIAGRAMS / name).read_bytes()).decode()}
                                    for name in shown}
        if cell.name:
            entry["metadata"]["name"] = cell.name
        if not cell.is_text:
            entry |= {"execution_count": None, "outputs": []}
        document["cells"].append(entry)
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def notebooks(source):
    """{path: text} of the two notebooks made from a source, or of the one made from FORM."""
    cells, name = read(source), f"{source.stem}.ipynb"
    title, _, rest = cells[0].content.partition("\n\n")
    students = [cells[0]._replace(content=f"{title}\n\n{badges(name)}{rest}"), *cells[1:]]
    made = {COURSE / name: notebook(for_students(students)), SOLUTIONS / name: notebook(with_solutions(cells))}
    return made if source in SOURCES else {COURSE / name: made[COURSE / name]}


def execute(text, folder, allow_errors=False):
    """Execute a notebook, given as the text of its file, in the working directory `folder`; returns it with outputs.

    The metadata of its cells say for how many seconds at most nothing was shown: "silent".
    """
    import nbclient
    import nbformat

    class Client(nbclient.NotebookClient):
        latest = time.monotonic()

        def process_message(self, message, cell, index):
            if message["msg_type"] in ("status", "stream", "display_data", "update_display_data", "execute_result"):
                now = time.monotonic()
                is_start = message["content"].get("execution_state") == "busy"
                cell.metadata["silent"] = max(cell.metadata.get("silent", 0), 0 if is_start else now - self.latest)
                self.latest = now
            return super().process_message(message, cell, index)

    executed = nbformat.reads(text, as_version=4)
    Client(executed, timeout=600, allow_errors=allow_errors, resources={"metadata": {"path": str(folder)}}).execute()
    return executed


def silent_cells(executed):
    """[(seconds, first line of the cell), …] of an executed notebook: the cells that show nothing for too long."""
    return [(round(cell.metadata["silent"]), cell.source.partition("\n")[0]) for cell in executed.cells
            if cell.metadata.get("silent", 0) > LONGEST_SILENCE]


def quizzes(source):
    """{path: text} of the file with the answers to the quiz of a source, for biogans.system.quiz."""
    return {QUIZZES / f"{source.stem}.json": json.dumps(questions_of(cell.content), indent=1, ensure_ascii=False) + "\n"
            for cell in read(source) if cell.kind == "quiz" and cell.is_text}


def documents(source, executed):
    """{path: Markdown} of a notebook, executed with its solutions: for students without them, and for instructors.

    Both show the same outputs and figures, except for the output of the quiz, which explains the answers.
    """
    cells = [cell for cell in read(source) if cell.kind != "slide"]
    outputs = [output_of(cell, f"{SHOWN}/{source.stem}") for cell in executed.cells]
    for_all = [(cell.is_text, handed_out(cell), output if cell.kind != "quiz" else [])
               for cell, output in zip(cells, outputs, strict=True) if cell.kind not in ("answer", "install")]
    solved = [(cell.is_text, cell.content, output) for cell, output in zip(with_solutions(cells), outputs, strict=True)
              if cell.kind != "install"]
    name = source.stem
    students = page(for_all, LINKS.format(name=name)).replace(f"({SHOWN}/", "(")
    instructors = page(solved, LINKS_OF_SOLUTIONS.format(name=name))
    return {folder / f"{name}.md": linked(text, folder) for folder, text in ((DOCUMENTS, students),
                                                                             (SOLUTIONS, instructors))}


def linked(text, folder):
    """Text of a document in `folder` whose diagrams lie in docs."""
    return DIAGRAM.sub(rf"]({'..' if folder == DOCUMENTS else '../../docs'}/\1)", text)


def page(parts, links):
    """Markdown of (whether it is text, content, output) of cells, with a line of links below the title."""
    blocks = []
    for is_text, content, output in parts:
        blocks += [content.rstrip() if is_text else f"```python\n{content.rstrip()}\n```", *output]
    title, _, rest = blocks[0].partition("\n")
    return "\n\n".join(filter(None, [title, links, rest.lstrip("\n"), *blocks[1:]])) + "\n"


def output_of(cell, folder):
    """What an executed cell printed and drew, as blocks of Markdown; its figures are in `folder`."""
    if cell.cell_type == "markdown":
        return []
    printed = "".join(output.text for output in cell.outputs
                      if output.output_type == "stream" and output.name == "stdout")
    printed = printed.replace(str(COURSE.parent), "/apps/biogans/1.0.0")            # wherever it was executed
    blocks = [f"```text\n{printed.rstrip()}\n```"] if printed.strip() else []
    return blocks + [f"![{cell.metadata['name'].replace('_', ' ')}]({folder}/{name})" for name, _ in pictures(cell)]


def pictures(cell):
    """[(file name, PNG in base64), …] of the figures of an executed cell."""
    found = [output.data["image/png"] for output in cell.outputs if "image/png" in output.get("data", {})]
    return [(cell.metadata["name"] + (f"_{number}" if len(found) > 1 else "") + ".png", picture)
            for number, picture in enumerate(found, 1)]


def write_figures(executed, folder):
    """Write the figures of an executed notebook to `folder`, in place of older ones."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    for cell in executed.cells:
        for name, picture in pictures(cell) if cell.cell_type == "code" else ():
            write_small(folder / name, base64.b64decode(picture))


def write_small(path, png):
    """Write a figure, given as the bytes of a PNG file, with 256 colours and at most WIDEST pixels a side.

    The palette covers all colours, the rare ones too: a median cut turned thin red frames on grey images magenta.
    """
    from PIL import Image

    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture.thumbnail((WIDEST, WIDEST))
    picture.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)


def slides(source):
    """HTML page with the slides of a source, to be stored beside its figures, slides.css and slides.js.

    Formulas become MathML, which browsers show without a script.
    """
    from markdown_it import MarkdownIt

    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    sheets = [_sheet(markdown, cell.content, source.stem) for cell in read(source) if cell.kind == "slide"]
    title = re.search(r"<h1>(.*?)</h1>", "".join(sheets))[1]
    return PAGE.replace("TITLE", html.escape(re.sub("<.*?>", "", title))).replace("SHEETS", "".join(sheets))


def _sheet(markdown, text, folder):
    """HTML of a slide, whose figures are in `folder`."""
    from latex2mathml.converter import convert

    formulas = []

    def hold(match):
        """Replace a formula by a placeholder, because Markdown would interpret its underscores."""
        formulas.append(convert(match[1] or match[2], display="block" if match[1] else "inline"))
        return f"FORMULA{len(formulas) - 1}."

    page = markdown.render(FORMULA.sub(hold, text)).replace('src="', f'src="{folder}/')
    page = page.replace(f'src="{folder}/diagram_', 'src="../diagram_')
    for number, formula in enumerate(formulas):
        page = page.replace(f"FORMULA{number}.", formula)
    return f"<section>\n{page}</section>\n"


ANSWERS = textwrap.dedent("""\
    # Quiz: the letter of your answer to each question
    from biogans.system.quiz import check_quiz

    ### BEGIN SOLUTION
    answers = {solved}
    ### HANDOUT
    # answers = {empty}
    ### END SOLUTION
    check_quiz("{name}", answers)
    """)
PAGE = textwrap.dedent("""\
    <!DOCTYPE html>
    <html lang="en"><head><meta charset="utf-8"><title>TITLE</title>
    <meta name="viewport" content="width=device-width"><link rel="stylesheet" href="slides.css"></head><body>
    SHEETS<script src="slides.js"></script></body></html>
    """)


def main():
    parser = argparse.ArgumentParser(description="Make the notebooks from course/sources; with --execute, also the "
                                                 "documents and slides (some minutes each).")
    parser.add_argument("--execute", action="store_true", help="also run the notebooks with solutions, and write their "
                                                               "documents, figures and slides")
    parser.add_argument("names", nargs="*", help="first letters of the sources to process, such as 1; default: all")
    options = parser.parse_args()
    for source in (*SOURCES, FORM):
        if options.names and not source.stem.startswith(tuple(options.names)):
            continue
        made = notebooks(source)
        for path, text in (made | quizzes(source)).items():
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        if options.execute and source in SOURCES:
            executed = execute(made[SOLUTIONS / f"{source.stem}.ipynb"], COURSE)
            for seconds, line in silent_cells(executed):
                print(f"{source.stem}: a cell shows nothing for {seconds} s: {line}")
            write_figures(executed, DOCUMENTS / source.stem)
            for path, text in documents(source, executed).items():
                path.write_text(text)
            (DOCUMENTS / f"{source.stem}.html").write_text(slides(source))


if __name__ == "__main__":
    main()
