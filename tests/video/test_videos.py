"""Reading videos of every kind, and damaged ones reported in one line."""

import os
import shutil
from pathlib import Path

import imageio.v2
import numpy as np
import pytest
import tifffile
from PIL import Image

from biogans.system.errors import InputError
from biogans.video import videos
from conftest import guarded, write_huge_png

RNG = np.random.default_rng(0)
STACK = RNG.integers(0, 4000, (5, 32, 48)).astype(np.uint16)


def read(path, **options):
    """All frames (frames, channels, height, width)."""
    return np.array([frame for _, frame in videos.open_video(path, **options).frames()])


@pytest.mark.parametrize("settings", [{}, {"compression": "zlib"}, {"ome": True, "metadata": {"axes": "TYX"}},
                                      {"imagej": True, "metadata": {"axes": "TYX"}}, {"metadata": None},
                                      {"bigtiff": True}])
def test_stacks_of_all_writers(tmp_path, settings):
    tifffile.imwrite(tmp_path / "a.tif", STACK, **settings)
    video = videos.open_video(tmp_path / "a.tif")
    assert (video.length, video.shape) == (5, (32, 48))
    assert np.array_equal(read(tmp_path / "a.tif")[:, 0], STACK)
    assert [number for number, _ in video.frames([1, 3])] == [1, 3]


@pytest.mark.parametrize("settings", [{"imagej": True, "metadata": {"axes": "TZCYX"}},
                                      {"ome": True, "metadata": {"axes": "TZCYX"}}])
def test_hyperstacks(tmp_path, settings):
    """Time, depth and channels: the maximum over depth, every slice, one channel or both."""
    values = RNG.integers(0, 4000, (3, 4, 2, 32, 48)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", values, **settings)
    assert np.array_equal(read(tmp_path / "a.tif"), values.max(axis=1)[:, :1])
    assert np.array_equal(read(tmp_path / "a.tif", channels=(2, 1)), values.max(axis=1)[:, ::-1])
    assert np.array_equal(read(tmp_path / "a.tif", depth="slices", channels=(2,)), values.reshape(12, 2, 32, 48)[:, 1:])


def test_other_orders_of_axes(tmp_path):
    values = RNG.integers(0, 4000, (2, 3, 32, 48)).astype(np.uint16)                # channels before times
    tifffile.imwrite(tmp_path / "a.ome.tif", values, ome=True, metadata={"axes": "CTYX"})
    assert np.array_equal(read(tmp_path / "a.ome.tif", channels=(1, 2)), values.transpose(1, 0, 2, 3))
    tifffile.imwrite(tmp_path / "b.tif", STACK.transpose(1, 2, 0))                  # times last
    assert np.array_equal(read(tmp_path / "b.tif", axes="YXT")[:, 0], STACK)


def test_axes_in_the_wrong_order_are_noticed(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((512, 512, 30), np.uint8))
    with pytest.raises(InputError, match=r"a.tif: 512 frames of 512x30 pixels: .*--axes YXT"):
        videos.open_video(tmp_path / "a.tif")
    assert videos.open_video(tmp_path / "a.tif", axes="yxt").length == 30
    assert videos.open_video(tmp_path / "a.tif", axes="TYX").length == 512
    for wrong in ("YX", "TTX", "TCZ"):
        with pytest.raises(InputError, match="--axes"):
            videos.open_video(tmp_path / "a.tif", axes=wrong)


def test_colours_are_averaged_and_can_be_chosen(tmp_path):
    values = RNG.integers(0, 255, (4, 32, 48, 3)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb")
    np.testing.assert_allclose(read(tmp_path / "a.tif")[:, 0], values.mean(axis=-1), rtol=1e-6)
    assert np.array_equal(read(tmp_path / "a.tif", channels=(2,))[:, 0], values[..., 1])


@pytest.mark.parametrize("suffix, codec, exact", [(".avi", "ffv1", True), (".avi", "mjpeg", False),
                                                  (".mp4", "libx264", False)])
def test_movies(tmp_path, suffix, codec, exact):
    y, x = np.mgrid[:32, :48]
    values = np.array([128 + 100 * np.sin(x / 8 + k) * np.cos(y / 8) for k in range(7)]).astype(np.uint8)
    path = tmp_path / f"a{suffix}"
    imageio.v2.mimwrite(path, list(values), codec=codec, fps=5, macro_block_size=1, **(
        {"pixelformat": "gray"} if exact else {"quality": 10}))
    frames = read(path)
    assert frames.shape == (7, 1, 32, 48)
    np.testing.assert_allclose(frames[:, 0], values, atol=0 if exact else 8)


def test_a_folder_of_frames_in_natural_order(tmp_path):
    for k in range(11):
        Image.fromarray(np.full((32, 48), k, np.uint8)).save(tmp_path / f"t{k}.png")
    assert read(tmp_path)[:, 0, 0, 0].tolist() == list(range(11))
    tifffile.imwrite(tmp_path / "t11.tif", np.full((32, 48), 11, np.uint8))
    assert len(read(tmp_path)) == 12


def test_which_files_are_videos(tmp_path):
    """A folder of stacks, or of frames, or of classes of both."""
    for name in ("wild/a.tif", "wild/b.ome.tif", "mutant/a.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / name, STACK)
    (tmp_path / "mutant" / "frames").mkdir()
    for k in range(2):
        tifffile.imwrite(tmp_path / "mutant" / "frames" / f"{k}.tif", STACK[0])
    found = videos.find_videos(tmp_path)
    assert {name: [videos.name_of(path) for path in paths] for name, paths in found.items()} == {
        "mutant": ["a", "frames"], "wild": ["a", "b"]}
    assert list(videos.find_videos(tmp_path / "wild")) == ["wild"]
    assert videos.find_videos(tmp_path / "mutant" / "frames") == {"mutant": [tmp_path / "mutant" / "frames"]}
    (tmp_path / "none").mkdir()
    for folder, words in ((tmp_path / "none", "no videos in this folder"), (tmp_path / "missing", "no such")):
        with pytest.raises(InputError, match=words):
            videos.find_videos(folder)


def test_the_pixel_size(tmp_path):
    tifffile.imwrite(tmp_path / "a.ome.tif", STACK, ome=True, metadata={
        "axes": "TYX", "PhysicalSizeX": 0.1, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.1,
        "PhysicalSizeYUnit": "µm"})
    tifffile.imwrite(tmp_path / "b.tif", STACK, imagej=True, resolution=(5, 5), metadata={"unit": "um", "axes": "TYX"})
    tifffile.imwrite(tmp_path / "c.tif", STACK)
    found = [videos.open_video(tmp_path / name).pixel_size_um for name in ("a.ome.tif", "b.tif", "c.tif")]
    assert found == [0.1, 0.2, None]


# ---------------------------------------------------------------------------------------------- damaged ones

def bad(path, words, **options):
    with pytest.raises(InputError, match=words) as mistake:
        read(path, **options)
    assert "\n" not in str(mistake.value) and str(path) in str(mistake.value)


def test_empty_truncated_and_mixed_stacks(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(b"")
    bad(path, "empty")
    path.write_bytes(b"II*\0 no TIFF at all")
    bad(path, "no frames|can't be read")
    for settings in ({}, {"ome": True, "metadata": {"axes": "TYX"}}, {"compression": "zlib"}):
        tifffile.imwrite(path, STACK, **settings)
        path.write_bytes(path.read_bytes()[:-len(path.read_bytes()) // 3])
        bad(path, "damaged|missing")
    with tifffile.TiffWriter(path) as file:
        file.write(STACK[0])
        file.write(STACK[0, :16])
    bad(path, "different sizes")
    tifffile.imwrite(path, np.full((3, 32, 48), np.nan, np.float32))
    bad(path, "pixels are NaN")
    tifffile.imwrite(path, STACK)
    bad(path, "has 1 channel", channels=(2,))


@pytest.mark.parametrize("suffix", [".avi", ".mp4"])
def test_files_that_are_not_movies(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"")
    bad(path, "replace|copy")
    path.write_bytes(b"this is not a movie" * 100)
    bad(path, "can't be read")
    imageio.v2.mimwrite(path, list(STACK.astype(np.uint8)), codec="libx264", macro_block_size=1)
    path.write_bytes(path.read_bytes()[:200])
    bad(path, "replace|copy")


def test_a_movie_opens_no_other_file(tmp_path, monkeypatch):
    """Neither as a playlist, nor by a name that ffmpeg would read as a protocol."""
    monkeypatch.chdir(tmp_path)
    imageio.v2.mimwrite("other.avi", list(STACK.astype(np.uint8)), codec="ffv1", macro_block_size=1)
    Path("list.mkv").write_text("ffconcat version 1.0\nfile other.avi\n")
    Path("list.mp4").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.avi\n#EXT-X-ENDLIST\n")
    for name in ("list.mkv", "list.mp4"):
        bad(Path(name), "can't be read")
    Path("concat:other.avi").write_bytes(b"no movie")
    bad(Path("concat:other.avi"), "can't be read")
    shutil.copy("other.avi", "data:movie.avi")
    assert len(read(Path("data:movie.avi"))) == len(STACK)


def test_huge_frames_are_refused_before_they_are_decoded(tmp_path):
    write_huge_png(tmp_path / "0.png")
    bad(tmp_path / "0.png", "40000x40000 pixels.* are refused")


def test_frames_of_mixed_sizes_and_damaged_ones(tmp_path):
    for k in range(3):
        Image.fromarray(STACK[k].astype(np.uint8)).save(tmp_path / f"{k}.png")
    Image.fromarray(STACK[0, :20].astype(np.uint8)).save(tmp_path / "3.png")
    bad(tmp_path, "3.png has 20x48 .* all frames of a video must be alike")
    (tmp_path / "3.png").write_bytes((tmp_path / "2.png").read_bytes()[:300])
    bad(tmp_path, "3.png: can't be read")


def test_frames_of_other_formats_are_refused(tmp_path):
    """A name does not choose the decoder: only the formats of image_files are opened."""
    for k in range(2):
        Image.fromarray(STACK[k].astype(np.uint8)).save(tmp_path / f"{k}.png", format="EPS")
    bad(tmp_path, "0.png: can't be read")


@pytest.mark.parametrize("name", ["wild/z.tif", "wild/z.mp4", "wild/a.tif", "frames/1.tif", "frames/2.png"])
def test_pipes_among_videos_and_frames_are_refused(tmp_path, name):
    for path in ("wild/m.tif", "frames/0.tif", "frames/3.tif"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / path, STACK[0])
    os.mkfifo(tmp_path / name)
    with guarded(), pytest.raises(InputError, match=f"{name}: this is a named pipe"):
        videos.find_videos(tmp_path)


def test_a_pipe_in_place_of_videos_is_refused(tmp_path):
    os.mkfifo(tmp_path / "a.tif")
    with guarded():
        for read in (videos.find_videos, videos.open_video):
            with pytest.raises(InputError, match="a.tif: this is a named pipe"):
                read(tmp_path / "a.tif")


def test_positions_are_not_one_video(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        for _ in range(2):
            file.write(STACK, metadata={"axes": "TYX"}, photometric="minisblack")
    with pytest.raises(InputError, match="2 positions in one video: save each as a file of its own"):
        videos.open_video(tmp_path / "a.ome.tif")
