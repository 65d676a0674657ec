"""Turn fluorescence videos into a data folder of standardised crops."""

import argparse
import concurrent.futures.process
import contextlib
import csv
import glob
import hashlib
import json
import math
import multiprocessing
import os
import signal
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .. import __version__
from ..core import options as command_line
from ..system import launch
from . import steps, videos
from ..system.errors import InputError
from ..system.files import Lock, replacing

STEPS = ("drift", "background", "bleaching", "denoise", "edges", "threshold", "standardise")
SAMPLE = 5                              # frames of a video from which its threshold and brightness are taken
NOISE_FRAMES = 8                        # frames from which its noise is
BRIGHTEST = 0.995                       # quantile of the structures' brightness that becomes white
RIM = 2                                 # pixels around a mask that are kept: the blurred flank of a structure
SHEET_ROWS, PANEL = 6, 160              # videos on the contact sheet, and pixels of a panel's side there
MANIFEST = ("file", "split", "class", "video", "frame", "down", "right", "coverage", "sharpness")
VIDEOS = ("class", "video", "split", "path", "frames", "drift_px", "noise_gain", "noise_sigma", "threshold", "white",
          "crops", "empty", "out_of_focus")


class Source(NamedTuple):
    """A video to be processed: where it is, and where its crops go."""

    path: Path
    name: str
    factor: str
    split: str


class Measured(NamedTuple):
    """What is known of a video before its frames are changed.

    shape       (height, width)
    drift       (frames, 2): down and right since the first
    gain        (frames,): factors against bleaching
    noise       of each channel
    typical     background brightness of each channel in the file's units, at which the noise level is told
    """

    shape: tuple
    drift: np.ndarray
    gain: np.ndarray
    noise: list
    typical: list


class Reference(NamedTuple):
    """What is the same for all frames of a video: threshold of its first channel, white of each, usual sharpness."""

    threshold: float
    white: list
    sharpness: float


# ---------------------------------------------------------------------------------------------- one video

def process(source, settings, output):
    """Write the crops of one video and its record; returns the number of crops. Raises InputError."""
    video = videos.open_video(source.path, settings.channels, settings.axes, settings.z)
    left_out = {"drift", "bleaching"} if video.is_depth else set()      # slices of a z stack are no times
    done = [name for name in STEPS if name not in settings.without and name not in left_out]
    measured = measure(video, done, settings)
    reference, panels = refer(video, measured, done, settings)
    folder = output / f"{settings.name}_{source.split}" / source.factor
    folder.mkdir(parents=True, exist_ok=True)
    for stale in glob.glob(f"{glob.escape(str(folder / source.name))}.f*.png"):      # of a run that was killed
        os.unlink(stale)
    rows, counts = [], {"crops": 0, "empty": 0, "out_of_focus": 0}
    resolution = settings.pixel_size or video.pixel_size_um
    for number, frame in video.frames(range(0, len(measured.drift), settings.every)):
        images, mask = clean(frame, number, measured, done, settings, reference.threshold)
        pictures = finished(images, mask, reference, done, settings)
        for crop in crops(mask, images[0], measured.drift[number], reference, settings):
            counts[crop.pop("fate")] += 1
            if crop.pop("kept"):
                name = f"{source.name}.f{number:04d}.y{crop['down']:04d}.x{crop['right']:04d}.png"
                save(folder / name, cut(pictures, crop, settings), resolution)
                rows.append({"file": name, "frame": number, **crop, "bytes": (folder / name).stat().st_size})
    write_panels(output / ".work" / f"{source.factor}.{source.name}.png", panels)
    sigma = measured.noise[0].sigma(measured.typical[0])
    write_record(record_of(output, source), {
        "key": key(source, settings), "rows": rows, "video": {
            "class": source.factor, "video": source.name, "split": source.split, "path": str(source.path),
            "frames": len(measured.drift), "drift_px": round(float(np.abs(measured.drift).max()), 3),
            "noise_gain": round(measured.noise[0].gain, 5), "noise_sigma": round(float(sigma), 5),
            "threshold": round(reference.threshold, 5), "white": round(float(reference.white[0]), 5), **counts},
        "drift": np.round(measured.drift, 3).tolist(), "gain": np.round(measured.gain, 5).tolist(),
        "noise": measured.noise})
    return len(rows)


def measure(video, done, settings):
    """Measured of a video: one pass over its frames."""
    tracker, drift, levels, noise, typical = steps.Drift(), [], [], [], []
    every = max(1, (video.length or 0) // NOISE_FRAMES)
    for number, frame in video.frames():
        if frame[0].size == 0 or min(frame.shape[1:]) < max(settings.size):
            raise InputError(f"{video.path}: frames of {frame.shape[1]}x{frame.shape[2]} pixels are smaller than a "
                             f"crop of {settings.size[0]}x{settings.size[1]}: lower --size; or say with --axes "
                             f"in which order its axes are")
        image = frame[0].astype(np.float32)
        drift.append(tracker.measure(image) if "drift" in done else np.zeros(2))
        levels.append(steps.level(image))
        if number % every == 0 and (video.length or len(noise) < NOISE_FRAMES):
            noise.append([steps.estimate_noise(channel) for channel in frame])
            typical.append([float(np.median(channel)) for channel in frame])
    if max(levels) <= 0:
        raise InputError(f"{video.path}: nothing to see in this video: all its frames are even: remove it")
    gain = steps.bleaching(levels) if "bleaching" in done else np.ones(len(levels))
    return Measured(video.shape, np.array(drift), gain, [steps.Noise(*np.median(each, axis=0)) for each in zip(*noise)],
                    np.median(typical, axis=0).tolist())


def refer(video, measured, done, settings):
    """(Reference, panels for the contact sheet) of some frames, spread over the video."""
    wanted = sorted(set(np.linspace(0, len(measured.drift) - 1, SAMPLE).astype(int).tolist()))
    sample, shown = [], {}
    for number, frame in video.frames(wanted):
        show = shown if number == wanted[len(wanted) // 2] else None
        sample.append(clean(frame, number, measured, done, settings, show=show)[0])
        if number in (wanted[0], wanted[-1]):
            shown[f"frame {number}"] = frame[0].astype(np.float32)
    above = steps.threshold([images[0] for images in sample], settings.threshold)
    masks = [steps.mask_of(images[0], above, settings.smallest) for images in sample]
    covered = [mask.any() for mask in masks]
    if not any(covered):
        return Reference(above, [1.0] * len(sample[0]), 0.0), {}
    inside = [np.concatenate([images[k][mask] for images, mask in zip(sample, masks)]) for k in range(len(sample[0]))]
    white = [max(1e-12, float(np.quantile(values, BRIGHTEST))) for values in inside]
    sharp = np.median([steps.sharpness(images[0], mask) for images, mask in zip(sample, masks) if mask.any()])
    reference = Reference(above, white, float(sharp))
    middle = len(wanted) // 2
    ends = [wanted[0], wanted[-1]]
    return reference, panels_of(shown, ends, measured, sample[middle], masks[middle], reference, done, settings)


def clean(frame, number, measured, done, settings, above=None, show=None):
    """(images, mask) of a frame: each channel after the steps up to the edges, float32 (height, width), registered.

    above   threshold of the first channel; without it there is no mask (None)
    show    a dict that takes the first channel after each step

    The frame is moved after it is denoised, because interpolation makes neighbours' noise alike, which non-local means
    would take for structure.
    """
    images = []
    for k, image in enumerate(frame):
        seen = show if k == 0 and show is not None else {}
        image = image.astype(np.float32)
        seen["raw"] = image
        raw, below = image, steps.background(image, settings.background)
        if "denoise" in done:
            image = steps.denoise(image, measured.noise[k], settings.strength)
            seen["denoise"] = image
        if "background" in done:
            seen["background"] = raw - below
            image = image - below
        image = image * np.float32(measured.gain[number])
        image = steps.moved(image, -measured.drift[number])
        if "edges" in done:
            image = steps.sharpened(image, settings.edge_scale, settings.edges)
            seen["edges"] = image
        images.append(image)
    return images, None if above is None else steps.mask_of(images[0], above, settings.smallest)


def finished(images, mask, reference, done, settings):
    """uint8 (height, width, channels): masked and, so that all videos' structures are as bright, standardised."""
    from scipy.ndimage import binary_dilation
    if settings.binary:
        return np.where(mask, np.uint8(255), np.uint8(0))[..., None]
    pictures = []
    kept = binary_dilation(mask, iterations=RIM) if "threshold" in done else None
    for image, white in zip(images, reference.white):
        image = image if kept is None else np.where(kept, image, 0)
        low, high = (0, white) if "standardise" in done else (min(0, image.min()), max(image.max(), 1e-12))
        pictures.append(np.clip(np.rint((image - low) * (255 / (high - low))), 0, 255).astype(np.uint8))
    return np.stack(pictures, axis=-1)


# ---------------------------------------------------------------------------------------------- crops

def crops(mask, image, drift, reference, settings):
    """Yield a dict for each crop of a frame: its upper left corner (down, right), how it was judged, and its fate."""
    from scipy.ndimage import binary_dilation
    high, wide = settings.size
    top, left = (max(0, math.ceil(-shift)) for shift in drift)
    bottom, right = (side - max(0, math.ceil(shift)) for side, shift in zip(mask.shape, drift))
    if bottom - top < high or right - left < wide:
        return                          # the frame has drifted out of sight
    valid = (top, bottom, left, right)
    corners = (around_structures if settings.crops == "structures" else on_a_grid)(mask, valid, settings)
    for down, across in corners:
        here = np.s_[down:down + high, across:across + wide]
        covered = float(mask[here].mean())
        sharp = steps.sharpness(image[here], binary_dilation(mask[here], iterations=RIM))
        fate = ("empty" if covered < settings.least else
                "out_of_focus" if sharp < settings.focus * reference.sharpness else "crops")
        yield {"down": int(down), "right": int(across), "coverage": round(covered, 4), "sharpness": round(sharp, 4),
               "fate": fate, "kept": fate == "crops"}


def on_a_grid(mask, valid, settings):
    """Corners of crops that fill the frame, the same in every frame of the video; those in view only."""
    high, wide = settings.size
    top, bottom, left, right = valid
    return [(down, across) for down in range(0, mask.shape[0] - high + 1, high)
            for across in range(0, mask.shape[1] - wide + 1, wide)
            if top <= down and down + high <= bottom and left <= across and across + wide <= right]


def around_structures(mask, valid, settings):
    """Corners of crops about the places with the most structure, which overlap by half at most."""
    from scipy.ndimage import gaussian_filter
    from skimage.feature import peak_local_max
    high, wide = settings.size
    top, bottom, left, right = valid
    density = gaussian_filter(mask.astype(np.float32), (high / 4, wide / 4), mode="constant")
    inside = np.zeros_like(density)
    centres = np.s_[top + high // 2:bottom - high + high // 2 + 1, left + wide // 2:right - wide + wide // 2 + 1]
    inside[centres] = density[centres]
    found = peak_local_max(inside, min_distance=min(high, wide) // 2, threshold_abs=settings.least / 4,
                           exclude_border=False)
    return [(down - high // 2, across - wide // 2) for down, across in found]


def cut(pictures, crop, settings):
    """The pixels of a crop, averaged down by `shrink`."""
    high, wide = settings.size
    part = pictures[crop["down"]:crop["down"] + high, crop["right"]:crop["right"] + wide]
    n = settings.shrink
    return part if n == 1 else np.rint(
        part.reshape(high // n, n, wide // n, n, -1).mean(axis=(1, 3))).astype(np.uint8)


def save(path, pixels, pixel_size_um):
    """Save uint8 (height, width, 1 to 3 channels) as PNG; two channels are red and green."""
    from PIL import Image
    if pixels.shape[-1] == 2:
        pixels = np.concatenate([pixels, np.zeros_like(pixels[..., :1])], axis=-1)
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    size = {"dpi": (0.0254 / (pixel_size_um * 1e-6),) * 2} if pixel_size_um else {}
    picture.save(path, format="PNG", **size)


# ---------------------------------------------------------------------------------------------- the contact sheet

def panels_of(shown, ends, measured, images, mask, reference, done, settings):
    """[(name, RGB float (PANEL, PANEL, 3))] of the middle of a frame, before and after each step."""
    first, last = (shown[f"frame {number}"] for number in ends)
    panels = [("raw", _gray(shown["raw"]))]
    if "drift" in done:
        back = [steps.moved(shown[f"frame {number}"], -measured.drift[number]) for number in ends]
        panels += [("first + last", _overlay(first, last)), ("registered", _overlay(*back))]
    for name in ("background", "denoise", "edges"):
        if name in done:
            panels.append((name, _gray(shown[name])))
    if "threshold" in done:
        panels.append(("mask", _gray(mask.astype(np.float32), 0, 1)))
    final = finished(images, mask, reference, done, settings)
    number = (ends[0] + ends[1]) // 2
    framed = np.repeat(final[..., :1], 3, axis=-1).astype(np.float32) / 255
    for crop in crops(mask, images[0], measured.drift[number], reference, settings):
        colour = (0.2, 1, 0.3) if crop["kept"] else (1, 0.3, 0.2)
        _box(framed, crop["down"], crop["right"], settings.size, colour)
    return panels + [("standardised, crops" if "standardise" in done else "crops", framed)]


def _box(picture, down, right, size, colour):
    bottom, end = down + size[0] - 1, right + size[1] - 1
    picture[[down, bottom], right:end + 1] = colour
    picture[down:bottom + 1, [right, end]] = colour


def _gray(image, low=None, high=None):
    low, high = (np.quantile(image, q) if given is None else given for q, given in ((0.01, low), (0.998, high)))
    return np.repeat(np.clip((image - low) / max(high - low, 1e-12), 0, 1)[..., None], 3, axis=-1)


def _overlay(first, last):
    """Magenta and green: white where they agree."""
    return np.stack([_gray(first)[..., 0], _gray(last)[..., 0], _gray(first)[..., 0]], axis=-1)


def write_panels(path, panels):
    """Write the panels of one video, side by side, for the contact sheet, with their names in its metadata."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo
    if not panels:
        return
    side = 2 * PANEL
    tiles = []
    for _, image in panels:
        high, wide = image.shape[:2]
        part = min(high, wide, side)
        image = image[(high - part) // 2:(high + part) // 2, (wide - part) // 2:(wide + part) // 2]
        tiles.append(Image.fromarray((255 * image).astype(np.uint8)).resize((side, side), Image.Resampling.BOX
                     if part == side else Image.Resampling.NEAREST))
    names = PngInfo()
    names.add_text("names", "|".join(name for name, _ in panels))
    with replacing(path) as temporary:
        strip = Image.fromarray(np.concatenate([np.asarray(tile) for tile in tiles], axis=1))
        strip.save(temporary, format="PNG", pnginfo=names)


def contact_sheet(output, sources):
    """Put the panels of some videos together, one below the other."""
    from PIL import Image
    from ..core import figures
    strips = [(source.name, path) for source in sources
              if (path := output / ".work" / f"{source.factor}.{source.name}.png").is_file()]
    rows, names, header = [], [], []
    for name, path in [strips[k] for k in sorted(set(np.linspace(0, len(strips) - 1, SHEET_ROWS).astype(int)))]:
        with Image.open(path) as strip:
            titles = strip.text["names"].split("|")
            pixels = np.asarray(strip) / np.float32(255)
        if not header or titles == header:
            header = titles
            rows.append(np.split(pixels, len(titles), axis=1))
            names.append(name)
    figures.write_picture(output / "contact_sheet.png", figures.table(rows, header, names))


# ---------------------------------------------------------------------------------------------- the data folder

def split(found, fraction, seed):
    """[Source] of {class: paths}: in each class `fraction` of the videos, one or more, are held out for tests.

    Which ones is a function of the seed and their names. The only video of a class is for training.
    """
    sources = []
    for factor, paths in found.items():
        names = [videos.name_of(path) for path in paths]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(f"{paths[0].parent}: two videos are called {twice}: rename one of them")
        order = sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{factor}/{name}".encode()).digest())
        number = 0 if len(names) == 1 or fraction == 0 else max(1, round(fraction * len(names)))
        held_out = set(order[:min(number, len(names) - 1)])
        sources += [Source(path, name, factor, "test" if name in held_out else "train")
                    for path, name in zip(paths, names)]
    return sources


def key(source, settings):
    """What a record was made from: if this is the same, so are the crops."""
    files = sorted(source.path.iterdir()) if source.path.is_dir() else [source.path]
    identity = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(repr((chosen(settings), source.split, identity)).encode()).hexdigest()


def record_of(output, source):
    return output / ".work" / f"{source.factor}.{source.name}.json"


def write_record(path, record):
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(record))


def stored(output, source, settings):
    """The record of a video that is done, and whose crops are all there; else None."""
    try:
        record = json.loads(record_of(output, source).read_text())
        folder = output / f"{settings.name}_{source.split}" / source.factor
        whole = all((folder / row["file"]).stat().st_size == row["bytes"] for row in record["rows"])
        return record if whole and record["key"] == key(source, settings) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_tables(output, sources, settings):
    """manifest.csv, a line for each crop, and videos.csv, one for each video; returns the records."""
    records = [json.loads(record_of(output, source).read_text()) for source in sources]
    crops_of = []
    for source, record in zip(sources, records):
        folder = f"{settings.name}_{source.split}/{source.factor}"
        crops_of += [{**row, "file": f"{folder}/{row['file']}", "split": source.split, "class": source.factor,
                      "video": source.name} for row in record["rows"]]
    for name, columns, rows in (("manifest.csv", MANIFEST, crops_of),
                                ("videos.csv", VIDEOS, [record["video"] for record in records])):
        with replacing(output / name) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
    return records


# ---------------------------------------------------------------------------------------------- the command

def preprocess(settings):
    """Do what the command line asks for. Raises InputError for a user's mistake."""
    launch.announce()
    output = Path(settings.output)
    shrink = settings.shrink
    if any(side % shrink or side // shrink % 4 or side // shrink < 12 for side in settings.size):
        raise InputError(f"--size {settings.size[0]}x{settings.size[1]} --shrink {shrink}: the networks "
                         f"halve sides twice: after shrinking, they must be multiples of 4, 12 or more")
    if len(settings.channels) > 3:
        raise InputError("--channels: at most three fit into a PNG")
    sources = split(videos.find(settings.input), settings.test, settings.seed)
    settings.name = settings.name or output.resolve().name
    check_output(output, settings)
    output.mkdir(parents=True, exist_ok=True)
    lock = Lock(output / ".lock")
    if not lock.take():
        raise InputError(f"{output}: another run writes here ({lock.holder}): wait for it, or choose another folder")
    try:
        write_settings(output / "settings.json", settings)
        waiting = [source for source in sources if stored(output, source, settings) is None]
        if len(waiting) < len(sources):
            print(f"{len(sources) - len(waiting)} of {len(sources)} videos are done already")
        run_all(waiting, settings, output)
        records = write_tables(output, sources, settings)
        tell(output, sources, records, settings)
    finally:
        lock.release()


def run_all(sources, settings, output):
    """Process videos, as many at a time as there are cores or `--jobs` says, each in a process."""
    from tqdm import tqdm
    if not sources:
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    jobs = min(len(sources), settings.jobs or len(os.sched_getaffinity(0)))
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    with concurrent.futures.ProcessPoolExecutor(jobs, context, _single_threaded) as pool:
        try:
            running = [pool.submit(process, source, settings, output) for source in sources]
            done = concurrent.futures.as_completed(running)
            for each in tqdm(done, total=len(running), unit=" videos", disable=None):
                each.result()
        except concurrent.futures.process.BrokenProcessPool:
            raise InputError(f"{output}: a process died, perhaps for lack of memory: repeat the command with --jobs 1; "
                             f"what is done is kept") from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in multiprocessing.active_children():
                child.terminate()
            raise
        finally:
            signal.signal(signal.SIGTERM, before)


def _single_threaded():
    """Videos are what is parallel; and Ctrl-C, which reaches all processes of a terminal, ends these without a word."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with contextlib.suppress(ImportError):
        import threadpoolctl
        threadpoolctl.threadpool_limits(1)


def tell(output, sources, records, settings):
    """Say what came out, and what to do next. Raises InputError if there is nothing to train on."""
    totals = {split: sum(len(record["rows"]) for source, record in zip(sources, records) if source.split == split)
              for split in ("train", "test")}
    for source, record in zip(sources, records):
        if not record["rows"]:
            print(f"warning: {source.path}: no crop of this video was kept", file=sys.stderr)
    if not totals["train"]:
        raise InputError(f"{output}: no crop was kept: look at contact_sheet.png and lower --least or --focus, or "
                         f"choose another --threshold")
    contact_sheet(output, sources)
    empty, blurred = (sum(record["video"][fate] for record in records) for fate in ("empty", "out_of_focus"))
    print(f"{totals['train']} crops for training, {totals['test']} for tests, of {len(sources)} videos; left out: "
          f"{empty} empty, {blurred} out of focus")
    if not totals["test"]:
        print("warning: no video is held out for tests: give more than one video of each class", file=sys.stderr)
    for name in ("manifest.csv", "videos.csv", "settings.json", "contact_sheet.png"):
        print(f"Output to file: {output / name}")
    print(f"then: train.py -d {output} -m DCGAN")


def check_output(output, settings):
    """Refuse a folder of other data; one of other settings only with --overwrite."""
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} is a file: choose another name for the output folder")
    if not output.is_dir() or not any(path.name != ".lock" for path in output.iterdir()):
        return
    if not (output / "settings.json").is_file() or not (output / ".work").is_dir():
        raise InputError(f"{output} is not empty, and not of biogans preprocess: choose another folder")
    if read_settings(output / "settings.json") != chosen(settings) and not settings.overwrite:
        raise InputError(f"{output} holds images of other settings: choose another folder, or add --overwrite")


NOT_SETTINGS = ("input", "output", "settings", "jobs", "overwrite", "name")


def chosen(settings):
    """{option: text} of the options that decide what the images are."""
    return {name: _as_text(value) for name, value in sorted(vars(settings).items()) if name not in NOT_SETTINGS}


def _as_text(value):
    if isinstance(value, (tuple, list)):
        return ",".join(map(str, value))
    return "" if value in (None, False) else str(value)


def write_settings(path, settings):
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({"biogans": __version__, "preprocess": chosen(settings)}, indent=1) + "\n")


def read_settings(path):
    """{option: text} of a settings file. Raises InputError."""
    try:
        return {str(name): str(value) for name, value in json.loads(Path(path).read_text())["preprocess"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise InputError(f"{path}: not a settings file of biogans preprocess ({type(problem).__name__}): give the "
                         f"settings.json of an earlier run") from None


def arguments_of(stored, known):
    """A command line of the settings in a file."""
    for name in stored:
        if name not in known:
            raise InputError(f"unknown setting {name} in the settings file: it has {', '.join(known)}")
    return [argument for name, value in stored.items() if value
            for argument in ([f"--{name.replace('_', '-')}"] if value == "True" else
                             [f"--{name.replace('_', '-')}={value}"])]


def _size(text):
    sides = [command_line._positive_int(side) for side in text.lower().replace(",", "x").split("x")]
    if len(sides) not in (1, 2):
        raise argparse.ArgumentTypeError(f"{text!r} is neither one side nor HEIGHTxWIDTH")
    return (sides * 2)[:2]


def _steps(text):
    names = command_line._names(text)
    return tuple(command_line._one_of(STEPS)(name) for name in names)


def _fraction(text):
    return command_line._decay(text)


def parser():
    """The command line."""
    p = command_line.Parser(
        prog="biogans preprocess",
        description="Make images to train on from fluorescence videos: registered, cleaned, cropped, split by video.",
        epilog="Videos are TIFF stacks, OME-TIFF, AVI, MP4, or folders of frames; a folder of them, or a folder for\n"
               "each class. What is done before is kept: repeat a command that was stopped, and it goes on.\n\n"
               "DATA/<name>_train/<class>/*.png, DATA/<name>_test/…    the crops; a video is in one of the two\n"
               "DATA/manifest.csv, DATA/videos.csv    where each crop is from; drift, noise, threshold of each video\n"
               "DATA/settings.json       the settings, to repeat with --settings\n"
               "DATA/contact_sheet.png   some videos before and after each step: look at it first\n\n"
               "examples:\n"
               "  biogans preprocess -i movies -o data                        all steps, crops of 64x64 around structures\n"
               "  biogans preprocess -i movies -o data --size 48x80 --crops grid --every 5\n"
               "  biogans preprocess -i movies -o data2 --without denoise,edges        to see what a step is good for\n"
               "  biogans preprocess -i stacks -o data --z slices --channels 2,1      every slice; red is channel 2\n"
               "  biogans preprocess -i more -o data3 --settings data/settings.json   the same with other videos\n"
               "then: train.py -d data -m DCGAN")
    source = p.add_argument_group("the videos")
    source.add_argument("-i", "--input", metavar="VIDEOS", required=True, help="the folder of the videos, required")
    source.add_argument("--channels", type=command_line._numbers, default=(), metavar="N,N",
                        help="channels to use, counted from 1; the first one decides about drift, mask and crops; "
                             "default: the first, or the mean of the colours")
    source.add_argument("--axes", default="", metavar="LETTERS",
                        help="axes of a TIFF that is wrong about them, slowest first, such as YXT or ZTYX: T time, "
                             "Z depth, C channel, S colour, Y down, X right")
    source.add_argument("--z", choices=videos.DEPTH, default="max",
                        help="of z stacks: the maximum of the slices, or each slice as a frame; default=max")
    source.add_argument("--every", type=command_line._positive_int, default=1, metavar="N",
                        help="take crops from every N-th frame: neighbours are much alike; default=1")
    source.add_argument("--pixel-size", type=command_line._positive_float, default=None, metavar="UM",
                        help="micrometres, for videos that don't tell")
    work = p.add_argument_group("the steps")
    work.add_argument("--without", type=_steps, default=(), metavar="A,B", help=f"leave out some of {', '.join(STEPS)}")
    work.add_argument("--background", type=command_line._positive_int, default=32, metavar="PX",
                      help="tiles whose lower quartile is background: larger than structures are thick; default=32")
    work.add_argument("--strength", type=command_line._positive_float, default=0.8, metavar="S",
                      help="of non-local means, in standard deviations of the measured noise; default=0.8")
    work.add_argument("--edges", type=command_line._positive_float, default=1.0, metavar="W",
                      help="weight of the Laplacian that is subtracted; default=1")
    work.add_argument("--edge-scale", type=command_line._positive_float, default=1.5, metavar="PX",
                      help="standard deviation of its Gaussian; default=1.5")
    work.add_argument("--threshold", choices=steps.THRESHOLDS, default="otsu",
                      help="how structures are told from background, for a whole video; default=otsu")
    work.add_argument("--smallest", type=command_line._positive_int, default=12, metavar="PX",
                      help="area below which a bright spot is no structure; default=12")
    work.add_argument("--binary", action="store_true", help="crops of the mask itself, white on black")
    crop = p.add_argument_group("the crops")
    crop.add_argument("--size", type=_size, default=(64, 64), metavar="SIDE|HxW",
                      help="pixels of the video; default=64x64")
    crop.add_argument("--shrink", type=command_line._positive_int, default=1, metavar="N",
                      help="average NxN pixels into one at the end; default=1")
    crop.add_argument("--crops", choices=("structures", "grid"), default="structures",
                      help="around the places with the most structure, or side by side; default=structures")
    crop.add_argument("--least", type=_fraction, default=0.05, metavar="PART",
                      help="of a crop that structures must cover; default=0.05")
    crop.add_argument("--focus", type=_fraction, default=0.6, metavar="PART",
                      help="of its video's usual sharpness that a crop must have; 0 keeps blurred ones; default=0.6")
    out = p.add_argument_group("files")
    out.add_argument("-o", "--output", metavar="DATA", required=True, help="the data folder, required")
    out.add_argument("--name", default="", metavar="NAME", help="of the data set; default: that of the folder")
    out.add_argument("--test", type=_fraction, default=0.2, metavar="PART",
                     help="of each class's videos that are held out; default=0.2")
    out.add_argument("-s", "--seed", type=command_line._seed, default=42, metavar="N",
                     help="which videos are held out; default=42")
    out.add_argument("--settings", metavar="FILE.json",
                     help="settings of an earlier run; options given here come first")
    out.add_argument("-j", "--jobs", type=command_line._positive_int, default=None, metavar="N",
                     help="videos at a time; default: as many as there are cores")
    out.add_argument("--overwrite", action="store_true", help="replace images of other settings in DATA")
    return p


def parse(arguments):
    """The options of a command line, with those of its settings file before them."""
    p = parser()
    options = p.parse_args(arguments)
    if options.settings:
        known = [name for name in vars(options) if name not in NOT_SETTINGS]
        given = sys.argv[1:] if arguments is None else list(arguments)
        options = p.parse_args(arguments_of(read_settings(options.settings), known) + given)
    return options


def main(arguments=None):
    """Run the command; return its exit status."""
    try:
        options = parse(arguments)
    except InputError as mistake:
        return launch.fail(mistake)
    return launch.run(preprocess, options)
