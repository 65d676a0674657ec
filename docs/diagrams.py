#!/usr/bin/env python3
"""Draw the diagrams of the documentation and the course: `make diagrams` writes docs/diagram_*.png.

A diagram is a function that draws on a Canvas; DIAGRAMS has its name, its size and what it shows. Cells are simulated.
"""

import sys
from pathlib import Path

import numpy as np

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent / "src"))
from biogans.core.figures import merge, write_figure
from biogans.data import yeast
from biogans.system.palettes import Palette
from biogans.system.pixels import to_unit

NETWORK, DATA, LOSS = "#d6e8f5", "#f2f2f2", "#fbe5d0"       # fills: what learns, what it reads, its aim
RED, GREEN, INK = "#c0409a", "#2b8a3e", "#333333"
GREENS = ("Alp14", "Arp3", "Tea1")
PALETTE = Palette("magenta-green", ())


class Canvas:
    """Boxes, cells and arrows in a coordinate system of `width` by `height` units of half an inch, y upwards."""

    def __init__(self, width, height):
        from matplotlib.figure import Figure
        self.figure = Figure((width / 2, height / 2), dpi=150, facecolor="white")
        self.axes = self.figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
        self.axes.set_axis_off()

    def box(self, centre, text, fill=NETWORK, size=(2.2, 1.0), edge=INK):
        """A rounded box with text in its middle."""
        from matplotlib.patches import FancyBboxPatch
        corner = (centre[0] - size[0] / 2 + 0.1, centre[1] - size[1] / 2 + 0.1)
        self.axes.add_patch(FancyBboxPatch(corner, size[0] - 0.2, size[1] - 0.2, "round,pad=0.1", facecolor=fill,
                                           edgecolor=edge, linewidth=1.3))
        self.text(centre, text)

    def text(self, at, text, colour=INK, size=9, **look):
        self.axes.text(*at, text, color=colour, fontsize=size, ha=look.pop("ha", "center"), va="center", **look)

    def arrow(self, start, end, colour=INK, bend=0.0, dashed=False):
        """An arrow from a point to another; `bend` is its height over its length."""
        self.axes.annotate("", end, start, arrowprops={
            "arrowstyle": "-|>", "color": colour, "linewidth": 1.3, "linestyle": "--" if dashed else "-",
            "connectionstyle": f"arc3,rad={bend}", "shrinkA": 0, "shrinkB": 0})

    def cell(self, centre, image, width=1.6, name=""):
        """An image (height, width, 3) in [0, 1], `width` units wide, with a name below."""
        height = width * image.shape[0] / image.shape[1]
        self.axes.imshow(image, extent=(centre[0] - width / 2, centre[0] + width / 2,
                                        centre[1] - height / 2, centre[1] + height / 2), aspect="auto", zorder=3)
        self.text((centre[0], centre[1] - height / 2 - 0.22), name, size=8)

    def cells(self, centre, images, width=1.2, name=""):
        """A small pile of images."""
        for k, image in enumerate(images):
            shift = 0.22 * (len(images) - 1 - k)
            self.cell((centre[0] + shift, centre[1] + shift), image, width, name if k == len(images) - 1 else "")


def simulated(number, first=0):
    """[{"red", a factor, or "red and" a factor: RGB image}] of simulated cells, from the `first` on."""
    found = []
    for index in range(first, first + number):
        rng = yeast.cell_rng(7, 0, index)
        cell = yeast.sample_cell(rng, 0.3 + 0.15 * (index - first))
        stack = to_unit(yeast.render(cell, ("Bgs4", *GREENS), rng))[8:-8]
        alone = {"red": merge(np.stack([stack[..., 0], 0 * stack[..., 0]], axis=-1), PALETTE)}
        for k, name in enumerate(GREENS, 1):
            alone[name] = merge(np.stack([0 * stack[..., k], stack[..., k]], axis=-1), PALETTE)
            alone[f"red and {name}"] = merge(stack[..., [0, k]], PALETTE)
        found.append(alone)
    return found


def game(canvas):
    generated, *real = simulated(4)
    canvas.box((1.2, 3.6), "noise z", DATA, (1.6, 0.9))
    canvas.box((4.2, 3.6), "generator G")
    canvas.cell((7.3, 3.6), generated["red and Arp3"], 1.9, "generated cell G(z)")
    canvas.cells((7.1, 0.95), [each["red and Arp3"] for each in real], 1.6, "real cells x")
    canvas.box((10.8, 2.4), "discriminator D\nor critic f", size=(2.6, 1.3))
    canvas.box((14.6, 2.4), "score: real\nor generated?", LOSS, (2.4, 1.2))
    for start, end in (((2.0, 3.6), (3.1, 3.6)), ((5.3, 3.6), (6.3, 3.6)), ((8.3, 3.5), (9.5, 2.8)),
                       ((8.4, 1.2), (9.5, 2.0)), ((12.1, 2.4), (13.4, 2.4))):
        canvas.arrow(start, end)
    canvas.arrow((14.6, 3.05), (4.2, 4.15), RED, 0.22, True)
    canvas.text((9.4, 5.3), "G learns to raise the score of its cells", RED)
    canvas.arrow((14.6, 1.75), (10.8, 1.7), GREEN, -0.45, True)
    canvas.text((12.7, 0.5), "D learns to tell them apart", GREEN)


def architectures(canvas):
    cell = simulated(1)[0]
    for x, title, towers in ((0, "joint (DCGAN)", 0), (6.3, "separable", 1), (12.4, "star-shaped", 3)):
        canvas.text((x + 2.9, 7.6), title, size=11, weight="bold")
        if not towers:
            canvas.box((x + 2.9, 6.6), "z", DATA, (2.4, 0.7))
            canvas.box((x + 2.9, 4.8), "one network\nfor both channels", size=(3.2, 1.3))
            canvas.arrow((x + 2.9, 6.25), (x + 2.9, 5.45))
            canvas.arrow((x + 2.9, 4.15), (x + 2.9, 3.3))
            canvas.cell((x + 2.9, 2.8), cell["red and Arp3"], 1.7)
            _judge(canvas, (x + 2.9, 0.75), (x + 2.9, 2.25))
            continue
        red_x = x + 1.0
        canvas.box((red_x, 6.6), "red part of z", "#f3dcec", (2.0, 0.7), RED)
        canvas.box((red_x, 4.8), "red\ntower", "#f3dcec", (1.3, 1.3), RED)
        canvas.arrow((red_x, 6.25), (red_x, 5.45), colour=RED)
        canvas.arrow((red_x, 4.15), (red_x, 3.2), colour=RED)
        canvas.cell((red_x, 2.8), cell["red"], 1.3)
        places = [x + 3.8] if towers == 1 else [x + 3.0, x + 4.5, x + 6.0]
        canvas.box((np.mean(places), 6.6), "green part of z", "#dcefdf", (2.3, 0.7), GREEN)
        for k, place in enumerate(places):
            name = "Arp3" if towers == 1 else GREENS[k]
            canvas.box((place, 4.8), f"green\n{name}", "#dcefdf", (1.3, 1.3), GREEN)
            canvas.arrow((np.mean(places), 6.25), (place, 5.45), colour=GREEN)
            canvas.arrow((red_x + 0.5, 4.15), (place - 0.4, 4.15), colour=RED, bend=0.3)
            canvas.arrow((place, 4.15), (place, 3.2), colour=GREEN)
            canvas.cell((place, 2.8), cell[name], 1.3)
            _judge(canvas, (place, 0.75), (place, 2.4), "critic" if towers == 1 else f"critic\n{name}", (1.3, 0.9))
            canvas.arrow((red_x, 2.4), (place - 0.65, 0.9), colour=RED)


def _judge(canvas, at, start, text="critic", size=(1.6, 0.9)):
    canvas.box(at, text, LOSS, size)
    canvas.arrow(start, (at[0], at[1] + size[1] / 2))


def batch(canvas):
    real, generated = simulated(3), simulated(3, 10)
    canvas.text((4.1, 7.6), "a batch: 8 real images of each factor", size=10, weight="bold")
    canvas.text((13.0, 7.6), "and 8 generated cells, seen in pairs", size=10, weight="bold")
    for name, height in zip(GREENS, (6.0, 3.7, 1.4), strict=True):
        canvas.cells((2.2, height), [each[f"red and {name}"] for each in real], 1.8, f"real: {name}")
        canvas.cells((14.2, height), [each[f"red and {name}"] for each in generated], 1.8,
                     f"the same cells: red and green {name}")
        canvas.box((8.2, height), f"critic of {name}", LOSS, (2.8, 1.0))
        canvas.arrow((3.8, height), (6.8, height))
        canvas.arrow((12.9, height), (9.6, height))


def infogan(canvas):
    cell = simulated(1)[0]["red and Tea1"]
    canvas.box((1.4, 3.5), "noise z", DATA, (1.8, 0.8))
    canvas.box((1.4, 2.0), "codes c\ncategory, sliders", DATA, (2.4, 1.0), RED)
    canvas.box((5.2, 2.8), "generator G")
    canvas.cell((8.4, 2.8), cell, 1.9, "G(z, c)")
    canvas.box((11.6, 2.8), "layers that\nboth share", size=(2.2, 1.1))
    canvas.box((15.2, 3.9), "critic: real\nor generated?", LOSS, (2.5, 1.0))
    canvas.box((15.2, 1.6), "Q: which codes\nmade this cell?", LOSS, (2.5, 1.0), RED)
    for start, end in (((2.3, 3.4), (4.1, 3.0)), ((6.3, 2.8), (7.4, 2.8)), ((9.4, 2.8), (10.5, 2.8)),
                       ((12.7, 3.1), (13.9, 3.7)), ((12.7, 2.5), (13.9, 1.8))):
        canvas.arrow(start, end)
    canvas.arrow((2.6, 2.1), (4.1, 2.6), colour=RED)
    canvas.arrow((15.2, 1.1), (1.4, 1.5), RED, -0.09, True)
    canvas.text((8.3, 0.35), "G and Q learn together to keep c readable from the cell", RED)


def two_sample(canvas):
    real, fake = simulated(3), simulated(3, 10)
    for y, name, cells in ((4.9, "held-out real images", real), (1.8, "generated images", fake)):
        canvas.cells((1.5, y), [each["red and Alp14"] for each in cells], 1.6, name)
        for height, half in ((y + 0.75, "one half"), (y - 0.6, "other half")):
            canvas.box((5.4, height), half, DATA, (1.8, 0.8))
            canvas.arrow((2.8, y + 0.1), (4.5, height))
    canvas.box((10.0, 4.9), "a new critic is trained\nto tell them apart", size=(3.4, 1.3))
    canvas.box((10.0, 1.6), "the trained critic\nscores what it never saw", size=(3.4, 1.3))
    canvas.box((15.2, 1.6), "score: 0 if it finds\nno lasting difference", LOSS, (3.2, 1.3))
    for start, end in (((6.3, 5.65), (8.3, 5.2)), ((6.3, 2.6), (8.3, 4.6)), ((6.3, 4.3), (8.3, 2.1)),
                       ((6.3, 1.2), (8.3, 1.4)), ((10.0, 4.25), (10.0, 2.25)), ((11.7, 1.6), (13.6, 1.6))):
        canvas.arrow(start, end)


DIAGRAMS = {            # name: (function, width and height)
    "game": (game, (16.2, 5.6)),
    "architectures": (architectures, (19.4, 8.0)),
    "batch": (batch, (17.2, 8.0)),
    "infogan": (infogan, (16.8, 5.0)),
    "two_sample": (two_sample, (17.2, 6.6)),
}


def main(folder=DOCS):
    """Write all diagrams to a folder."""
    for name, (draw, size) in DIAGRAMS.items():
        canvas = Canvas(*size)
        draw(canvas)
        path = Path(folder) / f"diagram_{name}.png"
        write_figure(path, canvas.figure)
        print(path)


if __name__ == "__main__":
    main()
