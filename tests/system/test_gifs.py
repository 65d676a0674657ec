"""GIFs as other programs read them, and the movie of a training: whose pictures it shows, and what it states."""

import csv
import os
import time

import numpy as np
import pytest
from PIL import Image

from biogans.system.errors import InputError
from biogans.system.gifs import training_pictures, write_gif, write_training_movie
from biogans.system.progress import COLUMNS

RUN = "DCGAN.WGAN-GP.1"


def frames_of(path):
    """float32 (frames, height, width, 3), and milliseconds of each frame."""
    with Image.open(path) as gif:
        found = []
        for k in range(gif.n_frames):
            gif.seek(k)
            found.append((np.asarray(gif.convert("RGB"), "float32"), gif.info["duration"]))
    return [np.array(each) for each in zip(*found)]


def write_run(folder, pictures, scores=None, rows=None, size=(60, 40)):
    """Write the log and pictures of a run: gray levels that rise with the iteration; returns (images, log)."""
    images, log = folder / "images", folder / f"checkpoints/log.{RUN}.csv"
    for each in (images, log.parent):
        each.mkdir(exist_ok=True)
    for iteration in pictures:
        Image.new("RGB", size, (iteration,) * 3).save(images / f"fake_samples.{RUN}.{iteration}.png")
    with open(log, "w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *(
            (k, -1.0, 1.0, k, *((scores[k], 0) if scores and k in scores else ("", "")))
            for k in range(1, (rows or max(pictures)) + 1))])
    return images, log


def test_a_gif_has_all_frames_and_goes_round(tmp_path):
    frames = [np.full((20, 30, 3), 20 * k, np.uint8) for k in range(12)]
    write_gif(tmp_path / "a.gif", frames, 20, last=1.5)
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.info["loop"] == 0
    seen, durations = frames_of(tmp_path / "a.gif")
    assert durations.tolist() == [50] * 11 + [1550] and np.abs(seen - np.array(frames, float)).max() < 4


def test_the_movie_of_a_training_has_a_frame_for_each_picture_in_order(tmp_path):
    images, log = write_run(tmp_path, (9, 100, 200), {9: 3.25, 100: 2.5, 200: 0.125})
    assert write_training_movie(images, RUN, log) == images / f"training.{RUN}.gif"
    seen, durations = frames_of(images / f"training.{RUN}.gif")
    assert np.abs(seen[:, -20, 20, 0] - [9, 100, 200]).max() < 3 and durations[-1] > 5 * durations[0]
    assert all(len(np.unique(frame[:24])) > 2 for frame in seen)        # text
    assert [text.split() for _, text in training_pictures(images, RUN, log)] == [
        ["iteration", "9", "held-out", "distance", "3.25"], ["iteration", "100", "held-out", "distance", "2.5"],
        ["iteration", "200", "held-out", "distance", "0.125"]]


def test_pictures_of_an_earlier_run_are_left_out_by_the_scores(tmp_path):
    """It had other iterations, and more of them."""
    images, log = write_run(tmp_path, (10, 20, 25, 30, 90), {10: 1, 20: 2, 30: 1}, rows=30)
    assert [file.name.split(".")[-2] for file, _ in training_pictures(images, RUN, log)] == ["10", "20", "30"]


def test_pictures_of_an_earlier_run_are_left_out_by_their_time_without_scores(tmp_path):
    images, log = write_run(tmp_path, (10, 15, 20))
    events = tmp_path / f"checkpoints/tensorboard/{RUN}"
    events.mkdir(parents=True)
    now = int(time.time())
    for begun in (now - 1000, now - 10):                # of the run, and of its resumption
        (events / f"events.out.tfevents.{begun}.host.1.2").touch()
    os.utime(images / f"fake_samples.{RUN}.15.png", (now - 5000, now - 5000))
    os.utime(images / f"fake_samples.{RUN}.10.png", (now - 900, now - 900))
    assert [text for _, text in training_pictures(images, RUN, log)] == ["iteration 10", "iteration 20"]


def test_many_pictures_are_thinned_and_the_file_stays_small(tmp_path):
    images, log = write_run(tmp_path, range(1, 131))
    rng = np.random.default_rng(0)
    for file in images.glob("fake*"):
        Image.fromarray(rng.integers(0, 255, (300, 400, 3), np.uint8)).save(file)
    path = write_training_movie(images, RUN, log)
    with Image.open(path) as gif:
        assert 10 <= gif.n_frames <= 60 and path.stat().st_size < 6_000_000
    iterations = [int(text.split()[1]) for _, text in training_pictures(images, RUN, log)]
    assert len(iterations) == 60 and iterations[::59] == [1, 130] and set(np.diff(iterations)) == {2, 3}


def test_damaged_pictures_and_other_sizes_do_not_matter(tmp_path):
    images, log = write_run(tmp_path, (1, 2, 3))
    (images / f"fake_samples.{RUN}.2.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    Image.new("RGB", (70, 30)).save(images / f"fake_samples.{RUN}.1.png")
    seen, _ = frames_of(write_training_movie(images, RUN, log))
    assert seen.shape == (2, 64, 70, 3)


def test_without_pictures_there_is_one_line(tmp_path):
    images, log = write_run(tmp_path, (5,), rows=3)
    with pytest.raises(InputError, match="no pictures"):
        write_training_movie(images, RUN, log)
