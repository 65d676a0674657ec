"""The files that show what `biogans evaluate` measured: tables in Markdown, figures, and one HTML page of both."""

import base64
import html
import json

from ..core.figures import write_figure
from ..system.files import replacing
from .charts import make_charts
from .tables import make_tables, markdown

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>BioGANs: {title}</title>
<style>
body {{ font: 16px/1.5 sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222 }}
table {{ border-collapse: collapse }}
th, td {{ padding: .3rem .8rem; text-align: right; border-bottom: 1px solid #ddd }}
th:first-child, td:first-child {{ text-align: left }} h2 {{ margin-top: 2rem; font-size: 1.1rem }}
img {{ max-width: 100% }} figure {{ margin: 2rem 0 }} pre {{ background: #f4f4f4; padding: 1rem; overflow: auto }}
</style></head><body>
<h1>{title}</h1>
{body}
</body></html>
"""
INTRODUCTION = ("Numbers are means ± standard deviations over random splits of the held-out images, the same for every "
                "row. docs/evaluation.md explains each of them.")


def write_report(folder, combined, page=False):
    """Write tables and figures of results.Combined, and with `page` report.html, to `folder`; return the paths."""
    paths = [folder / "tables.md"]
    with replacing(paths[0]) as temporary:
        temporary.write_text(markdown(combined))
    for name, figure in make_charts(combined).items():
        paths.append(folder / f"{name}.png")
        write_figure(paths[-1], figure)
    if page:
        pictures = [path for path in paths if path.suffix == ".png"]
        paths.append(folder / "report.html")
        _write_page(paths[-1], "Evaluation", [_paragraph(INTRODUCTION), *_html_tables(combined),
                                              *_html_figures(pictures), _provenance(combined)])
    return paths


def write_page(path, title, paragraphs, pictures):
    """Write an HTML page of paragraphs of text and of PNG files, which it holds."""
    _write_page(path, title, [*map(_paragraph, paragraphs), *_html_figures(pictures)])


def _write_page(path, title, parts):
    with replacing(path) as temporary:
        temporary.write_text(PAGE.format(title=html.escape(title), body="\n".join(parts)), encoding="utf-8")


def _paragraph(text):
    return f"<p>{html.escape(text)}</p>"


def _html_tables(combined):
    for title, header, rows in make_tables(combined):
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        yield f"<h2>{html.escape(title)}</h2><table><tr>{head}</tr>{body}</table>"


def _html_figures(pictures):
    for path in pictures:
        data = base64.b64encode(path.read_bytes()).decode()
        yield f'<figure><img alt="{html.escape(path.stem)}" src="data:image/png;base64,{data}"></figure>'


def _provenance(combined):
    """Commands, settings, models and versions, as HTML."""
    first = combined.results[0]
    commands = dict.fromkeys(result["command"] for result in combined.results)
    sources = {result["source"]["file"]: result["source"] for result in combined.results if result["source"]}
    description = {"critic": first["critic"], "seed": first["seed"], "models": sources, "versions": first["versions"],
                   "accuracy of the classifier": first["classifier_accuracy"],
                   "minutes": round(sum(result["seconds"] for result in combined.results) / 60, 1)}
    return ("<h2>How it was made</h2><pre>" + html.escape("\n".join(commands)) + "</pre><pre>"
            + html.escape(json.dumps(description, indent=2)) + "</pre>")
