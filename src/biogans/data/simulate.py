"""Simulate fission yeast cells: the sample data, and ground truth for evaluation."""

from pathlib import Path

import numpy as np

from .. import __version__
from ..system import arguments, launch
from ..system.errors import InputError
from ..system.files import replacing
from ..system.palettes import Palette, merge
from ..system.pixels import to_unit, unit_to_bytes
from . import yeast
from .data_folder import check_output, filling, write_manifest
from .yeast import CHANNELS, COLUMNS, FACTORS, PIXEL, ROWS

FULL = 24219, 2690                      # LIN has 26,909 images of six factors; nine in ten for training is our choice
DATASET = "LIN_Normalized_WT_size-48-80"
TRAIN, TEST, JOINT = range(3)           # the three streams of cells: no cell is in two of them
OFFSET, GAIN, READ_NOISE = 110, 12, 2.0                 # counts of the camera: at no light, per grey level, deviation
HOT, SATURATED = 2e-4, 65535                            # share of pixels that always count as many
REPEATED, REPEATS = 60, 4               # joint cells that have further greens, and their number: 1.6 MB


# --- files ------------------------------------------------------------------------------------------------------

def write_sample(folder, numbers, seed, save):
    """Write two-channel images for training and test, and seven-channel cells, into `folder`.

    numbers   (training images, test images, joint cells)
    save      save_png or save_counts
    """
    train, test, joint = numbers
    with progress(train + test + joint) as meter, filling(Path(folder)) as new:
        write_images(new / f"{DATASET}_train", range(train), (seed, TRAIN), save, meter)
        write_images(new / f"{DATASET}_test", range(test), (seed, TEST), save, meter)
        write_joint(new / "joint_test.h5", joint, seed, meter)
        (new / "SIMULATED.txt").write_text(NOTICE.format(version=__version__, seed=seed, pixel=PIXEL),
                                           encoding="utf-8")


NOTICE = """\
The images in this folder were simulated by biogans simulate (biogans {version}, seed {seed}); none shows a real cell.
The pixel size is {pixel} µm. Red is Bgs4; green is the polarity factor that gives the subfolder its name.
"""


def progress(total):
    """Progress bar on standard error, if that is a terminal."""
    from tqdm import tqdm  # slow to import: --help does without it
    return tqdm(total=total, unit=" cells", disable=None)


def write_images(folder, indices, stream, save, meter):
    """Write an image for each index, red Bgs4 and green each factor in turn, so that numbers differ by at most one.

    stream   (seed, one of the three streams of cells)
    save     save_png or save_counts

    The manifest beside them has a line for each image: the file, the factor and the properties of the cell.
    """
    for factor in FACTORS:
        (folder / factor).mkdir(parents=True)
    rows = []
    for index in indices:
        factor = list(FACTORS)[index % len(FACTORS)]
        rng = yeast.cell_rng(*stream, index)
        cell = yeast.sample_cell(rng)
        name = f"{factor}/cell{100000 * (1 + stream[1]) + index}"
        path = save(folder / name, yeast.render(cell, ("Bgs4", factor), rng), rng)
        rows.append({"file": f"{factor}/{path.name}", "factor": factor, **properties(cell), "seed": stream[0],
                     "index": index,
                     "source": "simulated"})
        meter.update()
    write_manifest(folder / "manifest.csv", rows)


def save_png(path, red_green, rng):
    """Save a uint8 image (ROWS, COLUMNS, 2) as RGB, with its pixel size and its origin, which copies keep.

    path   of the file without its suffix; returns the whole
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo
    origin = PngInfo()
    origin.add_text("Source", "simulated by biogans")
    rgb = np.concatenate([red_green, np.zeros_like(red_green[..., :1])], axis=-1)
    per_inch = 0.0254 / (PIXEL * 1e-6)
    path = path.with_name(f"{path.name}.png")
    Image.fromarray(rgb).save(path, dpi=(per_inch, per_inch), pnginfo=origin, optimize=True)
    return path


def save_counts(path, red_green, rng):
    """Save a uint8 image (ROWS, COLUMNS, 2) as the counts of a camera, an OME-TIFF of two 16-bit channels.

    The camera has an offset, a gain, noise and some hot pixels. Like `save_png`, returns the path.
    """
    import tifffile
    counts = OFFSET + GAIN * np.moveaxis(red_green.astype(float), -1, 0) + rng.normal(0, READ_NOISE, (2, ROWS, COLUMNS))
    counts[rng.random(counts.shape) < HOT] = SATURATED
    path = path.with_name(f"{path.name}.ome.tif")
    sizes = {f"PhysicalSize{axis}": PIXEL for axis in "XY"} | {f"PhysicalSize{axis}Unit": "µm" for axis in "XY"}
    tifffile.imwrite(path, np.rint(counts).clip(0, SATURATED).astype(np.uint16), photometric="minisblack",
                     metadata={"axes": "CYX", "Description": "simulated by biogans", **sizes})
    return path


def properties(cell):
    """Properties of a cell for the manifest and the joint file: {name: value}."""
    return {"t": round(cell.t, 4), "length_um": round(cell.length_um, 3), "width_um": round(cell.width_um, 3),
            "orientation": cell.orientation, "old_tip": round(cell.old_tip, 3), "new_tip": round(cell.new_tip, 3),
            "septum": round(cell.septum, 3), "nuclei": len(cell.nuclei)}


def write_joint(target, count, seed, meter):
    """Write held-out cells with all channels: datasets `stack`, (count, ROWS, COLUMNS, 7), and one per property.

    The dataset `repeats`, (at most REPEATED, REPEATS, ROWS, COLUMNS, 6), has further greens of the first cells. Their
    red stays, and all that it does not show is sampled again.
    """
    import h5py
    stack = np.zeros((count, ROWS, COLUMNS, len(CHANNELS)), np.uint8)
    repeats = np.zeros((min(count, REPEATED), REPEATS, ROWS, COLUMNS, len(FACTORS)), np.uint8)
    rows = []
    for index in range(count):
        rng = yeast.cell_rng(seed, JOINT, index)
        cell = yeast.sample_cell(rng)
        stack[index] = yeast.render(cell, CHANNELS, rng)
        if index < len(repeats):
            repeats[index] = yeast.render_greens_again(cell, REPEATS, yeast.cell_rng(seed, JOINT, index))
        rows.append(properties(cell))
        meter.update()
    with replacing(target) as partial, h5py.File(partial, "w") as file:
        data = file.create_dataset("stack", data=stack, chunks=(1, *stack.shape[1:]), compression="gzip")
        data.attrs.update(channel_names=list(CHANNELS), pixel_size_um=PIXEL, seed=seed, value_range=(0, 255),
                          source="simulated", version=__version__)
        file.create_dataset("repeats", data=repeats, chunks=(1, *repeats.shape[1:]), compression="gzip").attrs[
            "channel_names"] = list(FACTORS)
        for name, value in rows[0].items():
            column = [row[name] for row in rows]
            file.create_dataset(name, data=column, dtype=h5py.string_dtype() if isinstance(value, str) else None)


def draw_cell_cycle(target, seed, ages=(0.05, 0.2, 0.36, 0.5, 0.65, 0.76, 0.82, 0.95), zoom=2):
    """Draw a PNG of one cell of each age (columns): the marker, then each factor merged with it and alone (rows)."""
    from PIL import Image, ImageDraw

    from ..system.lattice import label_font, legible
    left, top, rows = 90, 36, slice(10, ROWS - 10)
    height, width = zoom * (rows.stop - rows.start), zoom * COLUMNS
    lines = [("Bgs4", None)] + [pair for factor in FACTORS for pair in (("Bgs4", factor), (None, factor))]
    sheet = Image.new("RGB", (left + width * len(ages), top + height * len(lines) + 30))
    pen, font = ImageDraw.Draw(sheet), label_font(legible(sheet.width))
    for column, t in enumerate(ages):
        rng = yeast.cell_rng(seed, JOINT, column)
        cell = yeast.sample_cell(rng, t)
        stack = dict(zip(CHANNELS, np.moveaxis(yeast.render(cell, CHANNELS, rng)[rows], -1, 0)))
        pen.text((left + width * column + width // 2, 8), f"t = {t}", "white", font, anchor="ma")
        for line, (red, green) in enumerate(lines):
            pair = [to_unit(stack[name]) if name else np.zeros(stack["Bgs4"].shape) for name in (red, green)]
            colours = unit_to_bytes(merge(np.stack(pair, axis=-1), Palette("magenta-green", ())))
            tile = Image.fromarray(colours).resize((width, height), Image.Resampling.NEAREST)
            sheet.paste(tile, (left + width * column, top + height * line))
    for line, (red, green) in enumerate(lines):
        colour = "magenta" if not green else "white" if red else "lime"
        pen.text((8, top + height * line + height // 2), green or red, colour, font, anchor="lm")
    end = left + round(5 / PIXEL * zoom)
    pen.line((left, sheet.height - 16, end, sheet.height - 16), "white", 3)
    pen.text((end + 10, sheet.height - 16), "5 µm; simulated cells, not photographs", "white", font, anchor="lm")
    with replacing(target) as partial:
        sheet.save(partial, format="PNG", optimize=True)


# --- the command ------------------------------------------------------------------------------------------------

def parser():
    """The command line."""
    p = arguments.Parser(
        prog="biogans simulate",
        description="Make sample data: simulated fission yeast cells in two colours.\n\n"
                    "Red is Bgs4, the growth marker: at one tip of a young cell, at both tips of an older one, then\n"
                    "at the septum that divides it. Green is one of six polarity factors. Images have 48 rows x 80\n"
                    f"columns of {PIXEL} µm per pixel; cells grow from 7 to 13 µm (at most 14). Ages are those of a\n"
                    "growing culture, in which newborn cells are the most common.",
        epilog="examples:\n"
               "  biogans simulate -o data                    1,020 + 300 images, 60 joint cells (6 MB, 7 seconds)\n"
               "  biogans simulate -o data --full             as many images as the LIN data set has (1 minute)\n"
               "  biogans simulate --contact_sheet cells.png  only a picture of the cell cycle\n"
               "then: train.py -d data")
    out = p.add_argument_group("output (at least one)")
    out.add_argument("-o", "--output", metavar="FOLDER",
                     help="data folder as train.py expects it: folders of training and test images, each with a "
                          "manifest.csv of the properties of every cell, and joint_test.h5")
    out.add_argument("--contact_sheet", metavar="FILE.png",
                     help="draw cells of eight ages, one per column, with all six factors")
    out.add_argument("--overwrite", action="store_true", help="replace simulated data in FOLDER")
    out.add_argument("--camera", action="store_true",
                     help="write the counts of a camera instead of 8-bit PNGs: OME-TIFFs of 16 bits with an offset of "
                          "{} counts, noise and hot pixels".format(OFFSET))
    size = p.add_argument_group("number of cells")
    size.add_argument("--train", type=arguments.positive_int, metavar="N",
                      help="training images of all factors together (1020)")
    size.add_argument("--test", type=arguments.positive_int, metavar="N",
                      help="test images of all factors together (300)")
    size.add_argument("--joint", type=arguments.positive_int, metavar="N", default=60,
                      help="cells in joint_test.h5, each with red and all six factors at once: ground truth for a "
                           "generator of several factors; the first {} have {} further greens for their red "
                           "(%(default)s)".format(REPEATED, REPEATS))
    size.add_argument("--full", action="store_true",
                      help="{:,} training and {:,} test images: the 26,909 of the LIN data set, one in ten for "
                           "testing".format(*FULL))
    size.add_argument("-s", "--seed", type=arguments.seed, metavar="N", default=42,
                      help="random seed: the same seed gives the same cells; a larger set starts with the cells of a "
                           "smaller one (%(default)s)")
    return p


def simulate(options):
    """Write what the parsed options ask for. Raises InputError for a user's mistake."""
    if not (options.output or options.contact_sheet):
        raise InputError("nothing to do: add -o FOLDER for data or --contact_sheet FILE.png for a picture")
    if options.full and (options.train or options.test):
        raise InputError("--full sets the numbers of images: leave out --train and --test, or --full")
    train, test = FULL if options.full else (options.train or 1020, options.test or 300)
    if options.contact_sheet:
        draw_cell_cycle(options.contact_sheet, options.seed)
        print(f"Contact sheet: {options.contact_sheet}")
    if options.output:
        check_simulated(Path(options.output), options.overwrite)
        write_sample(options.output, (train, test, options.joint), options.seed,
                     save_counts if options.camera else save_png)
        print(f"{train + test:,} images of simulated cells and {options.joint} joint cells: {options.output}")


def check_simulated(folder, overwrite):
    """Raise InputError if `folder` is in use; with `overwrite`, if it holds images that this command did not write."""
    check_output(folder, overwrite, "simulated data")
    for split in (folder / f"{DATASET}_train", folder / f"{DATASET}_test"):
        manifest = split / "manifest.csv"
        if split.is_symlink() or split.exists() and not (manifest.is_file() and "simulated" in manifest.read_text()):
            raise InputError(f"{split} holds data that is not simulated: move it away, or choose another folder")


def main(arguments=None):
    """Run the command; return its exit status."""
    return launch.run(simulate, parser().parse_args(arguments))
