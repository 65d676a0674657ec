"""Turn fluorescence videos into a data folder of standardised crops."""

import concurrent.futures.process
import contextlib
import multiprocessing
import os
import signal
import sys
from pathlib import Path

import numpy as np

from ..system import arguments, launch
from ..system.errors import InputError
from ..system.files import Lock
from ..system.processes import process_pool
from ..system.progress import reading
from ..system.stop import record_progress
from . import contact_sheet, crops, processing, records, videos
from .frame_filters import THRESHOLDS
from .processing import STEPS
from .settings import arguments_of, image_settings, read_settings, write_settings
from .sources import hold_out

# ---------------------------------------------------------------------------------------------- the command line

def parser():
    """The command line."""
    p = arguments.Parser(
        prog="biogans preprocess",
        description="Make training images from fluorescence videos: registered, cleaned, cropped, split by video.",
        epilog="Videos are TIFF stacks, OME-TIFF, AVI, MP4, or folders of frames; VIDEOS is a folder of them, or\n"
               "holds such a folder for each class. A run that was stopped resumes when its command is repeated.\n\n"
               "DATA/<name>_train/<class>/*.png, DATA/<name>_test/…    the crops; each video is in one of the two\n"
               "DATA/manifest.csv        video, frame and position of each crop\n"
               "DATA/videos.csv          drift, noise and threshold of each video\n"
               "DATA/settings.json       the settings, to repeat with --settings\n"
               "DATA/contact_sheet.png   some videos before and after each step: look at it first\n\n"
               "examples:\n"
               "  biogans preprocess -i movies -o data              all steps, crops of 64x64 around structures\n"
               "  biogans preprocess -i movies -o data --size 48x80 --crops grid --every 5\n"
               "  biogans preprocess -i movies -o data2 --without denoise,edges     to see the effect of a step\n"
               "  biogans preprocess -i stacks -o data --z slices --channels 2,1    every slice; red is channel 2\n"
               "  biogans preprocess -i more -o data3 --settings data/settings.json     the same for other videos\n"
               "then: train.py -d data -m DCGAN")
    _add_videos(p.add_argument_group("videos"))
    _add_steps(p.add_argument_group("steps"))
    _add_crops(p.add_argument_group("crops"))
    _add_files(p.add_argument_group("files"))
    return p


def _add_videos(group):
    group.add_argument("-i", "--input", metavar="VIDEOS", required=True, help="folder of the videos, required")
    group.add_argument("--channels", type=arguments.several(arguments.positive_int), default=(), metavar="N,N",
                       help="channels to use, counted from 1; the first one decides drift, mask and crops; default: "
                            "the first, or the mean of the colours")
    group.add_argument("--axes", default="", metavar="LETTERS",
                       help="axes of TIFF files that state them wrongly, slowest first, such as YXT or ZTYX: T time, Z "
                            "depth, C channel, S colour, Y down, X right")
    group.add_argument("--z", choices=videos.DEPTH, default="max",
                       help="of z stacks: maximum over the slices, or each slice as a frame; default=max")
    group.add_argument("--every", type=arguments.positive_int, default=1, metavar="N",
                       help="take crops from every N-th frame, as neighbouring frames are similar; default=1")
    group.add_argument("--pixel_size", type=arguments.positive_float, default=None, metavar="µm",
                       help="µm per pixel, for videos that do not state it")


def _add_steps(group):
    group.add_argument("--without", type=arguments.several(arguments.one_of(STEPS)), default=(), metavar="A,B",
                       help=f"steps to leave out, of {', '.join(STEPS)}")
    group.add_argument("--background", type=arguments.positive_int, default=32, metavar="PX",
                       help="side of the tiles whose lower quartile is background: more than the thickness of "
                            "structures; default=32")
    group.add_argument("--strength", type=arguments.positive_float, default=0.8, metavar="S",
                       help="strength of non-local means, in standard deviations of the measured noise; default=0.8")
    group.add_argument("--edges", type=arguments.positive_float, default=1.0, metavar="W",
                       help="weight of the Laplacian that is subtracted; default=1")
    group.add_argument("--edge_scale", type=arguments.positive_float, default=1.5, metavar="PX",
                       help="standard deviation of its Gaussian; default=1.5")
    group.add_argument("--threshold", choices=THRESHOLDS, default="otsu",
                       help="method that separates structures from background, once per video; default=otsu")
    group.add_argument("--smallest", type=arguments.positive_int, default=12, metavar="PX",
                       help="smallest area of a structure; default=12")
    group.add_argument("--binary", action="store_true", help="crops of the mask itself, white on black")


def _add_crops(group):
    group.add_argument("--size", type=crops.sides, default=(64, 64), metavar="SIDE|HxW",
                       help="size in pixels of the video; default=64x64")
    group.add_argument("--shrink", type=arguments.positive_int, default=1, metavar="N",
                       help="average NxN pixels into one at the end; default=1")
    group.add_argument("--crops", choices=("structures", "grid"), default="structures",
                       help="crops around the densest structures, or side by side; default=structures")
    group.add_argument("--least", type=arguments.below_one, default=0.05, metavar="FRACTION",
                       help="smallest fraction of a crop that structures must cover; default=0.05")
    group.add_argument("--focus", type=arguments.below_one, default=0.6, metavar="FRACTION",
                       help="smallest sharpness of a crop, relative to what is typical of its video; 0 keeps blurred "
                            "ones; default=0.6")


def _add_files(group):
    group.add_argument("-o", "--output", metavar="DATA", required=True, help="data folder, required")
    group.add_argument("--name", default="", metavar="NAME", help="name of the data set; default: that of the folder")
    group.add_argument("--test", type=arguments.below_one, default=0.2, metavar="FRACTION",
                       help="fraction of the videos of each class to hold out for testing; default=0.2")
    group.add_argument("-s", "--seed", type=arguments.seed, default=42, metavar="N",
                       help="random seed for the choice of these videos; default=42")
    group.add_argument("--settings", metavar="FILE.json",
                       help="settings of an earlier run; options on the command line take precedence")
    group.add_argument("-j", "--jobs", type=arguments.positive_int, default=None, metavar="N",
                       help="videos to process at a time; default: one per core")
    group.add_argument("--overwrite", action="store_true", help="replace images of other settings in DATA")


def parse(given):
    """Options of a command line (a list of words), completed from its settings file. Raises InputError."""
    options = parser().parse_args(given)
    if options.settings:
        options = parser().parse_args(arguments_of(read_settings(options.settings)) + given)
    return options


# ---------------------------------------------------------------------------------------------- all videos

def preprocess(given):
    """Do what the command line `given` asks for. Raises InputError for a user's mistake."""
    options = parse(given)
    launch.announce()
    settings = image_settings(options)
    _check_sizes(settings)
    sources = hold_out(videos.find_videos(options.input), settings.test, settings.seed)
    output = Path(options.output)
    folder = records.DataFolder(output, options.name or output.resolve().name)
    records.check_folder(folder, settings, options.overwrite)
    output.mkdir(parents=True, exist_ok=True)
    lock = Lock(output / ".lock")
    if not lock.take():
        raise InputError(f"{output}: another run writes to this folder ({lock.holder}): wait until it ends, or choose "
                         f"another folder")
    try:
        write_settings(folder.settings, settings)
        waiting = [source for source in sources if records.load_finished(folder, source, settings) is None]
        if len(waiting) < len(sources):
            print(f"{len(sources) - len(waiting)} of {len(sources)} videos are already done")
        process_all(waiting, settings, folder, options.jobs)
        found = records.write_tables(folder, sources)
        strips = [(source.name, folder.strip(source)) for source in sources if folder.strip(source).is_file()]
        contact_sheet.write_contact_sheet(folder.path / "contact_sheet.png", strips)
        require_crops(folder, sources, found)
        print_summary(folder, sources, found)
    finally:
        lock.release()


def _check_sizes(settings):
    shrink, (high, wide) = settings.shrink, settings.size
    if any(side % shrink or side // shrink % 4 or side // shrink < 12 for side in settings.size):
        raise InputError(f"--size {high}x{wide} --shrink {shrink}: the networks halve sides twice: after shrinking, "
                         f"sides must be multiples of 4, at least 12")
    if len(settings.channels) > 3:
        raise InputError("--channels: a PNG file holds at most three")


def process_all(sources, settings, folder, jobs):
    """Process videos in parallel, `jobs` or as many as there are cores at a time, in processes if that is possible."""
    if not sources:
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    jobs = min(len(sources), jobs or len(os.sched_getaffinity(0)))
    with process_pool(jobs, "fork" if sys.platform == "linux" else "spawn", _set_up_process) as pool:
        try:
            running = [pool.submit(process_video, source, settings, folder) for source in sources]
            done = concurrent.futures.as_completed(running)
            for each in reading("processing videos", "video")(done, total=len(running)):
                each.result()
        except concurrent.futures.process.BrokenProcessPool:
            raise InputError(f"{folder.path}: a process died, perhaps for lack of memory: repeat the command with "
                             f"--jobs 1; finished videos are kept") from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in multiprocessing.active_children():
                child.terminate()
            raise
        finally:
            signal.signal(signal.SIGTERM, before)


def _set_up_process():
    """Use one thread, as videos are processed in parallel, and end silently on Ctrl-C, which reaches all processes."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with contextlib.suppress(ImportError):
        import threadpoolctl
        threadpoolctl.threadpool_limits(1)


def require_crops(folder, sources, found):
    """Warn about sources whose records in `found` have no crops. Raises InputError if there is nothing to train on."""
    for source, record in zip(sources, found):
        if not record["rows"]:
            print(f"warning: {source.path}: no crop of this video was kept", file=sys.stderr)
    if not number_of_crops(sources, found, "train"):
        raise InputError(f"{folder.path}: no crop was kept: look at contact_sheet.png and lower --least or --focus, or "
                         f"choose another --threshold")


def number_of_crops(sources, found, split):
    """Number of crops for training or for testing in the records `found` of the sources."""
    return sum(len(record["rows"]) for source, record in zip(sources, found) if source.split == split)


def print_summary(folder, sources, found):
    """Print the numbers of crops in the records `found` of the sources, the files written, and what to do next."""
    training, testing = (number_of_crops(sources, found, split) for split in ("train", "test"))
    empty, blurred = (sum(record["video"][fate] for record in found) for fate in ("empty", "out_of_focus"))
    print(f"{training} crops for training, {testing} for tests, of {len(sources)} videos; left out: {empty} empty, "
          f"{blurred} out of focus")
    if not testing:
        print("warning: no video is held out for testing: give more than one video of each class", file=sys.stderr)
    for name in ("manifest.csv", "videos.csv", "settings.json", "contact_sheet.png"):
        print(f"Output to file: {folder.path / name}")
    print(f"then: train.py -d {folder.path} -m DCGAN")


# ---------------------------------------------------------------------------------------------- one video

def process_video(source, settings, folder):
    """Write the crops of one video, its strip for the contact sheet, and its record. Raises InputError."""
    video = videos.open_video(source.path, settings.channels, settings.axes, settings.z)
    recipe = processing.recipe_for(video, settings)
    measurements = processing.measure_video(video, recipe)
    reference, example = processing.estimate_reference(video, measurements, recipe)
    folder.crops(source).mkdir(parents=True, exist_ok=True)
    records.remove_crops(folder, source)
    rows, counts = [], {"crops": 0, "empty": 0, "out_of_focus": 0}
    resolution = settings.pixel_size or video.pixel_size_um
    for number, frame in video.frames(range(0, len(measurements.drift), settings.every)):
        images = processing.clean(frame, number, measurements, recipe)
        mask = processing.structure_mask(images, reference, settings)
        pixels = processing.to_output(images, mask, reference, recipe)
        for crop in crops.find_crops(mask, images[0], measurements.drift[number], reference, settings):
            counts[crop.fate] += 1
            if crop.kept:
                name = f"{source.name}.f{number:04d}.y{crop.down:04d}.x{crop.right:04d}.png"
                crops.save_crop(folder.crops(source) / name, crops.cut(pixels, crop, settings), resolution)
                rows.append({"file": name, "frame": number, "down": crop.down, "right": crop.right,
                             "coverage": crop.coverage, "sharpness": crop.sharpness,
                             "bytes": (folder.crops(source) / name).stat().st_size})
    if example:
        contact_sheet.write_strip(folder.strip(source),
                                  contact_sheet.panels_of(example, measurements, reference, recipe))
    records.write_record(folder.record(source), {
        "key": records.record_key(source, settings), "rows": rows,
        "video": _properties(source, measurements, reference) | counts,
        "drift": np.round(measurements.drift, 3).tolist(), "gain": np.round(measurements.gain, 5).tolist(),
        "noise": measurements.noise})
    record_progress()


def _properties(source, measurements, reference):
    """A line of videos.csv, without the numbers of crops."""
    noise = measurements.noise[0]
    return {"class": source.factor, "video": source.name, "split": source.split, "path": str(source.path),
            "frames": len(measurements.drift), "drift_px": round(float(np.abs(measurements.drift).max()), 3),
            "noise_gain": round(noise.gain, 5), "noise_sigma": round(float(noise.sigma(measurements.typical[0])), 5),
            "threshold": round(reference.threshold, 5), "white": round(float(reference.white[0]), 5)}


def main(arguments=None):
    """Run the command; return its exit status."""
    return launch.run(preprocess, sys.argv[1:] if arguments is None else list(arguments))
