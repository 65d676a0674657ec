"""The contact sheet: one frame of several videos before and after each step."""

import numpy as np

from ..core import figures
from ..system.files import replacing
from ..system.lattice import lattice
from ..system.pixels import to_unit
from . import frame_filters
from .crops import find_crops
from .processing import structure_mask, to_output

SHEET_ROWS, PANEL = 6, 160              # videos on the sheet, and pixels along a side of a panel
KEPT, DISCARDED = (0.2, 1, 0.3), (1, 0.3, 0.2)      # colours of crops


def panels_of(example, measurements, reference, recipe):
    """[(title, RGB in [0, 1] (height, width, 3))] of a processing.Example before and after each step."""
    mask = structure_mask(example.images, reference, recipe.settings)
    panels = [("raw", _gray(example.stages["raw"]))]
    if "drift" in recipe.steps:
        registered = [frame_filters.shifted(frame, -measurements.drift[number])
                      for number, frame in zip((0, -1), example.ends)]
        panels += [("first + last", _overlay(*example.ends)), ("registered", _overlay(*registered))]
    for name in ("background", "denoise", "edges"):
        if name in recipe.steps:
            panels.append((name, _gray(example.stages[name])))
    if "threshold" in recipe.steps:
        panels.append(("mask", _gray(mask.astype(np.float32), 0, 1)))
    title = "standardised, crops" if "standardise" in recipe.steps else "crops"
    return panels + [(title, _with_crops(example, mask, measurements, reference, recipe))]


def _with_crops(example, mask, measurements, reference, recipe):
    """The final image with a frame around each crop."""
    final = to_output(example.images, mask, reference, recipe)
    framed = to_unit(np.repeat(final[..., :1], 3, axis=-1))
    drift = measurements.drift[example.number]
    for crop in find_crops(mask, example.images[0], drift, reference, recipe.settings):
        bottom, end = crop.down + recipe.settings.size[0] - 1, crop.right + recipe.settings.size[1] - 1
        colour = KEPT if crop.kept else DISCARDED
        framed[[crop.down, bottom], crop.right:end + 1] = colour
        framed[crop.down:bottom + 1, [crop.right, end]] = colour
    return framed


def _gray(image, low=None, high=None):
    low, high = (np.quantile(image, q) if given is None else given for q, given in ((0.01, low), (0.998, high)))
    return np.repeat(np.clip((image - low) / max(high - low, 1e-12), 0, 1)[..., None], 3, axis=-1)


def _overlay(first, last):
    """Magenta and green: white where they agree."""
    return np.stack([_gray(first)[..., 0], _gray(last)[..., 0], _gray(first)[..., 0]], axis=-1)


def write_strip(path, panels):
    """Write the panels of one video side by side, cut to their middle, with their titles in the metadata."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo
    side = 2 * PANEL
    tiles = []
    for _, image in panels:
        high, wide = image.shape[:2]
        part = min(high, wide, side)
        image = image[(high - part) // 2:(high + part) // 2, (wide - part) // 2:(wide + part) // 2]
        tile = Image.fromarray((255 * image).astype(np.uint8))
        tiles.append(tile.resize((side, side), Image.Resampling.BOX if part == side else Image.Resampling.NEAREST))
    titles = PngInfo()
    titles.add_text("names", "|".join(title for title, _ in panels))
    with replacing(path) as temporary:
        strip = Image.fromarray(np.concatenate([np.asarray(tile) for tile in tiles], axis=1))
        strip.save(temporary, format="PNG", pnginfo=titles)


def write_contact_sheet(path, strips):
    """Put strips [(name, path)] of some videos one below the other; strips with other titles are left out."""
    from PIL import Image
    if not strips:
        return
    rows, names, header = [], [], []
    for name, strip_path in [strips[k] for k in sorted(set(np.linspace(0, len(strips) - 1, SHEET_ROWS).astype(int)))]:
        with Image.open(strip_path, formats=("PNG",)) as strip:
            titles = strip.text["names"].split("|")
            pixels = to_unit(np.asarray(strip))
        if not header or titles == header:
            header = titles
            rows.append(np.split(pixels, len(titles), axis=1))
            names.append(name)
    figures.write_picture(path, lattice(rows, header, names))
