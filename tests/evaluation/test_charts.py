"""The figures of a table: no two of many rows look alike."""

import numpy as np

from biogans.evaluation import charts, joint, results

ROWS = [f"row {k}" for k in range(25)]


def table_of_many_rows():
    score = {"c2st": (1.0, 0.1)}
    profiles, spots, correlations = np.ones((3, 2, joint.POSITIONS)), np.ones(2), np.eye(2)
    cells = {"correlations": correlations, "profiles": profiles, "spots": spots}
    cells |= {f"true_{name}": values for name, values in cells.items()}
    return results.Combined(rows={name: {"Tea1": score, results.OVERALL: score} for name in ROWS}, pairs={},
                            joint=dict.fromkeys(ROWS, cells), channels=["red", "Tea1"], results=[])


def test_the_marks_of_all_rows_differ():
    axes, = charts.make_charts(table_of_many_rows())["c2st"].axes
    looks = {(bars[0].get_color(), bars[0].get_marker()) for bars in axes.containers}
    assert [bars.get_label() for bars in axes.containers] == ROWS and len(looks) == len(ROWS)


def test_the_lines_and_the_bars_of_all_rows_differ():
    """Those of the truth, too."""
    panels = charts.make_charts(table_of_many_rows())["localisation"].axes
    lines = {(line.get_color(), line.get_linestyle()) for line in panels[0].lines}
    bars = {(bar.get_facecolor(), bar.get_hatch()) for bar in panels[-1].patches}
    assert len(lines) == len(bars) == 1 + len(ROWS)
