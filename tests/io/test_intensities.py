"""The rule that turns grey levels of a microscope into 0 to 255."""

import numpy as np
import pytest
import tifffile

from biogans.core import dataloader
from biogans.io.image_sets import ReadSettings
from biogans.io.intensities import Intensities, Survey, stored_units

RNG = np.random.default_rng(0)
SHAPE = (48, 80)


def camera(number, offset=110, cell=500):
    """uint16 images (number, …) of a bright square on a background with an offset and noise."""
    images = RNG.normal(offset, 3, (number, *SHAPE))
    images[:, 10:30, 20:60] += cell
    return images.clip(0).astype(np.uint16)


def load(tmp_path, images, settings=None, split="train"):
    folder = tmp_path / f"x_{split}" / "A"
    folder.mkdir(parents=True, exist_ok=True)
    for k, image in enumerate(images):
        tifffile.imwrite(folder / f"{k:02}.tif", image)
    return dataloader.load(tmp_path, settings=settings or ReadSettings(), split=split)


def test_the_offset_of_a_camera_is_black(tmp_path, capsys):
    pixels = load(tmp_path, camera(6)).pixels
    assert np.median(pixels[:, :8]) < 12 and np.median(pixels[:, 12:28, 22:58]) > 235
    told = capsys.readouterr().out
    assert "intensities: 10" in told and "become 0 to 255" in told and "% of the pixels are clipped" in told


@pytest.mark.parametrize("number", [1, 3])
def test_hot_pixels_do_not_make_a_set_dark(tmp_path, number):
    images = camera(6)
    for image in images:
        image.flat[RNG.choice(image.size, number, replace=False)] = 65535
    assert np.median(load(tmp_path, images).pixels[:, 12:28, 22:58]) > 230


def test_one_bright_image_does_not_make_the_others_dark(tmp_path, capsys):
    images = camera(4)
    images[2] += 30000
    assert np.median(load(tmp_path, images).pixels[[0, 1, 3], 12:28, 22:58]) > 230
    assert "warning: 25 % of the pixels are darker or brighter" in capsys.readouterr().err


def test_a_third_of_bright_cells_are_no_exception(tmp_path):
    """In sets where many cells lack a marker, the others are what the set is about."""
    images = np.concatenate([camera(20, cell=10), camera(10, cell=5000)])
    found = load(tmp_path, images).settings.intensities
    assert 5090 < found.white[0] < 5130 and found.black[0] < 110


@pytest.mark.parametrize("values, expected", [
    (RNG.normal(0, 1, (4, *SHAPE)).astype(np.float32), 0.5),
    (RNG.integers(-1000, -745, (4, *SHAPE)).astype(np.int16), 0.5),
    (RNG.integers(0, 255, (4, *SHAPE)).astype(np.uint16) + 32768, 0.5)])
def test_negative_values_and_offsets_are_kept(tmp_path, values, expected):
    assert load(tmp_path, values).pixels.mean() / 255 == pytest.approx(expected, abs=0.02)


def test_held_out_images_are_scaled_like_the_training_images(tmp_path):
    training = load(tmp_path, camera(6))
    held_out = load(tmp_path, camera(6, cell=250), split="test")
    assert held_out.settings == training.settings
    assert np.median(held_out.pixels[:, 12:28, 22:58]) == pytest.approx(128, abs=8)


def test_a_given_range(tmp_path):
    images = np.tile(np.linspace(100, 500, 80).astype(np.uint16), (3, 48, 1))
    settings = ReadSettings(intensities=Intensities((100.0,) * 4, (500.0,) * 4))
    assert (load(tmp_path, images, settings).pixels[..., 0] == np.rint((images - 100.0) / 400 * 255)).all()


def test_8_bits_stay_unless_the_user_asks(tmp_path):
    images = RNG.integers(50, 100, (3, *SHAPE)).astype(np.uint8)
    assert (load(tmp_path, images).pixels[..., 0] == images).all()
    stretched = load(tmp_path, images, ReadSettings(percentiles=(0.0, 100.0))).pixels
    assert (stretched.min(), stretched.max()) == (0, 255)


def test_an_image_that_is_dark_in_its_range_is_warned_of(tmp_path, capsys):
    load(tmp_path, camera(3), ReadSettings(intensities=Intensities((0.0,), (65535.0,))))
    assert "warning: nearly all pixels are dark" in capsys.readouterr().err


def test_there_and_back():
    found = Intensities((100.0, 7.0), (4095.0, 9.0))
    values = np.linspace(100, 4095, 33)
    black, white, kind = stored_units(found.of_channels([0]), 1)
    units = black + found.to_bytes(values, 0) / 255 * (white - black)
    assert np.abs(units - values).max() <= (4095 - 100) / 255 / 2 + 1e-3 and kind == np.uint16
    assert stored_units(Intensities((-3.0,), (3.0,)).of_channels([0]), 1)[2] == np.float32
    assert stored_units({"black": [1], "white": ["a"]}, 1) is None and stored_units({}, 2) is None


def test_survey_leaves_out_few_images_and_ignores_nan():
    images = RNG.normal(0, 1, (40, 100, 2))
    images[0] += 1e6
    images[1, :50] = np.nan
    survey = Survey((0, 100))
    survey.add(images[:20, :, None])
    survey.add(images[20:, :, None])
    found = survey.result()
    assert found.white[0] == np.nanmax(images[1:, :, 0]) and found.black[1] == np.nanmin(images[..., 1])


def test_one_image_with_light_among_dark_ones_is_white(tmp_path):
    images = np.zeros((30, *SHAPE), np.uint16)
    images[7, 10:30, 20:60] = 900
    pixels = load(tmp_path, images).pixels
    assert pixels.max() == 255 and (pixels[7] == 255).mean() == pytest.approx(800 / 3840)
    assert load(tmp_path, images).settings.intensities.white == (900.0,)


def test_settings_survive_a_file():
    settings = ReadSettings((2, 1), "TCYX", Intensities((1.0, 2.0), (3.0, 4.5)), nan_is_background=True)
    assert ReadSettings.from_json(settings.to_json()) == settings
    for broken in ({}, {"channels": [0]}, {"channels": [1], "black": [1]},
                   {"channels": [1], "black": ["a"], "white": [2]}, {"channels": [2], "black": [1], "white": [2]},
                   {"channels": [1], "black": [0], "white": [10 ** 400]},
                   {"channels": [1], "black": [float("nan")], "white": [1]}):
        with pytest.raises(ValueError):
            ReadSettings.from_json(broken)
