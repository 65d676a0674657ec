"""Tables of what `biogans evaluate` measured, as texts and as Markdown."""

import numpy as np

from . import markdown_text
from .results import OVERALL, REAL

FEATURES = {"frechet": "Fréchet ↓", "kernel": "kernel ↓", "precision": "precision ↑", "recall": "recall ↑",
            "density": "density ↑", "coverage": "coverage ↑", "right_factor": "right factor ↑"}
JOINT = {"c2st": "C2ST, all channels", "correlation_error": "correlations", "profile_error": "localisation",
         "spot_error": "spots"}
VARIETY = {"variety": "variety ↑", "least_variety": "least variety ↑"}
# Distances above are larger than those between images of different factors (Fréchet 40 to 90, kernel 7 to 15 for the
# simulated ones); their size means nothing.
FAR = {"frechet": 100, "kernel": 20}


def make_tables(combined):
    """[(title, header, rows of texts)] of results.Combined."""
    return [table for table in (_score_table(combined), _feature_table(combined), _pairs_table(combined),
                                _joint_table(combined), _variety_table(combined)) if table]


def _score_table(combined):
    if not combined.rows:
        return None
    factors = scored_factors(combined)
    return ("Two-sample test (C2ST): 0 is best", ["", *factors, OVERALL, "splits"],
            [[name, *(_entry(row, factor, "c2st", 1) for factor in (*factors, OVERALL)), _num_splits(combined, name)]
             for name, row in combined.rows.items()])


def _feature_table(combined):
    measured = {name: row for name, row in combined.rows.items() if {"frechet", "torn"} & row[OVERALL].keys()}
    if not measured:
        return None
    rows = [[name, *(_feature_entry(row, metric) for metric in FEATURES)] for name, row in measured.items()]
    far = "; far: further than images of different factors are from each other" * any("far" in row for row in rows)
    title = f"Features of the factors' classifier, mean over factors. ↓: 0 is best; ↑: 1 is best{far}"
    header = ["", *FEATURES.values()]
    if any("true_outlines" in result for result in combined.results):       # not those of earlier versions
        title += ". Torn: red outlines unlike true cells', of which 1 % count as torn"
        header += ["torn, % ↓"]
        rows = [[*texts, _entry(row, OVERALL, "torn", 1)] for texts, row in zip(rows, measured.values(), strict=True)]
    return title, header, rows


def _feature_entry(row, metric):
    return "far" if row[OVERALL].get(metric, (0,))[0] > FAR.get(metric, np.inf) else _entry(row, OVERALL, metric, 2)


def _pairs_table(combined):
    if not combined.pairs:
        return None
    names, grid = pairs_grid(combined)
    return ("Real images (columns) against real images of another factor (rows): the larger, the easier to distinguish",
            ["", *names],
            [[a, *(plus_minus(grid[a, b], 1) for b in names)] for a in names])


def _joint_table(combined):
    if not combined.joint:
        return None
    title, columns = "Cells with all factors against true ones: errors, 0 is best", JOINT
    if any("variety" in scores for scores in combined.joint.values()):    # not in results of earlier versions
        title += ". Variety of green given red: 1 is that of true cells, 0 is mode collapse"
        columns = JOINT | VARIETY
    return title, ["", *columns.values()], [[name, *(_joint_entry(scores, metric) for metric in columns)]
                                            for name, scores in combined.joint.items()]


def _joint_entry(scores, metric):
    digits = 1 if metric == "c2st" else 2 if metric in VARIETY else 3
    return plus_minus(scores[metric], digits) if metric in scores else "–"


def _variety_table(combined):
    rows = [[name, *(plus_minus((ratio, np.nan), 2) for ratio in scores["varieties"])]
            for name, scores in combined.joint.items() if "varieties" in scores]
    return rows and ("Variety of each green given red, relative to true cells", ["", *combined.channels[1:]], rows)


def scored_factors(combined):
    """Names of all factors that have scores, in the order of the rows."""
    return list(dict.fromkeys(factor for row in combined.rows.values() for factor in row if factor != OVERALL))


def pairs_grid(combined):
    """(names of factors, {(samples, held out): (mean, sd)}), with real images of the same factor on the diagonal."""
    names = list(dict.fromkeys(a for a, _ in combined.pairs))
    same = combined.rows.get(REAL, {})
    return names, combined.pairs | {(name, name): same[name]["c2st"] if name in same else (np.nan, np.nan)
                                    for name in names}


def score_line(scores):
    """The scores of one split as a line of text."""
    if "pairs" in scores:
        mean = np.mean([list(row.values()) for row in scores["pairs"].values()])
        return f"C2ST between factors {mean:.2f} on average"
    text = "C2ST " + ", ".join(f"{name} {values['c2st']:.2f}" for name, values in scores["scores"].items())
    return text + "".join(f"; {name} {values['c2st']:.2f}" for name, values in scores.get("joint_scores", {}).items())


def plus_minus(statistics, digits):
    """(mean, sd) as text, "mean ± sd"; without sd for a single split, a dash for no value."""
    mean, sd = statistics
    if not np.isfinite(mean):
        return "–"
    mean = round(mean, digits) + 0.0                        # turns -0.0 into 0.0
    return f"{mean:.{digits}f}" + (f" ± {sd:.{digits}f}" if np.isfinite(sd) else "")


def _entry(row, factor, metric, digits):
    return plus_minus(row[factor][metric], digits) if metric in row.get(factor, {}) else "–"


def _num_splits(combined, name):
    return str(len({result["split"] for result in combined.results if result["name"] == name}))


def markdown(combined):
    """All tables as Markdown."""
    lines = []
    for title, header, rows in make_tables(combined):
        texts = (header, ["---"] * len(header), *rows)
        lines += [f"**{title}**", "", *(markdown_text.row(map(markdown_text.plain, cells)) for cells in texts), ""]
    return "\n".join(lines)
