"""biogans preprocess: reproducible data folders from simulated videos, compared with the truth, and resumed runs."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image

from biogans.core import dataloader
from biogans.data import mitochondria, simulate_videos
from biogans.system.lattice import LABEL
from biogans.video import frame_filters, preprocess, processing, videos
from biogans.video.settings import image_settings
from conftest import REAL_DATA, ROOT, SMALL
from private_mounts import unshared


class NoMeter:
    def update(self):
        pass


@pytest.fixture(scope="module")
def movies(tmp_path_factory):
    """Four videos of 8 frames, 128x128, and their truth."""
    folder, series = tmp_path_factory.mktemp("movies"), simulate_videos.Series(seed=42, frames=8, shape=(128, 128))
    for index in range(4):
        simulate_videos.write_video(folder, series, index, NoMeter())
    return folder


@pytest.fixture(scope="module")
def data(movies, tmp_path_factory):
    """The data folder that biogans preprocess makes of them."""
    folder = tmp_path_factory.mktemp("made") / "data"
    assert preprocess.main(["-i", str(movies / "videos"), "-o", str(folder), "--size", "32", "-j", "2"]) == 0
    return folder


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def listing(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.png")}


# ---------------------------------------------------------------------------------------------- the data folder

def test_the_data_folder_is_as_train_reads_it(data):
    train, test = dataloader.load(data), dataloader.load(data, split="test")
    assert train.pixels.shape[1:] == (32, 32, 1) and train.factors == ("videos",)
    assert len(train.pixels) > 3 * len(test.pixels) / 2 > 0 and train.pixel_size_um == pytest.approx(0.1, rel=1e-3)
    listed = rows(data / "manifest.csv")
    assert {row["file"] for row in listed} == {str(path) for path in listing(data) if ".work" not in str(path)
                                               and path.name != "contact_sheet.png"}


def test_no_video_is_in_both_splits(data):
    train, test = ({row["video"] for row in rows(data / "manifest.csv") if row["split"] == split}
                   for split in ("train", "test"))
    assert len(train) == 3 and len(test) == 1 and not train & test


def test_drift_noise_and_masks_are_those_of_the_simulation(movies, data):
    settings = image_settings(preprocess.parse(["-i", str(movies / "videos"), "-o", str(data)]))
    recipe = processing.Recipe(settings, processing.STEPS)
    for index in range(4):
        name = f"mitochondria_{index:02d}"
        record = json.loads((data / ".work" / f"videos.{name}.json").read_text())
        with h5py.File(movies / "truth" / f"{name}.h5") as truth:
            facts = dict(truth.attrs)
            drift, masks, focused = (truth[name][()] for name in ("drift", "mask", "focused"))
        assert np.abs(drift - record["drift"])[focused].max() < 0.6         # 512x512: benchmarks/preprocess.py
        noise = frame_filters.Noise(*record["noise"][0])
        dark = facts["offset"] + facts["gain"] * facts["background"]
        true = np.sqrt(facts["gain"] ** 2 * facts["background"] + facts["read_noise"] ** 2)
        assert noise.sigma(dark) == pytest.approx(true, rel=0.1)
        still = processing.Measurements(np.zeros((8, 2)), np.array(record["gain"]), [noise], [dark])
        reference = processing.Reference(record["video"]["threshold"], [1.0], 0.0)
        for number, frame in videos.open_video(movies / "videos" / f"{name}.ome.tif").frames([0, 7]):
            if focused[number]:
                images = processing.clean(frame, number, still, recipe)
                found = processing.structure_mask(images, reference, settings)
                assert (found & masks[number]).sum() / (found | masks[number]).sum() > 0.75


def test_hot_pixels_of_the_camera_change_nothing(movies, data, tmp_path):
    """They stay in place, so they would hide the drift; and they would become white, and all else black."""
    (tmp_path / "videos").mkdir()
    for path in (movies / "videos").iterdir():
        frames = tifffile.imread(path)
        at = np.random.default_rng(3).integers(0, 128, (2, 9))
        frames[:, at[0], at[1]] = 65535
        tifffile.imwrite(tmp_path / "videos" / path.name, frames, metadata={"axes": "TYX"})
    assert preprocess.main(["-i", str(tmp_path / "videos"), "-o", str(tmp_path / "hot"), "--size", "32"]) == 0
    for hot, usual in zip(rows(tmp_path / "hot" / "videos.csv"), rows(data / "videos.csv")):
        assert float(hot["drift_px"]) == pytest.approx(float(usual["drift_px"]), abs=0.1)
        assert float(hot["white"]) == pytest.approx(float(usual["white"]), rel=0.02)
    sheets = [np.asarray(Image.open(folder / "contact_sheet.png")).astype(float) for folder in (tmp_path / "hot", data)]
    assert abs(sheets[0] - sheets[1]).mean() < 0.4


def test_structures_are_equally_bright_in_every_video(data):
    """Whatever the photons and gain of a video, the brightest parts of its crops are white and the background black."""
    images = dataloader.load(data)
    names = np.array([path.name.split(".")[0] for path in images.files])
    for name in set(names):
        pixels = images.pixels[names == name]
        assert np.quantile(pixels[pixels > 0], 0.98) > 150 and (pixels == 0).mean() > 0.3


def test_crops_are_not_empty_and_a_lost_focus_is_left_out(movies, tmp_path):
    """Of a video with blurred frames 3 to 5, crops are kept from all frames but these."""
    from scipy.ndimage import gaussian_filter
    stack = tifffile.imread(movies / "videos" / "mitochondria_00.ome.tif").astype(np.float32)
    for k in (3, 4, 5):
        stack[k] = gaussian_filter(stack[k], 5) + np.random.default_rng(k).normal(0, 5, stack[k].shape)
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "a.tif", stack.astype(np.uint16))
    assert preprocess.main(["-i", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--size", "32", "-j", "1"]) == 0
    listed = rows(tmp_path / "out" / "manifest.csv")
    assert {int(row["frame"]) for row in listed} == {0, 1, 2, 6, 7}
    assert min(float(row["coverage"]) for row in listed) >= 0.05


def test_each_step_can_be_left_out_and_the_mask_alone_kept(movies, tmp_path):
    (tmp_path / "in").mkdir()
    shutil.copy(movies / "videos" / "mitochondria_01.ome.tif", tmp_path / "in")
    seen = set()
    for k, extra in enumerate([[], *(["--without", name] for name in processing.STEPS), ["--binary"],
                               ["--crops", "grid"], ["--shrink", "2"], ["--threshold", "li"]]):
        out = tmp_path / f"out{k}"
        assert preprocess.main(["-i", str(tmp_path / "in"), "-o", str(out), "--size", "32", "--every", "7", "-j", "1",
                                *extra]) == 0
        images = dataloader.load(out)
        assert images.pixels.shape[1] == (16 if "--shrink" in extra else 32)
        assert set(np.unique(images.pixels)) == {0, 255} or "--binary" not in extra
        seen.add(images.fingerprint)
    assert len(seen) == k + 1           # each option makes a difference


# ---------------------------------------------------------------------------------------------- repeated runs

def test_the_settings_file_repeats_a_run_and_options_take_precedence(movies, data, tmp_path):
    out = tmp_path / "data"
    assert preprocess.main(["-i", str(movies / "videos"), "-o", str(out), "--settings", str(data / "settings.json"),
                            "-j", "1"]) == 0
    assert listing(out) == listing(data)
    options = preprocess.parse(["-i", "x", "-o", "y", "--settings", str(data / "settings.json"), "--size", "48"])
    assert options.size == (48, 48) and preprocess.parse(["-i", "x", "-o", "y", "--settings",
                                                          str(data / "settings.json")]).size == (32, 32)


def test_a_killed_run_resumes(movies, data, tmp_path):
    """Killed after the first video, with half a crop of another: same result, and finished videos are not redone."""
    out = tmp_path / "data"
    command = [sys.executable, ROOT / "bin/biogans", "preprocess", "-i", movies / "videos", "-o", out, "--size", "32",
               "-j", "1"]
    unsaved = tmp_path / "unsaved"
    unsaved.symlink_to("1 new")         # of train.sbatch, which a restart would resume
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True,
                               env=os.environ | {"BG_UNSAVED": str(unsaved)})
    end = time.monotonic() + 120
    while unsaved.is_symlink() and time.monotonic() < end:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = {path: path.stat().st_mtime_ns for path in out.glob(".work/videos.*.json")}
    assert 1 <= len(done) < 4
    (out / "data_train" / "videos").mkdir(parents=True, exist_ok=True)
    (out / "data_train" / "videos" / "mitochondria_03.f0099.y0000.x0000.png").write_bytes(b"half")
    again = subprocess.run(command, capture_output=True, text=True)
    assert (again.returncode, again.stderr) == (0, "") and "already done" in again.stdout
    assert listing(out) == listing(data) and all(path.stat().st_mtime_ns == when for path, when in done.items())


def test_a_lost_crop_is_replaced_and_other_settings_are_refused(movies, data, tmp_path, capsys):
    out = tmp_path / "data"
    shutil.copytree(data, out)
    lost = next((out / "data_train" / "videos").iterdir())
    lost.unlink()
    same = ["-i", str(movies / "videos"), "-o", str(out), "-j", "1"]
    assert preprocess.main([*same, "--size", "32"]) == 0 and listing(out) == listing(data)
    capsys.readouterr()
    assert preprocess.main([*same, "--size", "40"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    assert preprocess.main(["-i", str(movies / "videos"), "-o", str(tmp_path / "other")]) == 2


# ---------------------------------------------------------------------------------------------- mistakes

def test_mistakes_are_one_line(movies, run, tmp_path):
    stack = tifffile.imread(movies / "videos" / "mitochondria_00.ome.tif")
    folders = {name: tmp_path / name for name in ("empty", "cut", "wrong", "black", "small", "none")}
    for folder in folders.values():
        folder.mkdir()
    (folders["empty"] / "a.tif").touch()
    tifffile.imwrite(folders["cut"] / "a.tif", stack, metadata={"axes": "TYX"}, ome=True)
    whole = (folders["cut"] / "a.tif").read_bytes()
    (folders["cut"] / "a.tif").write_bytes(whole[:len(whole) // 2])
    tifffile.imwrite(folders["wrong"] / "a.tif", stack.transpose(1, 2, 0))
    tifffile.imwrite(folders["black"] / "a.tif", np.zeros_like(stack))
    tifffile.imwrite(folders["small"] / "a.tif", stack[:, :40, :40])
    for name, words in (("empty", "is empty"), ("cut", "damaged"), ("wrong", "--axes YXT"), ("black", "nothing to see"),
                        ("small", "lower --size"), ("none", "no videos in this folder")):
        done = run("preprocess", "-i", folders[name], "-o", tmp_path / "out" / name, "-j", "1")
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and words in done.stderr, done.stderr
        assert str(folders[name]) in done.stderr
    for extra, words in ((["--size", "30"], "multiples of 4"), (["--without", "drfit"], "none of"),
                         (["--size", "3x4x5"], "--size"), (["--settings", tmp_path / "no.json"], "settings file")):
        done = run("preprocess", "-i", movies / "videos", "-o", tmp_path / "out2", *extra)
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and words in done.stderr, done.stderr


def test_without_crops_there_is_a_contact_sheet_to_look_at(movies, tmp_path, capsys):
    out = tmp_path / "out"
    few = ["--least", "0.99", "--every", "8", "-j", "1"]
    assert preprocess.main(["-i", str(movies / "videos"), "-o", str(out), *few]) == 2
    assert "contact_sheet.png" in capsys.readouterr().err and (out / "contact_sheet.png").is_file()


# ---------------------------------------------------------------------------------------------- memory, real images

def test_memory_does_not_grow_with_the_video(tmp_path):
    """Peak memory of one process for 8 and for 64 frames of 256x256 pixels."""
    frame = next(mitochondria.simulate_video(0, 0, 1, (256, 256))[1]).counts
    peaks = []
    for length in (8, 64):
        folder = tmp_path / str(length)
        folder.mkdir()
        tifffile.imwrite(folder / "a.tif", np.repeat(frame[None], length, axis=0))
        code = ("import resource, sys; from biogans.video import preprocess; preprocess.main(sys.argv[1:]); "
                "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)")
        done = subprocess.run([sys.executable, "-c", code, "-i", folder, "-o", tmp_path / f"out{length}", "-j", "1",
                               "--without", "denoise", "--every", "8"], capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout.split()[-1]))
    assert peaks[1] < 1.05 * peaks[0] + 4000        # kB; 56 more frames are 7 MB as they are, 14 MB as float32


@pytest.mark.skipif(not (REAL_DATA / "mitochondria").is_dir(),
                    reason=f"no real mitochondria in {REAL_DATA}: set BG_REAL_DATA")
def test_real_mitochondria(tmp_path):
    """A stained cell, and an already segmented time lapse whose frames are one video."""
    for name, extra in (("images", []), ("timelapse_binary", ["--every", "10", "--without", "edges"])):
        out = tmp_path / name
        assert preprocess.main(["-i", str(REAL_DATA / "mitochondria" / name), "-o", str(out), "-j", "1", *extra]) == 0
        listed = rows(out / "manifest.csv")
        assert len(listed) >= 3 and (out / "contact_sheet.png").is_file()


def test_a_network_trains_on_the_crops(data, tmp_path, run):
    done = run("train.py", "-d", data, "-m", "DCGAN", *SMALL, "-e", "2")
    assert done.returncode == 0, done.stderr
    with Image.open(next((tmp_path / "images").glob("real_samples.*"))) as picture:
        assert np.asarray(picture)[LABEL:, 170:].max() > 200          # below the title, beside the names


def test_no_worker_survives_a_killed_run(movies, tmp_path):
    """The pipe of its standard output is closed when the last process has ended."""
    command = [sys.executable, ROOT / "bin/biogans", "preprocess", "-i", movies / "videos", "-o", tmp_path / "data",
               "--size", "32", "-j", "2", "--strength", "0.7"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while not list(tmp_path.glob("data/.work/videos.*.json")) and time.monotonic() < end:
        time.sleep(0.02)
    process.kill()
    process.communicate(timeout=60)


def test_without_shared_memory_threads_process_the_videos(movies, data, tmp_path):
    (tmp_path / "empty").mkdir()
    mount = f"mount --bind {tmp_path / 'empty'} /dev/shm; mount -o remount,ro,bind /dev/shm"
    done = subprocess.run([*unshared(mount), sys.executable, ROOT / "bin/biogans", "preprocess", "-i",
                           movies / "videos", "-o", tmp_path / "data", "--size", "32", "-j", "2"],
                          capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "") and listing(tmp_path / "data") == listing(data)
