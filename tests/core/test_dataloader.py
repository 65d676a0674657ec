"""dataloader: image files of every kind, the cache, copies of images, and batches."""

import io
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings, strategies as st
from PIL import Image, PngImagePlugin

from biogans.core import dataloader
from biogans.core.dataloader import Batches, Images, load
from biogans.core.models import NetworkSpec
from biogans.io import image_files
from biogans.io.image_sets import ReadSettings
from biogans.system.errors import InputError
from conftest import guarded, write_images
from private_mounts import unshared

RNG = np.random.default_rng(5)
RGB = RNG.integers(0, 256, (16, 24, 3), np.uint8)
SKIP = ReadSettings(skip_bad_images=True)


def same(one, other):
    return one.factors == other.factors and one.fingerprint == other.fingerprint


def refusal(*arguments, **settings):
    """The message of the InputError that `load` must raise."""
    with pytest.raises(InputError) as mistake:
        load(*arguments, **settings)
    assert "\n" not in str(mistake.value)
    return str(mistake.value)


def save(path, pixels, **settings):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        Image.fromarray(pixels).save(path, **settings)
    else:
        tifffile.imwrite(path, pixels, **settings)
    return path


# ---------------------------------------------------------------------------------------------- kinds of files

GRAY = RGB[..., 0]
DEEP = GRAY.astype(np.uint16) * 100
KINDS = {       # file name: (array that is written, settings of the writer, pixels (images, height, width, channels))
    "gray.png": (GRAY, {}, GRAY[None, ..., None]),
    "rgb.png": (RGB, {}, RGB[None]),
    "rgb without blue.png": (RGB * np.uint8((1, 1, 0)), {}, RGB[None, ..., :2]),
    "opaque rgba.png": (np.dstack([RGB, np.full((16, 24), 255, np.uint8)]), {}, RGB[None]),
    "rgba as 4 channels.png": (np.dstack([RGB, GRAY[::-1]]), {}, np.dstack([RGB, GRAY[::-1]])[None]),
    "16 bits.png": (DEEP, {}, np.rint(DEEP / DEEP.max() * 255)[None, ..., None]),
    "gray.tif": (GRAY, {}, GRAY[None, ..., None]),
    "rgb.tiff": (RGB, {"photometric": "rgb"}, RGB[None]),
    "compressed.tif": (RGB, {"photometric": "rgb", "compression": "zlib"}, RGB[None]),
    "2 pages are channels.tif": (RGB.transpose(2, 0, 1)[:2], {"photometric": "minisblack"}, RGB[None, ..., :2]),
    "4 pages are channels.tif": (np.stack([GRAY, GRAY // 2, GRAY // 3, GRAY // 5]), {"photometric": "minisblack"},
                                 np.dstack([GRAY, GRAY // 2, GRAY // 3, GRAY // 5])[None]),
    "plain pages are channels.tif": (RGB.transpose(2, 0, 1)[:2], {"photometric": "minisblack", "metadata": None},
                                     RGB[None, ..., :2]),
    "7 pages are images.tif": (np.stack([GRAY + np.uint8(k) for k in range(7)]), {"photometric": "minisblack"},
                               np.stack([GRAY + np.uint8(k) for k in range(7)])[..., None]),
    "3 time points of ImageJ are images.tif": (RGB.transpose(2, 0, 1), {"imagej": True, "metadata": {"axes": "TYX"}},
                                               RGB.transpose(2, 0, 1)[..., None]),
    "ImageJ hyperstack CYX.tif": (DEEP[None] // np.uint16([[[1]], [[2]]]),
                                  {"imagej": True, "metadata": {"axes": "CYX"}},
                                  np.rint(np.dstack([DEEP, DEEP // 2]) / [DEEP.max(), DEEP.max() // 2] * 255)[None]),
    "ImageJ hyperstack TCYX.tif": (np.stack([RGB, RGB[::-1]]).transpose(0, 3, 1, 2),
                                   {"imagej": True, "metadata": {"axes": "TCYX"}}, np.stack([RGB, RGB[::-1]])),
    "floats.tif": (np.float32(GRAY / 255) - np.float32(0.1), {},
                   np.rint((GRAY - GRAY.min()) / (GRAY.max() - GRAY.min()) * 255)[None, ..., None]),
}


@pytest.mark.parametrize("name", KINDS)
def test_kinds_of_files(tmp_path, name):
    written, settings, expected = KINDS[name]
    save(tmp_path / "Alp14" / name, written, **settings)
    images = load(tmp_path)
    assert images.pixels.dtype == np.uint8 and images.pixels.shape == expected.shape
    assert np.abs(images.pixels.astype(float) - expected).max() <= (0 if written.dtype == np.uint8 else 1)
    assert images.labels.tolist() == [0] * len(expected)


@pytest.mark.filterwarnings("error")
def test_palettes_and_bits(tmp_path):
    colours = RNG.integers(0, 256, (5, 3), np.uint8)
    indices = RNG.integers(0, 5, (16, 24), np.uint8)
    palette = Image.fromarray(indices, "P")
    palette.putpalette(colours.tobytes())
    (tmp_path / "Alp14").mkdir()
    palette.save(tmp_path / "Alp14" / "palette.png", transparency=bytes([0, 255, 255, 255, 255]))
    assert (load(tmp_path).pixels == colours[indices]).all()
    (tmp_path / "bits").mkdir()
    Image.fromarray(GRAY > 99).save(tmp_path / "bits" / "bits.png")
    assert (load(tmp_path / "bits").pixels[0, ..., 0] == np.where(GRAY > 99, 255, 0)).all()


def test_jpeg_and_capital_letters(tmp_path):
    save(tmp_path / "A" / "x.png", RGB).rename(tmp_path / "A" / "X.PNG")
    assert (load(tmp_path).pixels == RGB).all()
    Image.fromarray(np.full((16, 24, 3), (200, 100, 50), np.uint8)).save(tmp_path / "A" / "X.PNG", "JPEG")
    pixels = load(tmp_path, settings=ReadSettings((1, 2, 3))).pixels
    assert np.abs(pixels[0, 0, 0] - np.array([200, 100, 50.])).max() <= 3


def test_labels_and_counts_follow_the_folders(tmp_path):
    for k, (factor, count) in enumerate({"B": 3, "A": 5, "C": 1}.items()):
        for n in range(count):
            save(tmp_path / factor / f"{n}.png", np.full((16, 24), 10 * k + n + 1, np.uint8) * (GRAY > 9))
    save(tmp_path / "C" / "more.tif", np.full((6, 16, 24), 99, np.uint8) * (GRAY > 9), photometric="minisblack")
    images = load(tmp_path)
    assert images.factors == ("A", "B", "C") and images.labels.tolist() == [0] * 5 + [1] * 3 + [2] * 7
    assert images.pixels.max(axis=(1, 2, 3)).tolist() == [11, 12, 13, 14, 15, 1, 2, 3, 21] + [99] * 6
    assert load(tmp_path, ("C", "B")).labels.tolist() == [0] * 3 + [1] * 7


@pytest.mark.parametrize("channels, kept", [((), (1, 2)), ((1, 2), (1, 2)), ((2, 1), (2, 1)), ((2,), (2,)),
                                            ((1, 2, 3), (1, 2, 3))])
def test_choice_of_channels(data, channels, kept):
    whole = load(data, settings=ReadSettings((1, 2, 3))).pixels
    images = load(data, settings=ReadSettings(channels))
    assert images.settings.channels == kept and (images.pixels == whole[..., [channel - 1 for channel in kept]]).all()


def test_channels_that_do_not_exist(data):
    assert refusal(data, settings=ReadSettings((1, 4))) == "--channels 1,4: the images have only 3 channel(s)"
    assert "once" in refusal(data, settings=ReadSettings((2, 2)))


def test_constant_images_retain_one_channel(tmp_path):
    save(tmp_path / "A" / "black.png", np.zeros((16, 24, 3), np.uint8))
    assert load(tmp_path).pixels.shape == (1, 16, 24, 1)


def test_16_bits_are_scaled_by_the_largest_value_of_all_images(tmp_path):
    """So that brightness can be compared between images; each channel has its own scale."""
    for n, factor in enumerate((60, 240)):
        save(tmp_path / "A" / f"{n}.tif", np.stack([GRAY.astype(np.uint16) * factor, 7 * GRAY.astype(np.uint16)]),
             photometric="minisblack")
    pixels = load(tmp_path).pixels
    top = GRAY.max()
    assert pixels.max(axis=(1, 2)).tolist() == [[64, 255], [255, 255]]
    assert (pixels[0, ..., 1] == pixels[1, ..., 1]).all()
    assert (pixels[1, ..., 0] == np.rint(GRAY / top * 255)).all()


def test_pixel_size(tmp_path):
    save(tmp_path / "A" / "x.png", RGB, dpi=(25400 / 0.19,) * 2)
    assert load(tmp_path).pixel_size_um == pytest.approx(0.19, rel=1e-3)
    save(tmp_path / "A" / "x.png", RGB, dpi=(300, 300))      # a printer's
    assert load(tmp_path).pixel_size_um is None
    save(tmp_path / "A" / "x.png", RGB)
    assert load(tmp_path).pixel_size_um is None


# ---------------------------------------------------------------------------------------------- sizes

@pytest.mark.parametrize("height, width, smallest", [(48, 80, (3, 5, 4)), (96, 160, (3, 5, 5)), (40, 40, (5, 5, 3)),
                                                     (64, 64, (4, 4, 4)), (28, 28, (7, 7, 2)), (16, 24, (4, 6, 2))])
def test_sizes_with_a_network(tmp_path, height, width, smallest):
    pixels = load(write_images(tmp_path, number=1, size=(height, width))).pixels
    spec = NetworkSpec("DCGAN-starshaped", *pixels.shape[1:], ("Alp14", "Tea1"))
    spec.check()
    assert spec.halvings == smallest


@pytest.mark.parametrize("height, width", [(10, 10), (47, 80), (48, 81), (50, 80), (8, 8), (4, 4), (404, 404)])
def test_sizes_without_a_network(height, width):
    with pytest.raises(InputError, match=f"images of {height}x{width} pixels .* crop or pad"):
        NetworkSpec("DCGAN", height, width, 2, ("A",)).check()


# ---------------------------------------------------------------------------------------------- bad images

def spoil(folder):
    """Replace three images of `folder` by a truncated PNG, a text and a TIFF of NaN; returns their paths."""
    whole = (folder / "cell000.png").read_bytes()
    (folder / "cell000.png").write_bytes(whole[:len(whole) // 2])
    (folder / "cell001.png").write_text("no image")
    (folder / "cell002.png").unlink()
    save(folder / "cell002.tif", np.full((2, 16, 24), np.nan, np.float32), photometric="minisblack")
    return [folder / name for name in ("cell000.png", "cell001.png", "cell002.tif")]


def test_bad_images_are_reported_or_skipped_and_counted(data, caplog):
    folder = data / "LIN_train" / "Alp14"
    expected = load(data)
    for path in spoil(folder):
        message = refusal(data)
        assert str(path) in message and "--skip_bad_images" in message
        path.rename(path.with_name(path.name + ".aside"))
    for path in folder.glob("*.aside"):
        path.rename(path.with_suffix(""))
    images = load(data, settings=SKIP)
    assert images.skipped == 3 and images.labels.tolist() == [0] * 9 + [1] * 12
    assert (images.pixels == expected.pixels[3:]).all() and not caplog.records


def test_only_bad_images(tmp_path):
    (tmp_path / "A").mkdir()
    (tmp_path / "A" / "x.png").write_text("no image")
    assert "none of the 1 images can be read" in refusal(tmp_path, settings=SKIP)


@pytest.mark.parametrize("other", [RGB[:8], GRAY, DEEP])
def test_images_of_different_kinds(tmp_path, other):
    save(tmp_path / "A" / "one.png", RGB if other.dtype == np.uint8 else GRAY)
    save(tmp_path / "B" / "two.png", other)
    message = refusal(tmp_path)
    assert "one.png" in message and "two.png" in message and "must be alike" in message


@pytest.mark.filterwarnings("error")
def test_huge_images_are_refused_before_they_are_decoded(tmp_path):
    (tmp_path / "A").mkdir()
    for size in (5000, 12000, 2**31 - 1):
        with open(tmp_path / "A" / "x.png", "wb") as file:
            file.write(b"\x89PNG\r\n\x1a\n")
            PngImagePlugin.putchunk(file, b"IHDR", size.to_bytes(4, "big") * 2 + b"\x08\x00\x00\x00\x00")
            PngImagePlugin.putchunk(file, b"IDAT", b"")
        with guarded(10):
            message = refusal(tmp_path)
            assert f"{size}x{size} pixels" in message and "are refused: crop" in message


def test_other_formats_are_not_opened_whatever_their_name(tmp_path):
    """Pillow would run Ghostscript for PostScript."""
    (tmp_path / "A").mkdir()
    Image.fromarray(RGB).save(tmp_path / "A" / "x.png", "EPS")
    assert "can't be read" in refusal(tmp_path)


# ---------------------------------------------------------------------------------------------- the cache

def test_the_cache_has_identical_pixels_and_is_mapped_into_memory(data, tmp_path, monkeypatch):
    (data / "LIN_train" / "Alp14" / "cell003.png").write_text("no image")
    plain, cache = load(data, settings=SKIP), tmp_path / "there" / "cache.npy"
    for _ in range(2):
        cached = load(data, settings=SKIP, cache=str(cache))
        assert isinstance(cached.pixels, np.memmap) and (cached.pixels == plain.pixels).all()
        assert (cached.labels == plain.labels).all() and cached.settings.channels == (1, 2) and cached.skipped == 1
        monkeypatch.setattr(image_files, "read_or_error", None)       # the second time nothing is decoded
    batches = [Batches(images, 4, 0, True).take(7, 3) for images in (plain, cached)]
    assert (batches[0] == batches[1]).all()
    assert sorted(path.name for path in cache.parent.iterdir()) == ["cache.npy", "cache.npy.json"]


def change_image(data, cache):
    Image.fromarray(RGB).save(data / "LIN_train" / "Alp14" / "cell004.png")


def remove_image(data, cache):
    (data / "LIN_train" / "Tea1" / "cell004.png").unlink()


def truncate_cache(data, cache):
    cache.write_bytes(cache.read_bytes()[:5000])


def spoil_note(data, cache):
    cache.with_name("cache.npy.json").write_text("{")


def remove_note(data, cache):
    cache.with_name("cache.npy.json").unlink()


@pytest.mark.parametrize("content", [np.array(["text"] * 24), np.array([{"an": "object"}]), np.zeros((24, 3))])
def test_a_file_of_something_else_is_no_cache(data, tmp_path, content):
    np.save(tmp_path / "mine.npy", content, allow_pickle=True)
    before = (tmp_path / "mine.npy").read_bytes()
    assert "mine.npy: this file holds something else" in refusal(data, cache=tmp_path / "mine.npy")
    assert (tmp_path / "mine.npy").read_bytes() == before


@pytest.mark.parametrize("change", [change_image, remove_image, truncate_cache, spoil_note, remove_note])
def test_the_cache_is_rebuilt_after_a_change(data, tmp_path, change):
    cache = tmp_path / "cache.npy"
    load(data, cache=cache)
    change(data, cache)
    assert same(load(data, cache=cache), load(data))


def test_the_cache_is_rebuilt_for_other_factors_and_channels(data, tmp_path):
    for choice in ({}, {"factors": ("Tea1",)}, {"settings": ReadSettings((2, 1))}, {"split": "test"}):
        assert same(load(data, cache=tmp_path / "cache.npy", **choice), load(data, **choice))


@pytest.mark.parametrize("name", ["cache", "cache.json", "cache.npz"])
def test_a_cache_must_be_an_npy_file(data, tmp_path, name):
    assert ".npy" in refusal(data, cache=tmp_path / name) and not (tmp_path / name).exists()


def test_a_failure_leaves_no_cache(data, tmp_path):
    (data / "LIN_train" / "Tea1" / "cell011.png").write_text("no image")
    refusal(data, cache=tmp_path / "there" / "cache.npy")
    assert not list(tmp_path.glob("there/*"))


def test_no_room_for_the_cache(data, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    code = ("import sys; from biogans.core import dataloader\n"
            "try: dataloader.load(sys.argv[1], cache=sys.argv[2])\n"
            "except dataloader.InputError as mistake: print(mistake)\n"
            "import os; print(os.listdir(os.path.dirname(sys.argv[2])))")
    mount = f"mount -t tmpfs -o size=20k none {small}; head -c 2k /dev/zero > {small}/other"
    done = subprocess.run([*unshared(mount), sys.executable, "-c", code, data, small / "cells.npy"],
                          capture_output=True, text=True, timeout=120)
    message, listing = done.stdout.splitlines()
    assert "cells.npy can't be written: it needs 18,432 bytes" in message and listing == "['other']", done


def test_the_cache_of_images_with_a_broken_link(data, tmp_path):
    os.symlink("nowhere.png", data / "LIN_train" / "Alp14" / "z.png")
    assert "z.png: can't be read (No such file" in refusal(data, cache=tmp_path / "cache.npy")
    images = load(data, cache=tmp_path / "cache.npy", settings=SKIP)
    assert images.skipped == 1 and len(images.pixels) == 24


def test_a_pipe_in_place_of_a_manifest_is_not_waited_for(data):
    os.mkfifo(data / "manifest.csv")
    with guarded():
        assert dataloader.read_manifest(load(data).files) == {}


# ---------------------------------------------------------------------------------------------- copies

@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.parametrize("all_read", [False, True])
def test_held_out_images_that_are_training_images(data, tmp_path, capsys, cache, all_read):
    """Whatever the names of their files, in whatever class."""
    for k in range(3):
        shutil.copy(data / "LIN_train" / "Alp14" / f"cell00{k}.png", data / "LIN_test" / "Tea1" / f"other{k}.png")
    training, held_out = (load(data, split=split, cache=cache and tmp_path / f"{split}.npy")
                          for split in ("train", "test"))
    dataloader.warn_of_copies(training, held_out, all_read)
    those = "27 held-out images" if all_read else "the 27 held-out images that were read"
    error = capsys.readouterr().err
    assert error.startswith(f"warning: 3 of {those} are training images:") and error.count("\n") == 1
    assert cache == isinstance(training.pixels, np.memmap)


def test_images_that_occur_several_times(data, capsys):
    """Each held-out image counts once, however often training has it."""
    for folder in ("LIN_train", "LIN_test"):
        for k in range(2):
            shutil.copy(data / "LIN_train" / "Alp14" / "cell000.png", data / folder / "Tea1" / f"other{k}.png")
    dataloader.warn_of_copies(load(data), load(data, split="test"))
    assert capsys.readouterr().err.startswith("warning: 2 of 26 ")


def test_no_copies(data, capsys):
    dataloader.warn_of_copies(load(data), load(data, split="test"))
    assert not capsys.readouterr().err


# ---------------------------------------------------------------------------------------------- batches

def numbered(counts):
    """Images of a single pixel with the number of the image; counts[k] of factor k, in random order."""
    labels = RNG.permutation(np.repeat(np.arange(len(counts)), counts))
    pixels = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1)
    return Images(pixels, labels, tuple(f"factor {k}" for k in range(len(counts))))


counts = st.lists(st.integers(4, 30), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(counts, st.integers(1, 4), st.integers(0, 2**31 - 1), st.booleans())
def test_each_image_is_seen_once_in_each_pass(counts, batch_size, seed, per_factor):
    images = numbered(counts)
    batches = Batches(images, batch_size, seed, per_factor)
    groups = counts if per_factor else [sum(counts)]
    for g, size in enumerate(groups):
        in_a_pass = size // batch_size
        for number in range(2):
            seen = batches.take(number * in_a_pass, in_a_pass)[:, g].ravel()
            assert len(set(seen)) == in_a_pass * batch_size
            assert not per_factor or (images.labels[seen] == g).all()


@settings(max_examples=60, deadline=None)
@given(counts, st.integers(1, 4), st.integers(0, 2**31 - 1), st.booleans(), st.integers(0, 10**6), st.integers(1, 5))
def test_batches_are_a_function_of_seed_and_position(counts, batch_size, seed, per_factor, position, count):
    images = numbered(counts)
    together = Batches(images, batch_size, seed, per_factor).take(position, count)
    assert together.shape == (count, len(counts) if per_factor else 1, batch_size, 1, 1, 1)
    used = Batches(images, batch_size, seed, per_factor)
    used.take(position + 17, 3)
    for k in reversed(range(count)):
        assert (used.take(position + k, 1)[0] == together[k]).all()


def test_a_resumed_run_sees_the_batches_of_an_uninterrupted_one(data):
    through = Batches(load(data), 4, 42, True)
    for position in range(1000):
        through.take(position, 1)
    assert (through.take(1000, 1) == Batches(load(data), 4, 42, True).take(1000, 1)).all()


def test_passes_seeds_and_factors_have_different_orders():
    images = numbered([40, 40])
    first, second = Batches(images, 40, 1, True), Batches(images, 40, 2, True)
    orders = [tuple(pixels.ravel()) for pixels in (*first.take(0, 3)[:, 0], *second.take(0, 3)[:, 0])]
    assert len(set(orders)) == 6
    ranks = [np.argsort(np.argsort(order)).tolist() for order in first.take(0, 1)[0].reshape(2, -1)]
    assert ranks[0] != ranks[1]


def test_batches_consist_of_whole_images(data):
    images = load(data)
    batch = Batches(images, 5, 3, True).take(0, 1)[0]
    for g in range(2):
        for picture in batch[g]:
            assert any((picture == known).all() for known in images.pixels[images.labels == g])


@pytest.mark.parametrize("sizes, batch_size, per_factor, name", [([12, 8], 9, True, "factor 1 has 8"),
                                                                 ([4, 4], 9, False, "the data folder has 8"),
                                                                 ([9, 0], 1, True, "factor 1 has 0")])
def test_too_few_images_for_a_batch(sizes, batch_size, per_factor, name):
    with pytest.raises(InputError, match=f"{name} images, too few for a batch of {batch_size}: lower --batch_size"):
        Batches(numbered(sizes), batch_size, 0, per_factor)


# ---------------------------------------------------------------------------------------------- composites

def coloured(counts, channels=2, seed=0):
    """Images of 4x6 pixels: red has four values including 0, green everywhere the number of the image plus 1."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    pixels = np.empty((len(labels), 4, 6, channels), np.uint8)
    pixels[..., 0] = rng.integers(0, 4, pixels.shape[:3]) * 60
    pixels[..., 1:] = 1 + np.arange(len(labels))[:, None, None, None]
    return Images(pixels, labels, tuple(f"factor {k}" for k in range(len(counts))))


def slow_neighbours(images, image, factor):
    """Indices of the images of a factor that are nearest in red to an image, computed one by one."""
    red = images.pixels[..., 0].astype(int)
    distances = {k: ((red[image] - red[k]) ** 2).sum() for k in np.flatnonzero(images.labels == factor)}
    return sorted(distances, key=distances.get)[:dataloader.NEIGHBOURS]


@pytest.mark.parametrize("counts, channels, block", [((9, 7, 12), 2, 1024), ((9, 7, 12), 2, 4), ((4, 3), 3, 1024),
                                                     ((12,), 2, 1024), ((6, 6, 6, 6, 6, 6, 6), 2, 1024)])
def test_composites_borrow_greens_of_similar_red(counts, channels, block, monkeypatch):
    """Red and the own greens are the image's, the others those of its five neighbours; where red is 0, all are 0."""
    monkeypatch.setattr(dataloader, "BLOCK", block)
    images = coloured(counts, channels)
    composites = dataloader.Composites(images, 4, 42)
    assert composites.take(0, 2).shape == (2, 1, 4, 4, 6, 1 + len(counts) * (channels - 1))
    assert composites.take(0, 1).dtype == np.uint8
    seen = [set() for _ in counts]
    for position in range(40):
        batch = composites.take(position, 1)[0, 0]
        for image, composite in zip(composites.indices(0, position), batch, strict=True):
            assert np.array_equal(composite[..., 0], images.pixels[image, ..., 0])
            lit = composite[..., 0] > 0
            for k in range(len(counts)):
                green = composite[..., 1 + k * (channels - 1):1 + (k + 1) * (channels - 1)]
                (donor,) = np.unique(green[lit]) - 1
                assert not green[~lit].any()
                own = images.labels[image] == k
                assert donor == image if own else donor in slow_neighbours(images, image, k)
                seen[k].add((image, donor))
    if len(counts) > 1:         # neighbours vary
        image = composites.indices(0, 0)[0]
        other = int(images.labels[image] == 0)
        assert {donor for each, donor in seen[other] if each == image} <= set(slow_neighbours(images, image, other))
        assert len(seen[other]) > counts[other] * 2


def test_composites_are_a_function_of_seed_and_position():
    """So that a resumed run sees those of an uninterrupted one."""
    images = coloured((9, 7, 12))
    together, used = (dataloader.Composites(images, 4, 42) for _ in range(2))
    together = together.take(30, 5)
    used.take(3, 4)
    for k in reversed(range(5)):
        assert np.array_equal(used.take(30 + k, 1)[0], together[k])
    assert not np.array_equal(dataloader.Composites(images, 4, 43).take(30, 5), together)


# ---------------------------------------------------------------------------------------------- real images

def test_real_cells(real_cells):
    images = load(real_cells)
    assert len(images.pixels) == len([path for path in real_cells.rglob("*.*") if path.suffix in image_files.SUFFIXES])
    assert 2 <= images.pixels.shape[-1] <= 4 and images.pixels.std() > 1 and not images.skipped


# ---------------------------------------------------------------------------------------------- fuzzing

def _small_files():
    """{suffix: bytes} of small images."""
    png, tiff, jpeg = io.BytesIO(), io.BytesIO(), io.BytesIO()
    Image.fromarray(RGB).save(png, format="PNG")
    tifffile.imwrite(tiff, RGB.transpose(2, 0, 1)[:2], imagej=True, metadata={"axes": "CYX"})
    Image.fromarray(RGB).save(jpeg, format="JPEG")
    return {".png": png.getvalue(), ".tif": tiff.getvalue(), ".jpg": jpeg.getvalue()}


FUZZED = _small_files()


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(FUZZED)), st.data())
def test_changed_bytes_of_an_image_are_read_or_refused(tmp_path_factory, suffix, data):
    """The result is pixels of a sensible size, or one line that names the file."""
    content = bytearray(FUZZED[suffix])
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=6)):
        content[place] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("fuzz") / f"mutant{suffix}"
    path.write_bytes(content[:data.draw(st.integers(0, len(content)))])
    result = image_files.read_or_error(path)
    if isinstance(result, InputError):
        assert "\n" not in str(result) and str(path) in str(result)
    else:
        shape = result.frames.shape
        assert len(shape) == 4 and 1 <= shape[-1] <= 4 and max(shape[1:3]) <= image_files.LARGEST_SIDE


@pytest.mark.parametrize("style", [{}, {"ome": True, "metadata": {"axes": "TYX"}}, {"compression": "zlib"}])
def test_a_partly_readable_tiff_is_refused(tmp_path, style):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.random.default_rng(0).integers(0, 4000, (5, 32, 48)).astype(np.uint16), **style)
    path.write_bytes(path.read_bytes()[:path.stat().st_size * 2 // 3])
    assert "can't be read" in str(image_files.read_or_error(path))


def test_a_tiff_that_claims_far_more_than_it_holds(tmp_path):
    """Empty pages compress to a tiny fraction of their size."""
    page = np.zeros((512, 512), np.uint8)
    path = tmp_path / "cells" / "bomb.tif"
    path.parent.mkdir()
    tifffile.imwrite(path, (page for _ in range(1200)), shape=(1200, 512, 512), dtype=np.uint8, compression="zlib",
                     photometric="minisblack")
    assert "far more than the file has" in refusal(tmp_path / "cells")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_manifest_gives_quantities(data, encoding):
    """Also as spreadsheets save it."""
    (data / "LIN_train/manifest.csv").write_text(
        "file,é\n" + "".join(f"Alp14/cell{k:03d}.png,{k}\n" for k in range(12)), encoding=encoding)
    found = dataloader.read_manifest(dataloader.load(data, ["Alp14"]).files)
    assert {name: values.tolist() for name, values in found.items()} == {"é": [*range(12)]}


@pytest.mark.parametrize("content", ["file,\xe9\nAlp14/cell000.png,1\n".encode("latin-1"), b"file\n" + b"x" * 200_000])
def test_a_manifest_that_is_no_table_is_refused(data, content):
    (data / "LIN_train/manifest.csv").write_bytes(content)
    with pytest.raises(InputError, match="manifest.csv: not a table in UTF-8 .*: save it as CSV UTF-8"):
        dataloader.read_manifest(dataloader.load(data, ["Alp14"]).files)


def test_a_factor_whose_name_is_not_utf8_is_refused(data):
    """Before a training, not when its name is first stored."""
    (data / "LIN_train/Alp14").rename(data / "LIN_train/n\udcff")
    with pytest.raises(InputError, match="not UTF-8: rename it"):
        dataloader.load(data)
