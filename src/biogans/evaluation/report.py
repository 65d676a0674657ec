"""Tables, figures and a page of what biogans evaluate measured, from its JSON files: one for each row and split."""

import base64
import html
import json
from typing import NamedTuple

import numpy as np

from . import joint
from ..system.errors import InputError
from ..system.files import replacing
from ..core.figures import DPI, PLAIN, write_figure
from .scoring import EVERYTHING

FORMAT = 1
REAL = "real images"
OVERALL = "mean"
FEATURES = {"frechet": "Fréchet", "kernel": "kernel", "precision": "precision", "recall": "recall",
            "density": "density", "coverage": "coverage", "right_factor": "right factor"}
JOINT = {"c2st": "C2ST, all channels", "correlation_error": "correlations", "profile_error": "localisation",
         "spot_error": "spots"}
COLOURS = ("#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#8c4513",
           "#9acd32", "#4b0082")


class Combined(NamedTuple):
    """What all files say together; a (mean, sd) is over splits.

    rows      {name: {factor or OVERALL: {metric: (mean, sd)}}}, real images first
    pairs     {(factor of the samples, factor held out): (mean, sd)}
    joint     {name: {metric: (mean, sd)}}; arrays have a mean only
    channels  names of the channels of the joint cells
    results   the files' content
    """

    rows: dict
    pairs: dict
    joint: dict
    channels: list
    results: list


# --- reading ----------------------------------------------------------------------------------------------------

def read(folder):
    """The content of all JSON files of `folder`. Raises InputError if there is none, or they don't go together."""
    results = [read_file(path) for path in sorted(folder.glob("*.split*.json"))]
    if not results:
        raise InputError(f"{folder}: no results here yet: make some with biogans evaluate -d data -o {folder}")
    for result in results:
        for name in ("critic", "seed"):
            if result[name] != results[0][name]:
                raise InputError(f"{folder}: {result['name']} and {results[0]['name']} were scored with another {name}:"
                                 f" put them in folders of their own")
        images = results[0]["held_out"] | result["held_out"]
        if images != result["held_out"] | results[0]["held_out"]:
            raise InputError(f"{folder}: {result['name']} and {results[0]['name']} were compared with other images: "
                             f"put them in folders of their own")
    return results


def read_file(path):
    """The content of one JSON file. Raises InputError if it isn't one of ours."""
    try:
        result = json.loads(path.read_text())
        if result["format"] == FORMAT:
            return result
    except (ValueError, TypeError, KeyError, OSError):
        pass
    raise InputError(f"{path} was not written by this version of biogans evaluate: remove it, or choose another folder "
                     f"with -o")


def combine(results):
    """Combined of the content of JSON files."""
    rows, pairs, cells = {}, {}, {}
    for result in sorted(results, key=_order):
        for factor, scores in result.get("scores", {}).items():
            for metric, score in scores.items():
                values = rows.setdefault(result["name"], {}).setdefault(factor, {}).setdefault(metric, {})
                values[result["split"]] = score
        for a, scores in result.get("pairs", {}).items():
            for b, score in scores.items():
                pairs.setdefault((a, b), {})[result["split"]] = score
        for name, scores in result.get("joint_scores", {}).items():
            for metric, score in scores.items():
                cells.setdefault(name, {}).setdefault(metric, {})[result["split"]] = score
    for row in rows.values():
        factors = [scores for factor, scores in row.items() if factor != EVERYTHING] or list(row.values())
        row[OVERALL] = {metric: _over_factors([scores.get(metric, {}) for scores in factors]) for metric in factors[0]}
    channels = next((result["channels"] for result in results if "channels" in result), [])
    statistics = {name: {factor: {metric: _statistics(values) for metric, values in scores.items()}
                         for factor, scores in row.items()} for name, row in rows.items()}
    return Combined(statistics, {pair: _statistics(values) for pair, values in pairs.items()},
                    {name: {metric: _statistics(values) for metric, values in scores.items()}
                     for name, scores in cells.items()}, channels, results)


def _order(result):
    """Real images first, numbers in names by their size."""
    words = [(word.isdecimal(), int(word) if word.isdecimal() else 0, word) for word in result["name"].split()]
    return result["name"] != REAL, words, result["split"]


def _over_factors(factors):
    """{split: mean over the factors} where all of them have a number."""
    splits = set.intersection(*(set(values) for values in factors))
    return {split: float(np.mean([values[split] for values in factors])) for split in splits}


def _statistics(values):
    """(mean, standard deviation) over splits, of numbers; of arrays their mean."""
    values = np.array(list(values.values()), float)         # None becomes NaN
    if values.ndim > 1:
        return values.mean(axis=0)
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else float("nan")


# --- tables -----------------------------------------------------------------------------------------------------

def tables(combined):
    """[(title, header, rows of texts)] of all there is."""
    found = []
    factors = list(dict.fromkeys(factor for row in combined.rows.values() for factor in row if factor != OVERALL))
    if combined.rows:
        found.append(("Two-sample test (C2ST): 0 is best", ["", *factors, OVERALL, "splits"],
                      [[name, *(_text(row, factor, "c2st") for factor in (*factors, OVERALL)), _splits(combined, name)]
                       for name, row in combined.rows.items()]))
    measured = {name: row for name, row in combined.rows.items() if "frechet" in row[OVERALL]}
    if measured:
        found.append(("Features of the factors' classifier, mean over factors", ["", *FEATURES.values()],
                      [[name, *(_text(row, OVERALL, metric, 2) for metric in FEATURES)]
                       for name, row in measured.items()]))
    if combined.pairs:
        names, grid = _grid(combined)
        found.append(("Real images (columns) against real images of another factor (rows)", ["", *names],
                      [[a, *(_pm(grid[a, b], 1) for b in names)] for a in names]))
    if combined.joint:
        found.append(("Cells with all factors against true ones: errors, 0 is best", ["", *JOINT.values()],
                      [[name, *(_pm(scores[metric], 1 if metric == "c2st" else 3) for metric in JOINT)]
                       for name, scores in combined.joint.items()]))
    return found


def summary(scores):
    """A line of the scores of one split."""
    if "pairs" in scores:
        mean = np.mean([list(row.values()) for row in scores["pairs"].values()])
        return f"C2ST between factors {mean:.2f} on average"
    text = "C2ST " + ", ".join(f"{name} {values['c2st']:.2f}" for name, values in scores["scores"].items())
    return text + "".join(f"; {name} {values['c2st']:.2f}" for name, values in scores.get("joint_scores", {}).items())


def _grid(combined):
    """(names of factors, {(samples, held out): (mean, sd)}) with real images of the same factor on the diagonal."""
    names = list(dict.fromkeys(a for a, _ in combined.pairs))
    same = combined.rows.get(REAL, {})
    return names, combined.pairs | {(name, name): same[name]["c2st"] if name in same else (np.nan, np.nan)
                                    for name in names}


def _splits(combined, name):
    return str(len({result["split"] for result in combined.results if result["name"] == name}))


def _text(row, factor, metric, digits=1):
    return _pm(row[factor][metric], digits) if metric in row.get(factor, {}) else "–"


def _pm(statistics, digits):
    mean, sd = statistics
    if not np.isfinite(mean):
        return "–"
    mean = round(mean, digits) + 0.0                        # no minus before a zero
    return f"{mean:.{digits}f}" + (f" ± {sd:.{digits}f}" if np.isfinite(sd) else "")


def markdown(combined):
    """All tables as Markdown text."""
    lines = []
    for title, header, rows in tables(combined):
        lines += [f"**{title}**", "", *(f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)),
                  ""]
    return "\n".join(lines)


# --- figures ----------------------------------------------------------------------------------------------------

def figures(combined):
    """{name: matplotlib figure} of all there is."""
    found = {"c2st": _score_figure(combined)} if combined.rows else {}
    if combined.pairs:
        found["pairs"] = _pairs_figure(combined)
    if combined.joint:
        found["correlations"] = _correlation_figure(combined)
        found["localisation"] = _profile_figure(combined)
    return found


def _figure(width, height):
    from matplotlib.figure import Figure
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")


def _score_figure(combined):
    """The two-sample scores: a column for each factor, a mark with its error for each row of the table."""
    factors = list(dict.fromkeys(factor for row in combined.rows.values() for factor in row if factor != OVERALL))
    places = {factor: k for k, factor in enumerate([*factors, OVERALL])}
    figure = _figure(max(6, 1.1 * len(places) + 2), 4)
    axes = figure.subplots()
    for k, (name, row) in enumerate(combined.rows.items()):
        aside = 0.6 * ((k + 0.5) / len(combined.rows) - 0.5)
        there = [factor for factor in places if factor in row]
        means, errors = np.transpose([row[factor]["c2st"] for factor in there])
        axes.errorbar([places[factor] + aside for factor in there], means, np.nan_to_num(errors), fmt="o", ms=5,
                      capsize=3, color=COLOURS[k % len(COLOURS)], label=name)
    axes.margins(y=0.1)
    axes.axhline(0, color="0.5", linewidth=0.8)
    if axes.get_ylim()[1] > 20:
        axes.set_yscale("symlog", linthresh=5)
        ticks = [tick for tick in (-5, -2, 0, 2, 5, 10, 20, 50, 100, 200) if tick < axes.get_ylim()[1]]
        axes.set_yticks(ticks, ticks)
    axes.axvline(len(factors) - 0.5, color="0.8", linewidth=0.8)
    axes.set_xticks(list(places.values()), list(places), **PLAIN)
    axes.set_ylabel("two-sample score (0 is best)")
    axes.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside upper left", ncols=2, frameon=False, fontsize=9)
    return figure


def _pairs_figure(combined):
    """Real images of each factor against those of each other."""
    names, grid = _grid(combined)
    values = np.array([[grid[a, b][0] for b in names] for a in names])
    figure = _figure(1 + len(names), 0.8 + 0.75 * len(names))
    axes = figure.subplots()
    axes.imshow(np.nan_to_num(values), cmap="Blues", vmin=0, aspect="auto")
    dark = 0.6 * np.nanmax(values)
    for y, a in enumerate(names):
        for x, b in enumerate(names):
            axes.text(x, y, _pm(grid[a, b], 1), ha="center", va="center", fontsize=9,
                      color="white" if values[y, x] > dark else "black")
    axes.set_xticks(range(len(names)), names, **PLAIN)
    axes.set_yticks(range(len(names)), names, **PLAIN)
    axes.set_xlabel("held-out images of")
    axes.set_ylabel("samples: training images of")
    axes.set_title("two-sample score", fontsize=10)
    return figure


def _correlation_figure(combined):
    """Correlations between the channels in true cells, and how far off each row of the table is."""
    truth = next(iter(combined.joint.values()))["true_correlations"]
    columns = min(3, 1 + len(combined.joint))
    lines = -(-(1 + len(combined.joint)) // columns)
    figure = _figure(4.2 * columns, 3.9 * lines)
    panels = figure.subplots(lines, columns, squeeze=False).flat
    _matrix(next(panels), truth, combined.channels, "true cells: correlation between channels")
    for name, scores in combined.joint.items():
        _matrix(next(panels), scores["correlations"] - truth, combined.channels, f"{name}: difference")
    for axes in panels:
        axes.set_axis_off()
    return figure


def _matrix(axes, values, names, title):
    axes.imshow(values, cmap="RdBu_r", vmin=-1, vmax=1)
    for y in range(len(names)):
        for x in range(len(names)):
            if x != y:
                axes.text(x, y, f"{values[y, x]:.2f}", ha="center", va="center", fontsize=7,
                          color="white" if abs(values[y, x]) > 0.6 else "black")
    axes.set_xticks(range(len(names)), names, rotation=45, fontsize=8, **PLAIN)
    axes.set_yticks(range(len(names)), names, fontsize=8, **PLAIN)
    axes.set_title(title, fontsize=9, **PLAIN)


def _profile_figure(combined):
    """Where along the cell each channel lies, by length, and how many spots it has; a column for each channel."""
    truth = next(iter(combined.joint.values()))
    lines = {"truth": (truth["true_profiles"], truth["true_spots"])}
    lines |= {name: (scores["profiles"], scores["spots"]) for name, scores in combined.joint.items()}
    bins, channels = lines["truth"][0].shape[:2]
    figure = _figure(1.9 * channels + 0.6, 1.7 * (bins + 1) + 0.7)
    panels = figure.subplots(bins + 1, channels, sharey="row", squeeze=False)
    position = (np.arange(joint.POSITIONS) + 0.5) / joint.POSITIONS
    words = ["short", *["medium"] * (bins - 2), "long"]
    for channel in range(channels):
        for k, (name, (profiles, spots)) in enumerate(lines.items()):
            look = {"color": COLOURS[k % len(COLOURS)], "label": name}
            for row in range(bins):
                panels[row, channel].plot(position, profiles[row, channel], linewidth=2.2 if k == 0 else 1.2,
                                          zorder=1 if k == 0 else 2, **look)
            panels[bins, channel].bar(k, spots[channel], **look)
        panels[0, channel].set_title(combined.channels[channel], fontsize=10, **PLAIN)
        panels[bins - 1, channel].set_xlabel("position along cell", fontsize=8)
        panels[bins, channel].set_xticks([])
    for row, word in enumerate(words):
        panels[row, 0].set_ylabel(f"{word} cells:\nbrightness", fontsize=8)
    panels[bins, 0].set_ylabel("spots in a cell", fontsize=8)
    panels[bins, 0].set_ylim(0, 2 * max(1, truth["true_spots"].max()))      # early cells are all spots
    for axes in panels.flat:
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.3)
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=3, frameon=False,
                  fontsize=9)
    return figure


# --- files ------------------------------------------------------------------------------------------------------

def write(folder, combined, page=False):
    """Write tables and figures, and with `page` report.html, to `folder`; returns the paths."""
    paths = [folder / "tables.md"]
    with replacing(paths[0]) as temporary:
        temporary.write_text(markdown(combined))
    for name, figure in figures(combined).items():
        paths.append(folder / f"{name}.png")
        write_figure(paths[-1], figure)
    if page:
        pictures = [path for path in paths if path.suffix == ".png"]
        paths.append(folder / "report.html")
        with replacing(paths[-1]) as temporary:
            temporary.write_text(_page(combined, pictures))
    return paths


def _page(combined, pictures):
    """One HTML page with all there is; pictures are inside it."""
    escape = html.escape
    parts = []
    for title, header, rows in tables(combined):
        head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
        body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        parts.append(f"<h2>{escape(title)}</h2><table><tr>{head}</tr>{body}</table>")
    for path in pictures:
        data = base64.b64encode(path.read_bytes()).decode()
        parts.append(f'<figure><img alt="{escape(path.stem)}" src="data:image/png;base64,{data}"></figure>')
    first = combined.results[0]
    commands = dict.fromkeys(result["command"] for result in combined.results)
    sources = {result["source"]["file"]: result["source"] for result in combined.results if result["source"]}
    facts = {"critic": first["critic"], "seed": first["seed"], "models": sources, "versions": first["versions"],
             "accuracy of the classifier": first["classifier_accuracy"],
             "minutes": round(sum(result["seconds"] for result in combined.results) / 60, 1)}
    parts.append("<h2>How it was made</h2><pre>" + escape("\n".join(commands)) + "</pre><pre>"
                 + escape(json.dumps(facts, indent=2)) + "</pre>")
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>BioGANs: evaluation</title>
<style>
body {{ font: 16px/1.5 sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222 }}
table {{ border-collapse: collapse }}
th, td {{ padding: .3rem .8rem; text-align: right; border-bottom: 1px solid #ddd }}
th:first-child, td:first-child {{ text-align: left }} h2 {{ margin-top: 2rem; font-size: 1.1rem }}
img {{ max-width: 100% }} figure {{ margin: 2rem 0 }} pre {{ background: #f4f4f4; padding: 1rem; overflow: auto }}
</style></head><body>
<h1>Evaluation</h1>
<p>Numbers are means ± standard deviations over random splits of the held-out images, the same for every row.
docs/evaluation.md says what each of them means.</p>
{"".join(parts)}
</body></html>
"""
