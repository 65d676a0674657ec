#!/usr/bin/env python3
"""Compare the results of biogans preprocess on simulated videos with the ground truth, and measure time and memory.

The 20 videos of 30 frames, 512x512, 16 bit, moderate noise, are simulated first, which does not count. Memory is the
peak of the sum over all processes of their proportional set sizes (PSS): private memory and a share of common memory.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))
from biogans.system import arguments, launch
from biogans.system.errors import InputError
from biogans.video import frame_filters, preprocess, processing, videos
from biogans.video.settings import image_settings

MASKS = 3               # frames per video whose masks are compared


def proportional_set_size(pid):
    """PSS of a process and its descendants, in bytes."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            size = sum(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:         # the process has ended
        return 0
    return size + sum(map(proportional_set_size, children))


def timed(command):
    """Run a command; return (wall-clock seconds, CPU seconds, peak bytes). Raises InputError if it fails."""
    before, start, peak = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic(), 0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def watch():
        nonlocal peak
        while process.poll() is None:
            peak = max(peak, proportional_set_size(process.pid))
            time.sleep(0.2)

    watcher = threading.Thread(target=watch)
    watcher.start()
    if process.wait():
        raise InputError(f"{' '.join(map(str, command))} ended with status {process.returncode}")
    wall = time.monotonic() - start
    watcher.join()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, peak


def compared(path, truth, record, settings):
    """Errors of one video: drift in pixels, relative error of the noise in dark and bright regions, IoU of masks."""
    import h5py
    video = videos.open_video(path)
    with h5py.File(truth) as file:
        facts, drift, focused = dict(file.attrs), file["drift"][()], file["focused"][()]
        chosen = np.flatnonzero(focused)[np.linspace(0, focused.sum() - 1, MASKS).astype(int)].tolist()
        masks = {k: file["mask"][k] for k in chosen}
    noise = frame_filters.Noise(*record["noise"][0])
    dark = facts["offset"] + facts["gain"] * facts["background"]
    errors = []
    for mean in (dark, dark + 0.8 * facts["gain"] * facts["photons"]):
        true = np.sqrt(facts["gain"] * (mean - facts["offset"]) + facts["read_noise"] ** 2)
        errors.append(abs(noise.sigma(mean) / true - 1))
    still = np.zeros((len(drift), 2))               # masks in the video's coordinates, not registered
    measured = processing.Measurements(still, np.array(record["gain"]), [noise], [dark])
    recipe = processing.Recipe(settings, processing.STEPS)
    reference = processing.Reference(record["video"]["threshold"], [1.0], 0.0)
    overlaps = []
    for number, frame in video.frames(chosen):
        mask = processing.structure_mask(processing.clean(frame, number, measured, recipe), reference, settings)
        overlaps.append((mask & masks[number]).sum() / (mask | masks[number]).sum())
    return np.abs(drift - record["drift"]).max(), *errors, np.mean(overlaps)


def compare(options):
    """Print a row for each video and whether the targets were reached; return the exit status, 1 if one was not."""
    with tempfile.TemporaryDirectory() as name:
        movies, data = options.movies or Path(name, "movies"), Path(name, "data")
        if not options.movies:
            subprocess.run([sys.executable, ROOT / "bin/biogans", "simulate_videos", "-o", movies,
                            "-n", str(options.videos), "--frames", str(options.frames), "--size", str(options.size)],
                           check=True)
        wall, cpu, peak = timed([sys.executable, ROOT / "bin/biogans", "preprocess", "-i", movies / "videos",
                                 "-o", data, "-j", str(options.jobs)])
        settings = image_settings(preprocess.parse(["-i", str(movies / "videos"), "-o", str(data)]))
        print(f"{'video':16} drift error, px   noise error: dark  bright   IoU of masks")
        table = []
        for path in sorted((movies / "videos").glob("*.tif")):
            video = videos.name_of(path)
            record = json.loads((data / ".work" / f"videos.{video}.json").read_text())
            table.append(compared(path, movies / "truth" / f"{video}.h5", record, settings))
            error, *noise, iou = table[-1]
            print(f"{video:16} {error:15.2f} {noise[0]:19.1%} {noise[1]:7.1%} {iou:14.3f}", flush=True)
    drift, dark, bright, overlap = np.transpose(table)
    noise = max(dark.max(), bright.max())
    rows = [("time", f"{wall:.0f} s, {cpu:.0f} s of CPU, {options.jobs} processes", "< 120 s on 4 cores", wall < 120),
            ("memory", f"{peak / 1e6:.0f} MB", "< 1000 MB", peak < 1e9),
            ("drift, worst error", f"{drift.max():.2f} px", "<= 0.5 px", drift.max() <= 0.5),
            ("noise, worst error", f"{noise:.1%}", "<= 10 %", noise <= 0.1),
            ("masks, worst IoU", f"{overlap.min():.3f}, mean {overlap.mean():.3f}", ">= 0.8", overlap.min() >= 0.8)]
    for quantity, result, target, reached in rows:
        print(f"{quantity:20} {result:40} {target:20} {'reached' if reached else 'NOT reached'}")
    return 0 if all(row[-1] for row in rows) else 1


def parser():
    result = arguments.Parser(prog="preprocess.py", description=__doc__)
    result.add_argument("--videos", type=arguments.positive_int, default=20, metavar="N", help="default=20")
    result.add_argument("--frames", type=arguments.positive_int, default=30, metavar="N",
                        help="of each video; default=30")
    result.add_argument("--size", type=arguments.positive_int, default=512, metavar="PX",
                        help="side of a frame in pixels; default=512")
    result.add_argument("--jobs", type=arguments.positive_int, default=min(4, len(os.sched_getaffinity(0))),
                        metavar="N", help="processes; default: the number of cores, at most 4")
    result.add_argument("--movies", type=Path, metavar="FOLDER",
                        help="a folder written by biogans simulate_videos; default: a new one")
    return result


def main(arguments=None):
    return launch.run(compare, parser().parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
