"""Simulate fluorescence videos of mitochondria, with ground truth."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from .. import __version__
from ..system import arguments, launch
from ..system.errors import InputError
from ..system.files import replacing
from .data_folder import check_output
from .mitochondria import PIXEL, simulate_video


class Series(NamedTuple):
    """Videos of the same seed, number of frames and shape (height, width); video `index` is a function of these."""

    seed: int
    frames: int
    shape: tuple

    def video(self, index):
        """(Microscope, iterator over Frames) of a video."""
        return simulate_video(self.seed, index, self.frames, self.shape)


def write_video(folder, series, index, meter):
    """Write folder/videos/mitochondria_NN.ome.tif frame by frame, and folder/truth/mitochondria_NN.h5."""
    import h5py
    import tifffile
    microscope, video = series.video(index)
    shape = series.frames, *series.shape
    name = f"mitochondria_{index:02d}"
    drifts, focused = [], []
    with replacing(folder / "truth" / f"{name}.h5") as partial, h5py.File(partial, "w") as file:
        masks = file.create_dataset("mask", shape, bool, chunks=(1, *shape[1:]), compression="gzip")

        def pages():
            """Yield the counts of each frame, and collect its truth on the way."""
            for k, frame in enumerate(video):
                masks[k] = frame.mask
                drifts.append(frame.drift)
                focused.append(frame.focused)
                meter.update()
                yield frame.counts

        with replacing(folder / "videos" / f"{name}.ome.tif") as image:
            tifffile.imwrite(image, pages(), shape=shape, dtype=np.uint16, ome=True,
                             photometric="minisblack",
                             metadata={"axes": "TYX", "PhysicalSizeX": PIXEL, "PhysicalSizeXUnit": "µm",
                                       "PhysicalSizeY": PIXEL, "PhysicalSizeYUnit": "µm", "Name": "simulated"})
        file["drift"], file["focused"] = drifts, focused
        file.attrs.update(vars(microscope) | {"seed": series.seed, "index": index, "version": __version__,
                                               "source": "simulated"})


def draw_time_lapse(target, series, columns=6, rows=3):
    """Draw a PNG of `rows` videos at `columns` times, each scaled to the brightness of its first frame."""
    from PIL import Image
    chosen = np.linspace(0, series.frames - 1, columns).astype(int)
    strips = []
    for index in range(rows):
        shown = [frame.counts for k, frame in enumerate(series.video(index)[1]) if k in chosen]
        low, high = np.quantile(shown[0], (0.01, 0.999))
        strips.append(np.concatenate([np.clip((counts - low) / (high - low), 0, 1) for counts in shown], axis=1))
    with replacing(target) as partial:
        Image.fromarray((255 * np.concatenate(strips)).astype(np.uint8)).save(partial, format="PNG", optimize=True)


# --- the command ------------------------------------------------------------------------------------------------

side = arguments.checked(int, lambda number: 64 <= number < 2**31, "a whole number from 64 on")


def parser():
    """The command line."""
    p = arguments.Parser(
        prog="biogans simulate_videos",
        description="Make sample videos: simulated mitochondria that fuse, divide and bead while the stage drifts.",
        epilog="Beside the videos (16-bit OME-TIFF) the folder truth has an HDF5 file for each: masks, drift and\n"
               "focus of every frame, and the photons, gain and read noise of the microscope as attributes.\n\n"
               "examples:\n"
               "  biogans simulate_videos -o movies      6 videos of 12 frames, 192x192 (5 MB)\n"
               "  biogans simulate_videos -o movies -n 20 --frames 30 --size 512\n"
               "                                         as many as a laboratory has (300 MB)\n"
               "  biogans simulate_videos --contact_sheet mitochondria.png\n"
               "                                         only a picture\n"
               "then: biogans preprocess -i movies/videos -o data; train.py -d data")
    out = p.add_argument_group("output (at least one)")
    out.add_argument("-o", "--output", metavar="FOLDER", help="folder for the folders videos and truth")
    out.add_argument("--contact_sheet", metavar="FILE.png", help="draw three videos at six times")
    out.add_argument("--overwrite", action="store_true", help="replace simulated videos in FOLDER")
    size = p.add_argument_group("size")
    size.add_argument("-n", "--number", type=arguments.positive_int, metavar="N", default=6,
                      help="number of videos (%(default)s)")
    size.add_argument("--frames", type=arguments.positive_int, metavar="N", default=12,
                      help="frames per video (%(default)s)")
    size.add_argument("--size", type=side, metavar="N", default=192, help="pixels along each side (%(default)s)")
    size.add_argument("-s", "--seed", type=arguments.seed, metavar="N", default=42,
                      help="random seed: the same seed gives the same videos; a larger set starts with the videos of a "
                           "smaller one (%(default)s)")
    return p


def simulate_videos(options):
    """Write what the parsed options ask for. Raises InputError for a user's mistake."""
    from tqdm import tqdm
    if not (options.output or options.contact_sheet):
        raise InputError("nothing to do: add -o FOLDER for videos or --contact_sheet FILE.png for a picture")
    series = Series(options.seed, options.frames, (options.size, options.size))
    if options.contact_sheet:
        draw_time_lapse(options.contact_sheet, series)
        print(f"Contact sheet: {options.contact_sheet}")
    if options.output:
        folder = Path(options.output)
        check_output(folder, options.overwrite, "simulated videos")
        remove_videos(folder)
        with tqdm(total=options.number * options.frames, unit=" frames", disable=None) as meter:
            for index in range(options.number):
                write_video(folder, series, index, meter)
        print(f"{options.number} simulated videos of {options.frames} frames: {folder / 'videos'}")


def remove_videos(folder):
    """Remove simulated videos, and nothing else, from `folder`."""
    for path in [*folder.glob("videos/mitochondria_*.ome.tif"), *folder.glob("truth/mitochondria_*.h5")]:
        path.unlink()


def main(arguments=None):
    """Run the command; return its exit status."""
    return launch.run(simulate_videos, parser().parse_args(arguments))
