"""biogans interpolate: the way on the sphere, movies that other programs read, and a cell cycle that only grows."""

from types import SimpleNamespace

import h5py
import imageio.v3
import numpy as np
import pytest
from conftest import train_small_networks
from networks import spec
from PIL import Image

from biogans.core import predict
from biogans.latent import interpolate
from biogans.core.engine import generate, float32_generator
from biogans.system.errors import InputError

STAR = "checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.2.h5"
MOVIE = "images/interpolation3.DCGAN-starshaped.WGAN-GP"


# ---------------------------------------------------------------------------------------------- the way

def angles(z):
    """Angles (radians) between each of z and the next."""
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    return np.arccos(np.clip((unit[1:] * unit[:-1]).sum(axis=1), -1, 1))


def test_slerp_of_a_right_angle():
    half = np.sqrt(0.5)
    np.testing.assert_allclose(interpolate.slerp(np.array([1.0, 0]), np.array([0, 1.0]), [0, 1 / 3, 0.5, 1]),
                               [[1, 0], [np.sqrt(3) / 2, 0.5], [half, half], [0, 1]], atol=1e-12)


def test_slerp_has_a_constant_angular_speed_and_a_linear_length():
    start, end = np.random.default_rng(0).standard_normal((2, 100)) * [[1], [3]]
    z = interpolate.slerp(start, end, np.linspace(0, 1, 11))
    np.testing.assert_allclose(z[[0, -1]], [start, end])
    np.testing.assert_allclose(angles(z), angles(np.array([start, end])).repeat(10) / 10, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(z, axis=1),
                               np.linspace(np.linalg.norm(start), np.linalg.norm(end), 11))


def test_slerp_of_the_same_and_of_opposite_directions():
    z = np.array([3.0, 4.0])
    np.testing.assert_allclose(interpolate.slerp(z, 2 * z, [0, 0.5, 1]), [z, 1.5 * z, 2 * z])
    with pytest.raises(ValueError, match="opposite"):
        interpolate.slerp(z, -z, [0.5])


def test_a_closed_way_goes_round():
    """It passes each key, and the step from its last frame to its first is like those before."""
    keys = np.eye(3)
    z = interpolate.way(keys, 5, closed=True)
    assert len(z) == 15
    np.testing.assert_allclose(z[::5], keys, atol=1e-12)
    np.testing.assert_allclose(angles(np.concatenate([z, z[:1]])), np.pi / 2 / 5)


def test_an_open_way_ends_with_the_last_key():
    z = interpolate.way(np.eye(3), 5, closed=False)
    assert len(z) == 11
    np.testing.assert_allclose(z[[0, 5, 10]], np.eye(3), atol=1e-12)


# ---------------------------------------------------------------------------------------------- the cell cycle

def rod(length, angle=0.0, width=10.0, centre=(24, 40), septum=0.0, size=(48, 80)):
    """An image (H, W) in [0, 1] of an even rod with a band at its middle that is brighter by `septum`."""
    y, x = np.mgrid[:size[0], :size[1]]
    along = (x - centre[1]) * np.cos(angle) + (y - centre[0]) * np.sin(angle)
    across = (y - centre[0]) * np.cos(angle) - (x - centre[1]) * np.sin(angle)
    body = (np.abs(along) <= length / 2) & (np.abs(across) <= width / 2)
    return body * (0.3 + 0.3 * septum * (np.abs(along) < 1.5))


@pytest.mark.parametrize("length, angle, centre", [(30, 0, (24, 40)), (30, 0.5, (24, 40)), (44, -0.3, (22, 38)),
                                                   (26, np.pi / 2, (24, 30))])
def test_a_rod_is_measured(length, angle, centre):
    noise = np.random.default_rng(0).uniform(-0.02, 0.02, (48, 80))
    measured = interpolate.measure(rod(length, angle, centre=centre) + np.abs(noise))
    np.testing.assert_allclose(measured[:3], [length, *centre], atol=2)
    assert abs(np.sin(measured[3] - angle)) < 0.05 and abs(measured[4] - 1) < 0.1


def test_a_septum_is_measured():
    length, *_, middle = interpolate.measure(rod(50, septum=3.0))
    assert abs(length - 50) <= 1 and middle > 2


def test_the_largest_cell_is_measured_and_nothing_in_an_empty_image():
    assert abs(interpolate.measure(rod(40) + rod(12, centre=(5, 8), width=6))[0] - 40) <= 1
    assert np.isnan(interpolate.measure(np.zeros((48, 80)))).all()
    assert np.isnan(interpolate.measure(rod(2, width=2))).all()


def test_the_longest_part_that_does_not_fall():
    for lengths, expected in (([3, 1, 2, 2, 9, 4, 5], [1, 2, 3, 5, 6]), ([5, 4, 3], [0]), ([1, 1, 1], [0, 1, 2])):
        assert interpolate._rising(np.array(lengths, float)) == expected


class Rods:
    """Stands for a generator: z[2] makes its rod longer, and at the end a septum; z[0] moves it, and z[1] turns it."""

    layers = ()

    def predict_on_batch(self, z):
        rods = [rod(30 + 6 * growth, 0.1 * turn, centre=(24 + move, 40), septum=max(0, growth - 1.5) * 2)
                for move, turn, growth in z[:, :3]]
        return 2 * np.array(rods)[..., None] - 1


def test_the_cell_cycle_grows_one_cell():
    z, lengths = interpolate.cell_cycle(Rods(), SimpleNamespace(nz=8), 6, seed=0)
    assert z.shape == (6, 8) and (np.diff(lengths) >= 0).all() and lengths[-1] - lengths[0] > 25
    measured = np.array([interpolate.measure(image[..., 0]) for image in (Rods().predict_on_batch(z) + 1) / 2])
    np.testing.assert_allclose(measured[:, 0], lengths)
    assert np.ptp(measured[:, 1]) < 2 and np.ptp(measured[:, 3]) < 0.1 and measured[-1, 4] > 1.5 > measured[0, 4]
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), np.linalg.norm(z[0]), rtol=1e-5)


def test_what_grows_does_not_depend_on_the_number_of_key_frames():
    few, many = (interpolate.cell_cycle(Rods(), SimpleNamespace(nz=8), number, seed=0)[0] for number in (3, 9))
    np.testing.assert_array_equal(few[[0, -1]], many[[0, -1]])


def test_the_cell_cycle_of_a_factor_with_its_own_red(monkeypatch):
    """That red is measured."""
    shape = spec("DCGAN-independent")
    generator = float32_generator(shape)

    def measured(red, z):
        np.testing.assert_allclose(generate(red, z[:4].astype("float32"))[..., 0],
                                   generate(generator, z[:4].astype("float32"))[..., 2], atol=1e-6)
        return np.stack([z[:, 0], *np.zeros((4, len(z)))], axis=1)

    monkeypatch.setattr(interpolate, "_measured", measured)
    z, lengths = interpolate.cell_cycle(generator, shape, 3, seed=0, red=2)
    assert (np.diff(lengths) > 1).all()


@pytest.mark.parametrize("image, words", [(0, "can be measured"), (rod(30), "no cell grows")])
def test_a_cell_cycle_that_is_not_there(image, words):
    class Still:
        layers = ()

        def predict_on_batch(self, z):
            return np.full((len(z), 48, 80, 1), -1.0) + 2 * np.broadcast_to(image, (48, 80))[..., None]

    with pytest.raises(InputError, match=words):
        interpolate.cell_cycle(Still(), SimpleNamespace(nz=8), 6, seed=0)


# ---------------------------------------------------------------------------------------------- pictures

NAMES = ["red", "Alp14", "Tea1"]


@pytest.fixture
def movie():
    """A rod with two factors that goes up and down once, in 12 frames, 14 x 22 pixels."""
    up = np.sin(np.arange(12) / 12 * 2 * np.pi) * 3
    cells = np.array([[rod(14, centre=(7 + move, 11), width=4, size=(14, 22)) * share for share in (3, 2, 1)]
                      for move in up]).transpose(0, 2, 3, 1)
    return interpolate.Movie(cells, NAMES, scale=3)


def test_frames_are_even_and_enlarged(movie):
    assert len(movie) == 12 and movie[0].dtype == np.uint8 and movie[0].shape == movie[5].shape
    assert movie[0].shape[0] % 2 == movie[0].shape[1] % 2 == 0
    assert movie[0].shape[1] >= movie.columns * 22 * 3 and movie[0].shape[0] >= movie.rows * 14 * 3
    for names in (NAMES[:1], NAMES[:2]):
        small = interpolate.Movie(movie.cells[..., :len(names)], names, scale=1)
        assert len(interpolate.panels_of(small.cells[0], names)) == len(names) and small[0].any()


def test_colours_are_those_of_the_other_figures(movie):
    panels = {name: image for name, image, _ in interpolate.panels_of(movie.cells[0], NAMES)}
    assert list(panels) == ["red", "Alp14", "Tea1", "all factors"]
    assert np.array_equal(panels["Tea1"], movie.cells[0][..., [0, 2]]) and not panels["red"][..., 1].any()


def test_a_gif_has_all_frames_and_goes_round(movie, tmp_path):
    interpolate.write_gif(tmp_path / "a.gif", movie, 20)
    with Image.open(tmp_path / "a.gif") as gif:
        assert (gif.n_frames, gif.info["loop"], gif.info["duration"]) == (12, 0, 50)
        frames = []
        for k in range(12):
            gif.seek(k)
            frames.append(np.asarray(gif.convert("RGB"), "float32"))
    for k in range(12):
        assert np.abs(frames[k] - movie[k]).mean() < 4
    steps = [np.abs(frames[k] - frames[k - 1]).mean() for k in range(12)]       # the first is that from last to first
    assert 0 < steps[0] < 2 * max(steps[1:])


def test_an_mp4_has_all_frames(movie, tmp_path):
    interpolate.write_mp4(tmp_path / "a.mp4", movie, 20)
    frames = imageio.v3.imread(tmp_path / "a.mp4", plugin="FFMPEG")
    assert frames.shape == (12, *movie[0].shape) and np.abs(frames[4].astype(int) - movie[4]).mean() < 8
    assert imageio.v3.immeta(tmp_path / "a.mp4", plugin="FFMPEG")["fps"] == 20


# ---------------------------------------------------------------------------------------------- the command

@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A user's folder after training a star of two factors for 2 iterations and drawing two cells."""
    folder = tmp_path_factory.mktemp("interpolate")
    train_small_networks(folder, ["DCGAN-starshaped"])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        predict.main(["-i", STAR, "-n", "3", "-s", "5"])
    return folder


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


def keys(path=f"{MOVIE}.h5"):
    with h5py.File(path) as file:
        return file["z"][()], file["stack"][()]


def test_all_files_of_a_movie(here, capsys):
    assert interpolate.main(["-i", STAR, "-n", "3", "-s", "1", "--frames", "4"]) == 0
    out = capsys.readouterr().out
    assert all(f"{MOVIE}{suffix}" in out for suffix in (".gif", ".mp4", ".png", ".h5"))
    assert Image.open(f"{MOVIE}.gif").n_frames == 12 == len(imageio.v3.imread(f"{MOVIE}.mp4", plugin="FFMPEG"))
    assert Image.open(f"{MOVIE}.png").format == "PNG" and len(keys()[0]) == 3


def test_open_movies_and_chosen_factors(here):
    assert interpolate.main(["-i", STAR, "-n", "3", "--frames", "4", "--open", "-p", "Tea1", "-o", "mine/m"]) == 0
    assert Image.open("mine/m.gif").n_frames == 9 and keys("mine/m.h5")[1].shape == (3, 16, 24, 2)


def test_seeds_are_those_of_predict(here):
    predict.main(["-i", STAR, "-s", "7"])
    with h5py.File("images/stack3.DCGAN-starshaped.WGAN-GP.h5") as file:
        drawn = file["z"][0], file["stack"][0]
    interpolate.main(["-i", STAR, "--seeds", "3,7", "--frames", "2"])
    z, cells = keys()
    np.testing.assert_array_equal(z[1], drawn[0])
    np.testing.assert_allclose(cells[1], drawn[1], atol=1e-6)


def test_cells_of_a_stack(here):
    predict.main(["-i", STAR, "-n", "4", "-s", "5"])
    with h5py.File("images/stack3.DCGAN-starshaped.WGAN-GP.h5") as file:
        expected = file["z"][()]
    arguments = ["-i", STAR, "--stack", "images/stack3.DCGAN-starshaped.WGAN-GP.h5", "--frames", "2"]
    for chosen, rows in (([], [0, 1, 2, 3]), (["--cells", "2,0"], [2, 0])):
        assert interpolate.main([*arguments, *chosen]) == 0
        np.testing.assert_array_equal(keys()[0], expected[rows])


def test_real_cells_are_reconstructed(here, capsys):
    assert interpolate.main(["-i", STAR, "-d", "data", "-n", "2", "--frames", "2", "-s", "1"]) == 0
    out = capsys.readouterr().out
    assert "Alp14 cell0" in out and "Tea1 cell0" in out and len(keys()[0]) == 2


@pytest.mark.parametrize("arguments, words", [
    (("--cells", "1"), ("--cells", "--stack")),
    (("--seeds", "3"), ("one key frame", "two or more")),
    (("--stack", "data"), ("data", "folder")),
    (("--stack", "missing.h5"), ("missing.h5", "no such file")),
    (("--stack", "checkpoints/log.DCGAN-starshaped.WGAN-GP.2.csv"), ("csv", "not an HDF5 file")),
    (("--stack", STAR), (STAR, "no latents z")),
    (("--stack", "images/two.h5"), ("two.h5", "3 numbers", "6")),
    (("--stack", "images/linked.h5"), ("linked.h5", "no latents z")),
    (("--stack", "images/two.h5", "-i", "missing"), ("missing", "no such file")),
    (("-d", "nowhere"), ("nowhere", "no such folder")),
    (("-p", "Sid2"), ("Sid2", "Alp14, Tea1")),
    (("--cycle", "-n", "1000"), ("-n 1000", "choose fewer"))])
def test_mistakes_are_one_line(here, capsys, arguments, words):
    (here / "images").mkdir(exist_ok=True)
    with h5py.File("images/two.h5", "w") as file:
        file["z"] = np.zeros((2, 3), "float32")
    with h5py.File("images/linked.h5", "w") as file:
        file["z"] = h5py.ExternalLink("two.h5", "z")
    assert interpolate.main(["-i", STAR, *arguments]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and all(word in line for word in words)
