"""Colours of channels: transmitted light is recognised, is grey, and lies below the fluorescence."""

import numpy as np
import pytest

from biogans.core import dataloader, trained
from biogans.data import round_cells, yeast
from biogans.system.errors import InputError
from biogans.system.palettes import Palette, channel_colours, fitted, merge, transmitted_channels
from biogans.system.pixels import to_unit
from conftest import ROOT

CHECKPOINTS = ROOT / "data_48-80" / "checkpoints"


def disc(number=8, size=40, background=0.5, rim=0.2):
    """Brightfield (images, size, size): bright discs with a dark rim on a background with a little noise."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    distance = np.hypot(y, x)
    image = np.where(distance < 0.3 * size, 0.7, background)
    image = np.where(np.abs(distance - 0.32 * size) < 2, rim, image)
    return np.clip(image + np.random.default_rng(0).normal(0, 0.01, (number, size, size)), 0, 1)


def fluorescence(number=8, size=40, offset=0.0):
    """Dark images (images, size, size) with a bright spot; `offset` is the light of the background."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    spot = np.exp(-(y ** 2 + x ** 2) / (0.02 * size ** 2))
    return np.clip(offset + (1 - offset) * spot + np.random.default_rng(1).normal(0, 0.01, (number, size, size)), 0, 1)


def together(*channels):
    return np.stack(channels, axis=-1).astype("float32")


@pytest.mark.parametrize("channels, found", [
    ((disc(), fluorescence()), (0,)), ((fluorescence(), disc()), (1,)), ((disc(background=0.95), fluorescence()), (0,)),
    ((fluorescence(), disc(), fluorescence()), (1,)), ((disc(), disc()), (0, 1)), ((disc(),), (0,)),
    ((fluorescence(), fluorescence()), ()), ((fluorescence(offset=0.35), fluorescence()), ()),
    ((disc(), disc(), disc()), ()), ((1 - disc(background=0.9), fluorescence()), ())],
    ids=["first", "second", "nearly white", "of three", "both", "alone", "none", "bright offset", "photograph",
         "negative"])
def test_the_channels_of_transmitted_light_are_recognised(channels, found):
    """In many images, and in each alone."""
    images = together(*channels)
    assert transmitted_channels(images) == found
    assert all(transmitted_channels([image]) == found for image in images)


def test_images_without_any_structure_are_not_transmitted_light():
    """A network generates such images before it is trained."""
    grey = 0.5 + np.random.default_rng(2).normal(0, 0.01, (8, 16, 24, 2))
    assert transmitted_channels(grey) == transmitted_channels(np.ones((8, 16, 24, 2))) == ()
    assert transmitted_channels([together(disc()[0], disc()[0]), together(disc()[0])]) == ()


def test_simulated_cells():
    """Cells of a flow cytometer have a brightfield channel, fission yeast has none."""
    images = to_unit(np.stack([round_cells.render(round_cells.sample_cell(rng), rng)
                               for rng in map(np.random.default_rng, range(6))]))
    assert transmitted_channels(images[..., :2]) == (0,)
    cells = [yeast.render(yeast.sample_cell(rng), yeast.CHANNELS, rng) for rng in map(np.random.default_rng, range(6))]
    assert transmitted_channels(to_unit(np.stack(cells))) == ()


@pytest.mark.parametrize("path", sorted(CHECKPOINTS.rglob("weights.generator.*.h5")), ids=lambda path: path.stem[18:])
def test_the_included_networks(path):
    """Images of the networks that were trained on real cells of a flow cytometer, and of no other, each alone."""
    generator = trained.load_generator(path)
    images = (generator.generate(next(generator.latents(8, 1, 8))) + 1) / 2
    expected = (0,) if path.parent.name == "real_cells" else ()
    assert [transmitted_channels([image]) for image in images] == [expected] * 8


def test_real_cells(real_cells):
    """Each of the 1,313 real images by itself: brightfield, DNA and side scatter."""
    images = to_unit(dataloader.load(real_cells).pixels)
    assert {transmitted_channels([image]) for image in images} == {(0,)}
    assert transmitted_channels(images[..., [1, 0]]) == (1,)


# ---------------------------------------------------------------------------------------------- drawn

def test_fluorescence_is_mixed_as_light():
    images = np.random.default_rng(3).random((4, 6, 10, 2), np.float32)
    red, green = images[..., :1], images[..., 1:]
    none = np.zeros_like(red)
    assert np.array_equal(merge(images, Palette("red-green", ())), np.concatenate([red, green, none], axis=-1))
    assert np.array_equal(merge(images, Palette("magenta-green", ())), np.concatenate([red, green, red], axis=-1))


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("name, factor, marker", [("red-green", (0, 1, 0), (1, 0, 0)),
                                                  ("magenta-green", (0, 1, 0), (1, 0, 1))])
def test_transmitted_light_is_grey_below_the_fluorescence(first, name, factor, marker):
    """The background is grey, the stain has the colour of the palette, and the rest of the cell stays visible."""
    light, stain = disc(), np.where(fluorescence() > 0.5, 1, 0)
    images = together(light, stain) if first else together(stain, light)
    picture = merge(images, fitted(name, images))
    unstained = picture[stain == 0]
    assert np.array_equal(unstained, np.repeat(light[stain == 0][:, None].astype("float32"), 3, axis=1))
    np.testing.assert_allclose(picture[stain == 1], np.broadcast_to(factor if first else marker, (stain.sum(), 3)))
    half = merge(images * np.float32([1, 0.5] if first else [0.5, 1]), fitted(name, images))
    assert np.corrcoef(half[stain == 1].mean(axis=-1), light[stain == 1])[0, 1] > 0.9


def test_two_stains_over_transmitted_light_differ():
    light, left, right = disc(), np.zeros((8, 40, 40)), np.zeros((8, 40, 40))
    left[:, 20, 15], right[:, 20, 25] = 1, 1
    images = together(light, left, right)
    picture = merge(images, fitted("magenta-green", images))
    assert picture[0, 20, 15].tolist() == [0, 1, 0] and picture[0, 20, 25].tolist() == [1, 0, 1]


def test_the_user_decides():
    images = together(fluorescence(), disc())
    assert fitted(Palette("magenta-green", (0,)), images) == Palette("magenta-green", (0,))
    assert fitted(Palette(transmitted=()), images).transmitted == () and fitted("red-green", images).transmitted == (1,)
    with pytest.raises(InputError, match="--transmitted 3: the images have 2 channels"):
        fitted(Palette(transmitted=(2,)), images)
    assert Palette(transmitted=(0, 2)).of([2, 1]) == Palette(transmitted=(0,))


def test_colours_of_channels_for_a_viewer():
    """Marker red, factors green; transmitted light and a single channel white."""
    red, green, magenta, white = (255, 0, 0), (0, 255, 0), (255, 0, 255), (255, 255, 255)
    shining = fluorescence()
    assert channel_colours(together(shining, shining, shining)) == [red, green, green]
    assert channel_colours(together(shining, shining), "magenta-green") == [magenta, green]
    assert channel_colours(together(disc(), shining)) == [white, green]
    assert channel_colours(together(shining)) == [white]
