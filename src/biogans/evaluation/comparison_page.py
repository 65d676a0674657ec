"""The files that show a comparison of trainings: sheets of losses and samples, tables, and one HTML page of all."""

import base64
import csv
import html
import io
import math
import string

import numpy as np

from ..core import figures
from ..system import provenance
from ..system.files import replacing
from ..system.palettes import fitted
from ..system.pixels import to_signed, to_unit
from . import run_measures

COLUMNS = 3                 # of the sheet of losses
STYLES = ("-", "--", ":", "-.")         # of the seeds
COLOURS = {"critic": "#0072b2", "generator": "#d55e00", "distance": "#009e73"}
POINTS = 300                # of a line
WILD = 0.02                 # of the losses at either end, which do not count for the limits of a panel
SHARP = 150                 # dots per inch of the page's charts
SHOWN = 12                  # samples of a run
NONE = "–"

PAGE = string.Template("""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>BioGANs: comparison of $number trainings</title>
<style>
:root { --paper: #fff; --ink: #1d1d1f; --line: #d8d8dc; --faint: #5f6066; --best: #e7f5ee; --bad: #a3320b }
@media (prefers-color-scheme: dark) {
  :root { --paper: #17181b; --ink: #e9e9ec; --line: #3a3b40; --faint: #a6a7ad; --best: #16352a; --bad: #ff9e70 }
  img.chart { filter: invert(.91) hue-rotate(180deg) }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 72rem;
  margin: 0 auto; padding: 1rem; overflow-wrap: break-word }
h1 { font-size: 1.5rem; line-height: 1.25 } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem }
.scroll { overflow-x: auto; margin: 1rem 0 } table { border-collapse: collapse; font-size: .92rem }
th, td { padding: .35rem .6rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap }
th { vertical-align: bottom; white-space: normal; min-width: 4rem } th:first-child { min-width: 0 }
th.text { text-align: left }
th.name, td.name { text-align: left; position: sticky; left: 0; background: var(--paper); min-width: 7.5rem }
td.text { text-align: left; white-space: normal; min-width: 12rem }
tr.best td { background: var(--best) } .bad { color: var(--bad); font-weight: 600 }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); gap: 1.2rem }
figure { margin: 0 } img { width: 100%; height: auto; display: block } img.cells { image-rendering: pixelated }
figcaption { font-size: .88rem; margin: .3rem 0 } .faint, .notes { color: var(--faint); font-size: .88rem }
pre { white-space: pre-wrap; border: 1px solid var(--line); padding: .6rem; font-size: .82rem }
</style></head><body>
<h1>$title</h1>
<p>$result</p>
<h2>Ranking</h2>
$ranking
<h2>Runs</h2>
$runs
<h2>Losses and distances</h2>
<p class="faint">One panel for each combination; line styles are seeds. Above: running means of the losses of critic
(blue) and generator (orange). Below: the distance to held-out images that the training itself reports (green).</p>
<div class="grid">
$losses
</div>
$samples
<h2>What the numbers mean</h2>
$meaning
<h2>How it was made</h2>
<pre>$made</pre>
</body></html>
""")
MEANING = (
    ("distance", "unbiased kernel distance between generated and held-out images, in features like those of train.py’s "
     "held-out scores: 0 is best. Measured alike for all architectures, over all factors together. It is that of the "
     "last generator, or of the best one that the run kept, if it is from the second half of the run and is closer. "
     "The unit follows the variation of each data folder’s own images; compare it with the distance of the training "
     "images, which a perfect generator has. Differences smaller than the spread over seeds mean nothing."),
    ("spread", "standard deviation over seeds."),
    ("fluctuation, seeds differ", "standard deviation of the losses, relative to their root mean square, in the "
     "second half of the run: over time in each run, and over seeds at equal times. The losses are running means over "
     "a twentieth of the run. 0 is steady; 1 is a loss that swings around 0 or differs altogether. Of GAN, hinge and "
     "R1 both losses count, of WGAN and WGAN-GP the critic’s: only differences of its scores matter, so the "
     "generator’s loss may drift."),
    ("steadiness", "rank by the mean of these two."),
    ("distinct, effective number, copies", "as in biogans diversity: generated images that remain without "
     "near-duplicates, the birthday estimate of their number (∞ if no two are near-duplicates), and near-duplicates of "
     "training images; by definition 5 % of held-out images are such copies."),
    ("collapsed", "the distance at the end exceeds 4 times the best one, or that of the training images if it is "
     "larger; or the effective number is below 10, and below half of that of the training images. Early in a training "
     "this is usual: blurred images are close to everything."),
    (NONE, "undefined, and not ranked; the reason is below the table."))


class Labels:
    """Names of combinations and runs by what differs between them."""

    def __init__(self, summaries):
        combinations = [each.combination for each in summaries]
        self.varying = [k for k in range(3) if len({each[k] for each in combinations}) > 1] or [1, 2]

    def combination(self, combination):
        """Data, architecture and algorithm, without what is the same in all."""
        return " ".join(combination[k] for k in self.varying)

    def run(self, run):
        """The name of a trainings.Run."""
        return f"{self.combination(run.combination)}, seed {run.seed}"


# ---------------------------------------------------------------------------------------------- tables

def ranking_table(summaries):
    """(header, rows of texts) of the combinations."""
    labels = Labels(summaries)
    header = ["rank", "combination", "distance", "spread", "runs", "collapsed", "distinct", "copies",
              "steadiness", "fluctuation", "seeds differ", "iterations"]
    return header, [[
        _whole(each.rank), labels.combination(each.combination), _number(each.distance), _number(each.spread),
        f"{len(each.done)}/{len(each.runs)}", str(each.collapsed) if each.done else NONE,
        _whole(each.mean("distinct")), _percent(each.mean("copies")), _whole(each.steadiness_rank),
        _number(each.fluctuation), _number(each.disagreement),
        _whole(np.mean([run.training.iteration for run in each.done]) if each.done else None)] for each in summaries]


def runs_table(summaries):
    """(header, rows of texts) of the runs."""
    labels = Labels(summaries)
    header = ["run", "iterations", "minutes", "distance", "of iteration", "distinct", "effective number",
              "exact copies", "copies", "remarks"]
    return header, [[
        labels.run(run.training.run), _whole(run.training.iteration), f"{run.training.used / 60:.1f}",
        _number(run.distance), _whole(run.from_iteration), _whole(run.distinct), _count(run.effective),
        _whole(run.exact_copies), _percent(run.copies), remark(run)] for each in summaries for run in each.runs]


def remark(run):
    """What is wrong with a run_measures.Measured, in words; "" if nothing is."""
    if run.training.state == "done":
        return f"collapsed: {run.collapsed}" if run.collapsed else ""
    return f"failed: {run.training.reason}" if run.training.state else "unfinished: repeat the command to resume"


def remarks(summaries):
    """[(trainings.Training, what is wrong with it)]."""
    return [(run.training, remark(run)) for each in summaries for run in each.runs if remark(run)]


def collapses(summaries):
    """["combination: so many runs collapsed"]."""
    labels = Labels(summaries)
    return [f"{labels.combination(each.combination)}: {each.collapsed} of {len(each.done)} runs collapsed"
            for each in summaries if each.collapsed]


def undefined(summaries):
    """["combination: numbers undefined: reason"]."""
    labels, lines = Labels(summaries), []
    for each in summaries:
        by_reason = {}
        for field, reason in each.reasons.items():
            by_reason.setdefault(reason, []).append("seeds differ" if field == "disagreement" else field)
        lines += [f"{labels.combination(each.combination)}: {', '.join(fields)} undefined: {reason}"
                  for reason, fields in by_reason.items()]
    return lines


def reference_line(real):
    """The distances of the training images {label of a data folder: run_measures.RealImages}, in words."""
    floors = (f"{data} {images.floor:.3g}" if len(real) > 1 else f"{images.floor:.3g}" for data, images in real.items())
    return f"distance of the training images to the held-out ones: {', '.join(floors)}"


def format_table(header, rows):
    """The table as text, its columns aligned."""
    widths = [max(map(len, column)) for column in zip(header, *rows)]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip()
                     for row in (header, *rows))


def write_csv(path, summaries, number):
    """Write the ranking as CSV: numbers in full, empty where they are undefined."""
    header = ["rank", "data", "architecture", "algorithm", "distance", "spread", "runs_done", "runs", "steadiness_rank",
              "fluctuation", "seeds_differ_by", "distinct", "images", "copies", "collapsed", "undefined"]
    rows = [[each.rank, *each.combination, each.distance, each.spread, len(each.done), len(each.runs),
             each.steadiness_rank, each.fluctuation, each.disagreement, each.mean("distinct"), number,
             each.mean("copies"), each.collapsed,
             "; ".join(dict.fromkeys(each.reasons.values()))] for each in summaries]
    _write_rows(path, header, rows)


def write_runs_csv(path, summaries):
    """Write the runs as CSV."""
    header = ["data", "architecture", "algorithm", "seed", "iterations", "minutes", "distance", "of_iteration",
              "distinct", "effective_number", "exact_copies", "copies", "remarks"]
    rows = [[*run.training.run, run.training.iteration, run.training.used / 60, run.distance, run.from_iteration,
             run.distinct, run.effective, run.exact_copies, run.copies, remark(run)]
            for each in summaries for run in each.runs]
    _write_rows(path, header, rows)


def _write_rows(path, header, rows):
    with replacing(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows([f"{value:.6g}" if isinstance(value, float) else value for value in row] for row in rows)


def _number(value):
    return NONE if value is None else f"{value:.3g}"


def _whole(value):
    return NONE if value is None else "∞" if value == math.inf else f"{value:,.0f}"


def _count(value):
    """An effective number: with a decimal if it is small."""
    return f"{value:.1f}" if value is not None and value < 10 else _whole(value)


def _percent(value):
    return NONE if value is None else f"{value:.1%}"


# ---------------------------------------------------------------------------------------------- pictures

def write_losses(path, summaries):
    """Write the sheet of losses."""
    figures.write_figure(path, draw_losses(summaries, Labels(summaries)))


def draw_losses(summaries, labels):
    """Matplotlib figure of the losses and distances of the Summaries, a panel for each, the seeds in one panel."""
    from matplotlib.figure import Figure

    columns = min(COLUMNS, math.ceil(math.sqrt(len(summaries))))
    lines = math.ceil(len(summaries) / columns)
    figure = Figure(figsize=(4.6 * columns, 3.7 * lines), dpi=figures.DPI, layout="constrained")
    parts = np.atleast_1d(figure.subfigures(lines, columns)).ravel()
    for part, each in zip(parts, summaries):
        losses, distance = part.subplots(2, 1, sharex=True, height_ratios=(2, 1))
        part.suptitle(labels.combination(each.combination), fontsize=11, **figures.PLAIN)
        curves = [(run.curve, STYLES[k % len(STYLES)], run.training.run.seed) for k, run in enumerate(each.runs)
                  if run.curve is not None]
        _draw_panel(losses, distance, curves)
        if not curves:
            losses.text(0.5, 0.5, "no iteration", ha="center", transform=losses.transAxes)
    return figure


def _draw_panel(losses, distance, curves):
    """Draw [(run_measures.Curve, line style, seed)] on two axes."""
    from matplotlib.lines import Line2D

    shown = []
    for curve, style, _ in curves:
        at = np.linspace(0, curve.minutes[-1], POINTS)
        for name in ("critic", "generator"):
            line = run_measures.running_mean(curve, getattr(curve, name), at)
            shown.append(line)
            losses.plot(at, line, style, color=COLOURS[name], linewidth=1.3)
        known = np.isfinite(curve.distance)
        distance.plot(curve.minutes[known], curve.distance[known], style, marker=".", markersize=4,
                      color=COLOURS["distance"], linewidth=1.1)
    if shown:
        low, high = np.quantile(np.concatenate(shown), (WILD, 1 - WILD))
        room = 0.15 * (high - low) or 1
        losses.set_ylim(low - room, high + room)
    keys = [Line2D([], [], color=COLOURS[name], label=name) for name in ("critic", "generator")]
    keys += [Line2D([], [], color="0.4", linestyle=style, label=f"seed {seed}") for _, style, seed in curves]
    losses.legend(handles=keys, fontsize=9, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False,
                  borderaxespad=0.2, handlelength=1.6, columnspacing=1.2)
    _scale_distance(distance)
    losses.set_ylabel("loss", fontsize=9)
    distance.set_ylabel("distance", fontsize=9)
    distance.set_xlabel("minutes", fontsize=9)
    for axes in (losses, distance):
        axes.grid(alpha=0.3)
        axes.tick_params(labelsize=9)


def _scale_distance(axes):
    """A logarithmic axis if the distances on it differ by more than a factor of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    values = np.concatenate([line.get_ydata() for line in axes.lines] or [[]])
    if len(values) and values.min() > 0 and values.max() > 10 * values.min():
        axes.set_yscale("log")
        wide = values.max() > 100 * values.min()
        axes.yaxis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5)))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    elif len(values):
        axes.set_ylim(min(0, values.min()), 1.1 * values.max())


def draw_samples(path, summaries, real):
    """Write the sheet of samples: for each data folder some held-out images, then those of each run, with its seed."""
    labels, rows = Labels(summaries), {}
    for data, images in real.items():
        rows[f"{data}, held-out" if len(real) > 1 else "held-out"] = _evenly(images.held_out.pixels)
        rows |= {f"{labels.combination(each.combination)} {run.training.run.seed}": run.samples
                 for each in summaries if each.combination[0] == data
                 for run in each.runs if run.samples is not None}
    figures.real_grid(path, rows, _palette(*real.values()))


def _palette(*real):
    """The colours of real and generated images, by some real ones: those of a short training may not show it."""
    return fitted("red-green", [image for images in real for image in to_unit(_evenly(images.held_out.pixels))])


def _evenly(images):
    return images[np.linspace(0, len(images) - 1, min(SHOWN, len(images))).astype(int)]


# ---------------------------------------------------------------------------------------------- page

def write_page(path, summaries, real, number):
    """Write the page of a comparison.

    summaries   of run_measures.summarise
    real        {label of a data folder: run_measures.RealImages}
    number      of generated images of each run
    """
    labels, runs = Labels(summaries), [run for each in summaries for run in each.runs]
    notes = [f"measured from {number:,} generated images of each run", reference_line(real), *collapses(summaries),
             *undefined(summaries)]
    made = [provenance.command(), provenance.cpu_model(),
            ", ".join(f"{name} {version}" for name, version in provenance.versions().items())]
    text = PAGE.substitute(
        number=len(runs), title=html.escape(_title(summaries)), result=html.escape(result_line(summaries)),
        ranking=_html_table(*ranking_table(summaries), "the ranking", summaries[0].rank is not None)
        + _html_list(notes), runs=_html_table(*runs_table(summaries), "the runs"),
        losses="\n".join(_html_losses(each, labels) for each in summaries),
        samples="\n".join(_html_samples(data, images, summaries, len(real)) for data, images in real.items()),
        meaning="<dl>" + "".join(f"<dt><b>{html.escape(name)}</b></dt><dd>{html.escape(words)}</dd>"
                                 for name, words in MEANING) + "</dl>", made=html.escape("\n".join(made)))
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _title(summaries):
    return (f"{sum(len(each.runs) for each in summaries)} trainings of "
            f"{format_minutes(summaries[0].runs[0].training.seconds)} each")


def format_minutes(seconds):
    """"1 minute", "2.5 minutes"."""
    return f"{seconds / 60:g} minute{'' if seconds == 60 else 's'}"


def result_line(summaries):
    """Which combination is the closest, and which the steadiest, in a sentence."""
    labels = Labels(summaries)
    if summaries[0].rank is None:
        return "No run is done, so nothing is ranked."
    best = summaries[0]
    words = f"Closest to the held-out images: {labels.combination(best.combination)} (distance {best.distance:.3g}"
    words += f" ± {best.spread:.2g}" if best.spread is not None else ""
    words += f", {len(best.done)} of {len(best.runs)} runs{_collapsed(best)})."
    for steady in (each for each in summaries if each.steadiness_rank == 1):
        words += f" Steadiest losses: {labels.combination(steady.combination)}{_collapsed(steady)}."
    if best.spread is None:
        return words + " One seed each: the spread is unknown."
    near = [labels.combination(each.combination) for each in summaries[1:] if each.spread is not None
            and each.distance - best.distance < math.hypot(best.spread, each.spread)]
    return words + (f" Within the spread of the best: {', '.join(near)}." if near else "")


def _collapsed(summary):
    return f", {summary.collapsed} of which collapsed" if summary.collapsed else ""


def _html_table(header, rows, name, best=False):
    """A table that scrolls sideways on a narrow screen; `best` highlights its first row."""
    first = header.index("combination") if "combination" in header else 0
    head = "".join(f'<th scope="col"{_css(k, first, cell)}>{html.escape(cell)}</th>' for k, cell in enumerate(header))
    body = []
    for line, row in enumerate(rows):
        cells = "".join(f"<td{_css(k, first, header[k])}>{_html_cell(header[k], cell)}</td>"
                        for k, cell in enumerate(row))
        body.append(f'<tr{" class=best" if best and not line else ""}>{cells}</tr>')
    return (f'<div class="scroll" role="region" tabindex="0" aria-label="{html.escape(name)}"><table><thead><tr>{head}'
            f'</tr></thead><tbody>{"".join(body)}</tbody></table></div>')


def _css(k, first, title):
    return ' class="name"' if k == first else ' class="text"' if title == "remarks" else ""


def _html_cell(title, cell):
    bad = title == "remarks" or title == "collapsed" and cell not in ("0", NONE)
    return f'<span class="bad">{html.escape(cell)}</span>' if bad and cell else html.escape(cell)


def _html_list(lines):
    return '<ul class="notes">' + "".join(f"<li>{html.escape(line)}</li>" for line in lines) + "</ul>"


def _html_losses(summary, labels):
    picture = io.BytesIO()
    draw_losses([summary], labels).savefig(picture, format="png", dpi=SHARP, facecolor="white")
    ends = [f"seed {run.training.run.seed}: critic {run.curve.critic[-1]:.3g}, generator {run.curve.generator[-1]:.3g}"
            for run in summary.runs if run.curve is not None]
    alt = f"Losses and distances of {labels.combination(summary.combination)}; at the end {'; '.join(ends) or 'none'}"
    return _html_figure(picture.getvalue(), alt, "chart")


def _html_samples(data, images, summaries, folders):
    """The section of a data folder: some of its held-out images, and samples of each run."""
    labels, palette = Labels(summaries), _palette(images)
    parts = [_html_figure(_cells(_evenly(images.held_out.pixels), palette), "held-out images", "cells",
                          "held-out images")]
    for run in (run for each in summaries if each.combination[0] == data for run in each.runs):
        name = labels.run(run.training.run)
        if run.samples is None:
            parts.append(f"<figure><figcaption>{html.escape(name)}: none</figcaption></figure>")
        else:
            mark = " (collapsed)" if run.collapsed else ""
            parts.append(_html_figure(_cells(run.samples, palette), f"images generated by {name}", "cells",
                                      name + mark))
    title = f"Samples: {data}" if folders > 1 else "Samples"
    return f'<h2>{html.escape(title)}</h2>\n<div class="grid">' + "\n".join(parts) + "</div>"


def _cells(images, palette):
    from PIL import Image

    png = io.BytesIO()
    Image.fromarray(figures.sample_picture(to_signed(images), columns=4, palette=palette)).save(png, "png")
    return png.getvalue()


def _html_figure(png, alt, kind, caption=""):
    data = base64.b64encode(png).decode()
    below = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    return (f'<figure><img class="{kind}" alt="{html.escape(alt)}" src="data:image/png;base64,{data}">{below}</figure>')
