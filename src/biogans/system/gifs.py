"""Animated GIFs: how frames are written, and the movie of a training."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputError
from .files import replacing
from .progress import distance_text, read_losses

MOST_FRAMES = 60                    # of the movie of a training
LARGEST_FILE = 6_000_000            # bytes; above, the next of these is tried:
SIZES = ((900, 1), (640, 1), (480, 1), (480, 2), (480, 4))      # longest side of a frame (pixels), every n-th frame
LAST = 2.0                          # seconds for which the last frame is shown
CAPTION = 24                        # screen pixels above each frame
PAPER, INK = (24, 24, 24), (235, 235, 235)


def write_gif(path: str | Path, frames: Sequence[np.ndarray], fps: float, last: float = 0.0) -> None:
    """Write `frames` (uint8 (height, width, 3) each) as a looping GIF; the last one stays `last` seconds longer.

    All frames share 255 colours, so that nothing flickers.
    """
    from PIL import Image

    some = [frames[k] for k in np.linspace(0, len(frames) - 1, min(len(frames), 12)).astype(int)]
    # Other methods spend all colours on the many greens, and leave none for the hues of the panel of all factors.
    palette = Image.fromarray(np.concatenate(some)).quantize(255, Image.Quantize.FASTOCTREE)
    pictures = [Image.fromarray(frames[k]).quantize(palette=palette, dither=Image.Dither.NONE)
                for k in range(len(frames))]
    shown = round(1000 / fps / 10) * 10
    with replacing(path) as temporary:
        pictures[0].save(temporary, format="GIF", save_all=True, append_images=pictures[1:], loop=0,
                         duration=[shown] * (len(pictures) - 1) + [shown + round(1000 * last)])


# ---------------------------------------------------------------------------------------------- of a training

def write_training_movie(folder: Path, run: str, log: Path, fps: float = 6.0) -> Path:
    """Write `folder`/training.<run>.gif from the pictures that a training has saved there; returns its path.

    folder   of the pictures fake_samples.<run>.<iteration>.png
    log      the CSV file of the training's losses and scores (progress.Log)

    Each frame states iteration and held-out distance, if that was measured. Of many pictures MOST_FRAMES are taken,
    evenly, always with the last one. Raises InputError without pictures, files.NoRoom if the disk is full.
    """
    found, path = training_pictures(folder, run, log), folder / f"training.{run}.gif"
    for side, step in SIZES:
        frames = [frame for file, text in found[::-step][::-1] if (frame := _frame(file, text, side)) is not None]
        if not frames:
            raise InputError(f"{folder}: no pictures fake_samples.{run}.*.png of this training here: train again, with "
                             f"-M for the iterations between two of them")
        shape = np.max([frame.shape for frame in frames], axis=0)
        write_gif(path, [np.pad(frame, [(0, most - own) for most, own in zip(shape, frame.shape)]) for frame in frames],
                  fps, LAST)
        if path.stat().st_size <= LARGEST_FILE:
            break
    return path


def training_pictures(folder: Path, run: str, log: Path) -> list[tuple[Path, str]]:
    """[(picture, caption)] of a training in the order of the iterations, at most MOST_FRAMES of them.

    An earlier run of the same name may have left pictures in the folder. A picture belongs to this one if the log has a
    row for its iteration: one with a score, if any has, as pictures and scores are made in the same iterations;
    otherwise the picture has to be newer than the run.
    """
    iterations, values = read_losses(log)
    scores = values.get("held_out_distance", np.full(len(iterations), np.nan))
    logged, begun = dict(zip(iterations.astype(int).tolist(), scores.tolist())), _beginning(log, run)
    scored = bool(np.isfinite(scores).any())
    pattern = re.compile(re.escape(f"fake_samples.{run}.") + r"(\d+)\.png")
    found = sorted((int(match[1]), file) for file in folder.glob("*.png") if (match := pattern.fullmatch(file.name)))
    found = [(iteration, file) for iteration, file in found if iteration in logged
             and (np.isfinite(logged[iteration]) if scored else file.stat().st_mtime >= begun)]
    chosen = np.linspace(0, len(found) - 1, min(len(found), MOST_FRAMES)).round().astype(int)
    return [(file, f"iteration {iteration:,}" + f"    held-out distance {distance_text(logged[iteration])}" * scored)
            for iteration, file in (found[k] for k in chosen)]


def _beginning(log, run):
    """The time (seconds since 1970) at which a run began: that of its first file of events; 0 if it has none."""
    times = [re.match(r"events\.out\.tfevents\.(\d+)\.", file.name)
             for file in (log.parent / "tensorboard" / run).glob("events.*")]
    return min((int(match[1]) - 1 for match in times if match), default=0)


def _frame(file: Path, text: str, side: int) -> Any:
    """A picture of at most `side` under its caption, uint8 (height, width, 3), or None if the file is damaged."""
    from PIL import Image, ImageDraw, ImageFont

    try:
        with Image.open(file, formats=["PNG"]) as picture:
            small = picture.convert("RGB")
        small.thumbnail((side, side), Image.Resampling.BOX)
    except (OSError, SyntaxError, ValueError):          # Pillow raises each of them for damaged files
        return None
    frame = Image.new("RGB", (small.width, small.height + CAPTION), PAPER)
    frame.paste(small, (0, CAPTION))
    ImageDraw.Draw(frame).text((8, CAPTION // 2), text, INK, ImageFont.load_default(size=14), anchor="lm")
    return np.asarray(frame)
