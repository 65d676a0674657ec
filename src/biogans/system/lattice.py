"""Pictures of many equally large tiles, assembled pixel by pixel, with their names."""

import functools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .pixels import unit_to_bytes

SEPARATOR = 2                           # pixels between the tiles
SMALLEST_WIDTH = 600                    # pixels of a picture; smaller ones are magnified by a whole number
LINE, PAPER, INK = (96, 96, 96), (24, 24, 24), (235, 235, 235)
LABEL = 22                              # pixels: least height of the title, and of each line of the header
PAGE, LEGIBLE = 830, 11                 # pixels: width of a picture on a web page, and least size of its letters there
MOST_NAMES = 160                        # pixels: largest width of the names of rows, in letters of 14 pixels


def lattice(rows: Sequence[Sequence[np.ndarray]], header: Sequence[str] = (), names: Sequence[str] = (),
            title: str = "") -> np.ndarray:
    """Picture, uint8 (height, width, 3), of rows of equally large RGB tiles (height, width, 3) in [0, 1].

    header, names   names of the columns, and of the rows
    title           a line above everything, in a smaller font if necessary

    Letters are large enough for a picture that is shown PAGE wide.
    """
    high, wide = rows[0][0].shape[:2]
    columns = max(len(row) for row in rows)
    scale = math.ceil(((SMALLEST_WIDTH - SEPARATOR) / columns - SEPARATOR) / wide)
    scale = max(1, min(scale, 2 * SMALLEST_WIDTH // high))
    high, wide = high * scale, wide * scale
    size = max(min(14, wide // 9), legible(columns * (wide + SEPARATOR) + MOST_NAMES * bool(names)))
    font, line = label_font(size), max(LABEL, 3 * size // 2)
    left = min(MOST_NAMES * size // 14, max(math.ceil(font.getlength(one_line(name))) for name in names) + 12
               ) if names else 0
    header = [_in_lines(name, font, wide) for name in header]
    top = line * (bool(title) + max((1 + name.count("\n") for name in header), default=0))
    body = np.full((SEPARATOR + len(rows) * (high + SEPARATOR), SEPARATOR + columns * (wide + SEPARATOR), 3), LINE,
                   "uint8")
    for y, row in enumerate(rows):
        for x, colours in enumerate(row):
            below, right = (SEPARATOR + y * (high + SEPARATOR), SEPARATOR + x * (wide + SEPARATOR))
            magnified = unit_to_bytes(colours).repeat(scale, axis=0).repeat(scale, axis=1)
            body[below:below + high, right:right + wide] = magnified
    picture = Image.new("RGB", (left + body.shape[1], top + body.shape[0]), PAPER)
    picture.paste(Image.fromarray(body), (left, top))
    pen = ImageDraw.Draw(picture)
    if title:
        text, title_font = _in_a_fitting_font(title, picture.width - 12)
        pen.text((6, line // 2), text, INK, title_font, anchor="lm")
    for x, name in enumerate(header):
        centre = left + SEPARATOR + x * (wide + SEPARATOR) + wide // 2
        pen.text((centre, top - line * (1 + name.count("\n")) // 2), name, INK, font, anchor="mm", align="center")
    for y, name in enumerate(names):
        centre = top + SEPARATOR + y * (high + SEPARATOR) + high // 2
        pen.text((6, centre), _fitting(name, font, left - 8), INK, font, anchor="lm")
    return np.asarray(picture)


@functools.lru_cache
def label_font(size: int) -> ImageFont.FreeTypeFont:
    """The font of labels, DejaVu Sans, which Matplotlib includes: that of Pillow has neither µ nor other Greek letters.
    """
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)


def legible(width: int) -> int:
    """Size in pixels of letters in a picture of this width that have LEGIBLE pixels where it is shown PAGE wide."""
    return math.ceil(LEGIBLE * max(1, width / PAGE))


def one_line(name: str) -> str:
    """`name` without line breaks."""
    return " ".join(str(name).split())


def _in_a_fitting_font(line, width):
    """(line, font) such that the line fits into `width` pixels: smaller if it is long, and shortened in the end."""
    least = legible(width)
    for size in range(max(13, least), least - 1, -1):
        font = label_font(size)
        if font.getlength(one_line(line)) <= width:
            break
    return _fitting(line, font, width), font


def _in_lines(name, font, width):
    """`name` in one line or, if it is too long and has a space, in two, as far as they fit."""
    name = one_line(name)
    spaces = [k for k, letter in enumerate(name) if letter == " "]
    if font.getlength(name) <= width or not spaces:
        return _fitting(name, font, width)
    middle = min(spaces, key=lambda k: max(font.getlength(name[:k]), font.getlength(name[k + 1:])))
    return "\n".join(_fitting(part, font, width) for part in (name[:middle], name[middle + 1:]))


def _fitting(name, font, width):
    """As much of `name` as fits into `width` pixels in this `font`."""
    name = one_line(name)
    if font.getlength(name) <= width:
        return name
    while name and font.getlength(name + "…") > width:
        name = name[:-1]
    return name + "…"
