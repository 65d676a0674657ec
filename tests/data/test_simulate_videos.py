"""biogans simulate_videos: the files of videos and truth, and the refusal of a folder in use."""

import h5py
import numpy as np
import tifffile


def test_the_command(run, tmp_path):
    done = run("simulate_videos", "-o", "movies", "-n", "2", "--frames", "3", "--size", "64")
    assert (done.returncode, done.stderr) == (0, "")
    for index in range(2):
        stack = tifffile.imread(tmp_path / f"movies/videos/mitochondria_{index:02d}.ome.tif")
        with h5py.File(tmp_path / f"movies/truth/mitochondria_{index:02d}.h5") as truth:
            assert stack.shape == truth["mask"].shape == (3, 64, 64) and stack.dtype == np.uint16
            assert truth["drift"].shape == (3, 2) and not truth["drift"][0].any() and truth.attrs["gain"] > 0
    again = run("simulate_videos", "-o", "movies")
    assert again.returncode == 2 and again.stderr.count("\n") == 1 and "--overwrite" in again.stderr
