"""Panels: headings are wrapped to the width of the figure."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from biogans.system.panels import MARGIN, Heading, draw_panels


@pytest.mark.parametrize("what", ["", "short", "some words " * 12, "some words " * 100, "x" * 500])
@pytest.mark.parametrize("wide", [10, 900])
def test_a_heading_is_wrapped_and_shortened(what, wide):
    figure = draw_panels([[("red", np.zeros((20, wide, 3)), 1)]], [], Heading(what, "images/stack.h5"))[0].figure
    lines = [text.get_text() for text in figure.texts]
    assert lines[-1] == "images/stack.h5" and len(lines) <= 4
    assert " ".join(lines[:-1]) == what.strip() or lines[-2].endswith("…")
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.texts] + [figure.axes[0].title.get_window_extent()]
    assert all(0 <= box.x0 and box.x1 <= figure.bbox.x1 - MARGIN / 2 and box.y1 <= figure.bbox.y1 for box in boxes)
    assert all(above.y0 > below.y1 - 1 for above, below in zip(boxes, boxes[1:]))


def test_panels_are_drawn_on_a_given_figure_without_a_heading():
    figure = Figure()
    axes = draw_panels([[("", np.zeros((20, 30, 3)), 2)]], [("Tea1", (1, 0, 0))], Heading(), figure)
    assert axes[0].figure is figure and not figure.texts
    assert axes[0].get_window_extent().width == pytest.approx(60)
