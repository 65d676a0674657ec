"""Movies and strips of cells: their frames, and how they are written as MP4 and PNG; system/gifs.py writes GIFs."""

import math

import numpy as np

from ..core import figures
from ..system.files import replacing
from ..system.lattice import INK, label_font, lattice
from ..system.palettes import fitted
from ..system.pixels import to_unit, unit_to_bytes

TILE = 240                  # screen pixels: approximate width of a panel of a movie
STRIP_TILE = 160            # the same for a panel of a strip
LABEL = 22                  # screen pixels above each panel
GAP = 4                     # screen pixels between panels


class Movie:
    """Frames of a movie, uint8 (height, width, 3), both sides even; each is made on request.

    cells   (frames, H, W, channels) in [0, 1]; `names` are those of the channels, the red marker first
    scale   screen pixels per pixel, interpolated bicubically; by default panels are about TILE wide
    """

    def __init__(self, cells, names, scale=None, palette="red-green"):
        self.cells, self.palette = cells, fitted(palette, cells)
        self.names = figures.shown_names(names, self.palette)
        high, wide = cells.shape[1:3]
        self.scale = scale or max(1, round(TILE / wide))
        panels = len(self.panels(0))
        rows = max(1, int(math.sqrt(panels * wide / high * 9 / 16)))
        self.rows, self.columns = rows, math.ceil(panels / rows)

    def panels(self, k):
        """The `cell_panels` of frame k."""
        return cell_panels(self.cells[k], self.names, self.palette)

    def __len__(self):
        return len(self.cells)

    def __getitem__(self, k):
        from PIL import Image, ImageDraw

        panels = [(name, _enlarged(image, self.scale), hue) for name, image, hue in self.panels(k)]
        wide, high = panels[0][1].width + GAP, panels[0][1].height + LABEL
        picture = Image.new("RGB", [-(-side // 2) * 2 for side in (self.columns * wide, self.rows * high)])
        pen, font = ImageDraw.Draw(picture), label_font(13)
        for position, (name, tile, hue) in enumerate(panels):
            row, column = divmod(position, self.columns)
            picture.paste(tile, (column * wide, row * high + LABEL))
            pen.text((column * wide + tile.width // 2, row * high + LABEL // 2), name, hue, font, anchor="mm")
        return np.asarray(picture)


def cell_panels(cell, names, palette):
    """[(name, RGB image, colour of the name)] of a `cell` (H, W, channels): red, its merge with each green, all greens.

    A name has the colour of its factor in the panel of all greens. `palette` is fitted to the cells.
    """
    if len(names) == 1:
        return [(names[0], figures.tile(cell, palette), INK)]
    shining = figures.shining_greens(len(names), palette)
    hues = dict(zip(shining, map(tuple, unit_to_bytes(figures.hues(len(shining))).tolist())))
    panels = [(name, image, hues.get(k, INK))
              for k, (name, image) in enumerate(zip(names, figures.marker_and_merges(cell, palette), strict=True))]
    everything = [("all factors", figures.composite(np.moveaxis(cell[..., shining], -1, 0)), INK)] if shining else []
    return panels + everything


def write_mp4(path, frames, fps):
    """Write `frames` (uint8, of even sides) as MP4 in H.264, which every browser plays."""
    import imageio.v2

    settings = {"format": "FFMPEG", "fps": fps, "codec": "libx264", "quality": 8, "macro_block_size": 2}
    with replacing(path) as temporary, imageio.v2.get_writer(temporary, **settings) as writer:
        for k in range(len(frames)):
            writer.append_data(frames[k])


def write_strip(path, movie, titles):
    """Write a PNG of some frames of a Movie: `titles`, {frame: title}, names the columns; panels are the rows."""
    columns = [movie.panels(frame) for frame in titles]
    scale = max(1, round(STRIP_TILE / movie.cells.shape[2]))
    rows = [[to_unit(_enlarged(image, scale)) for _, image, _ in row] for row in zip(*columns)]
    figures.write_picture(path, lattice(rows, list(titles.values()), [name for name, _, _ in columns[0]]))


def _enlarged(image, scale):
    """Pillow picture of an RGB `image` (H, W, 3) in [0, 1], each side `scale` times as long."""
    from PIL import Image

    tile = Image.fromarray(unit_to_bytes(image))
    return tile.resize((tile.width * scale, tile.height * scale), Image.Resampling.BICUBIC)
