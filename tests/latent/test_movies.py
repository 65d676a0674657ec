"""Movies and strips, as other programs read them."""

import imageio.v3
import numpy as np
import pytest

from biogans.latent import movies
from test_cell_cycle import rod

NAMES = ["red", "Alp14", "Tea1"]


@pytest.fixture
def movie():
    """A rod with two factors that goes up and down once, in 12 frames, 14 x 22 pixels."""
    up = np.sin(np.arange(12) / 12 * 2 * np.pi) * 3
    cells = np.array([[rod(14, centre=(7 + move, 11), width=4, size=(14, 22)) * share for share in (3, 2, 1)]
                      for move in up]).transpose(0, 2, 3, 1)
    return movies.Movie(cells, NAMES, scale=3)


def test_frames_are_even_and_enlarged(movie):
    assert len(movie) == 12 and movie[0].dtype == np.uint8 and movie[0].shape == movie[5].shape
    assert movie[0].shape[0] % 2 == movie[0].shape[1] % 2 == 0
    assert movie[0].shape[1] >= movie.columns * 22 * 3 and movie[0].shape[0] >= movie.rows * 14 * 3
    for names in (NAMES[:1], NAMES[:2]):
        small = movies.Movie(movie.cells[..., :len(names)], names, scale=1)
        assert len(small.panels(0)) == len(names) and small[0].any()


def test_colours_are_those_of_the_other_figures(movie):
    panels = {name: image for name, image, _ in movie.panels(0)}
    assert list(panels) == ["red", "Alp14", "Tea1", "all factors"]
    assert np.allclose(panels["Tea1"][..., :2], movie.cells[0][..., [0, 2]]) and not panels["red"][..., 1:].any()


def test_brightfield_is_gray():
    """The stain is green above it, in the movie and on its strip."""
    y, x = np.mgrid[:24, :24] - 11.5
    light = np.where(np.abs(np.hypot(y, x) - 8) < 1.5, 0.1, 0.5)
    cells = np.repeat(np.stack([light, np.hypot(y, x) < 4], axis=-1)[None], 3, axis=0)
    movie = movies.Movie(cells, ["red", "DNA"], scale=4)
    (name, alone, _), (_, merged, _) = movie.panels(1)
    assert name == "transmitted light" and np.allclose(alone, np.repeat(light[..., None], 3, axis=-1))
    assert merged[0, 0].tolist() == [0.5, 0.5, 0.5] and merged[12, 12].tolist() == [0, 1, 0]


def test_an_mp4_has_all_frames(movie, tmp_path):
    movies.write_mp4(tmp_path / "a.mp4", movie, 20)
    frames = imageio.v3.imread(tmp_path / "a.mp4", plugin="FFMPEG")
    assert frames.shape == (12, *movie[0].shape) and np.abs(frames[4].astype(int) - movie[4]).mean() < 8
    assert imageio.v3.immeta(tmp_path / "a.mp4", plugin="FFMPEG")["fps"] == 20
