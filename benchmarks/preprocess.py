#!/usr/bin/env python3
"""What biogans preprocess finds in simulated videos beside the truth, and the time and memory that it takes.

20 videos of 30 frames, 512x512, 16 bit, moderate noise; they are made first, which is not counted. Memory is the sum
over all processes of what each has for itself and its share of what they have in common (PSS), at its peak.
"""

import argparse
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
from biogans.video import preprocess, videos

MASKS = 3               # frames of each video whose masks are compared


def proportional_set_size(pid):
    """Bytes of a process and of its descendants."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            size = sum(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:         # it has ended
        return 0
    return size + sum(map(proportional_set_size, children))


def timed(command):
    """(wall seconds, CPU seconds, peak bytes) of a command."""
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
        sys.exit(f"{' '.join(map(str, command))} ended with status {process.returncode}")
    wall = time.monotonic() - start
    watcher.join()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, peak


def compared(path, truth, record, settings):
    """Errors of one video: drift in pixels, relative errors of the noise where it is dark and bright, masks' IoU."""
    import h5py
    video = videos.open_video(path)
    with h5py.File(truth) as file:
        facts, drift, focused = dict(file.attrs), file["drift"][()], file["focused"][()]
        chosen = np.flatnonzero(focused)[np.linspace(0, focused.sum() - 1, MASKS).astype(int)].tolist()
        masks = {k: file["mask"][k] for k in chosen}
    noise = preprocess.steps.Noise(*record["noise"][0])
    dark = facts["offset"] + facts["gain"] * facts["background"]
    errors = []
    for mean in (dark, dark + 0.8 * facts["gain"] * facts["photons"]):
        true = np.sqrt(facts["gain"] * (mean - facts["offset"]) + facts["read_noise"] ** 2)
        errors.append(abs(noise.sigma(mean) / true - 1))
    still = np.zeros((len(drift), 2))               # masks where the video has them, not registered
    measured = preprocess.Measured(video.shape, still, np.array(record["gain"]), [noise], [dark])
    overlaps = []
    for number, frame in video.frames(chosen):
        mask = preprocess.clean(frame, number, measured, preprocess.STEPS, settings, record["video"]["threshold"])[1]
        overlaps.append((mask & masks[number]).sum() / (mask | masks[number]).sum())
    return np.abs(drift - record["drift"]).max(), *errors, np.mean(overlaps)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=20)
    parser.add_argument("--frames", type=int, default=30)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--jobs", type=int, default=min(4, len(os.sched_getaffinity(0))))
    parser.add_argument("--movies", type=Path, help="a folder that biogans simulate_videos made; by default one is made")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        movies, data = options.movies or Path(name, "movies"), Path(name, "data")
        if not options.movies:
            subprocess.run([sys.executable, ROOT / "bin/biogans", "simulate_videos", "-o", movies, "-n", str(options.videos),
                            "--frames", str(options.frames), "--size", str(options.size)], check=True)
        wall, cpu, peak = timed([sys.executable, ROOT / "bin/biogans", "preprocess", "-i", movies / "videos", "-o", data, "-j",
                                 str(options.jobs)])
        settings = preprocess.parse(["-i", str(movies / "videos"), "-o", str(data)])
        print(f"{'video':16} drift error, px   noise error: dark  bright   IoU of masks")
        table = []
        for path in sorted((movies / "videos").glob("*.tif")):
            video = videos.name_of(path)
            record = json.loads((data / ".work" / f"videos.{video}.json").read_text())
            table.append(compared(path, movies / "truth" / f"{video}.h5", record, settings))
            print(f"{video:16} {table[-1][0]:15.2f} {table[-1][1]:19.1%} {table[-1][2]:7.1%} {table[-1][3]:14.3f}", flush=True)
    drift, dark, bright, overlap = np.transpose(table)
    rows = [("time", f"{wall:.0f} s, {cpu:.0f} s of CPU, {options.jobs} processes", "< 120 s on 4 cores", wall < 120),
            ("memory", f"{peak / 1e6:.0f} MB", "< 1000 MB", peak < 1e9),
            ("drift, worst error", f"{drift.max():.2f} px", "<= 0.5 px", drift.max() <= 0.5),
            ("noise, worst error", f"{max(dark.max(), bright.max()):.1%}", "<= 10 %", max(dark.max(), bright.max()) <= 0.1),
            ("masks, worst IoU", f"{overlap.min():.3f}, mean {overlap.mean():.3f}", ">= 0.8", overlap.min() >= 0.8)]
    for what, found, wanted, reached in rows:
        print(f"{what:20} {found:40} {wanted:20} {'reached' if reached else 'NOT reached'}")
    return 0 if all(row[-1] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
