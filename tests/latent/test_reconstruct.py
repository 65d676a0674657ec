"""biogans reconstruct: many searches in step are as good as one by one, a drawn cell is found again, and the neighbours."""

import signal
import threading
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import train_small_networks, write_images
from PIL import Image
from scipy import optimize, stats

from biogans.core import checkpoint, dataloader, models
from biogans.latent import reconstruct
from biogans.core.engine import generate, latent_gradient
from biogans.system.errors import InputError
from networks import FACTORS, spec

STAR = "checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.2.h5"
DCGAN = "checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5"


def network(architecture="DCGAN-starshaped", seed=1):
    """(generator, spec) of random weights; the images of different z differ by much more than rounding."""
    from biogans.system.lazy import keras
    keras.utils.set_random_seed(seed)
    shape = spec(architecture, init="he", ngf=8)
    return models.build_generator(shape), shape


def drawn_images(generator, shape, labels, seed=0):
    """dataloader.Images that `generator` draws of random z, each of red and of the factor of its label."""
    cells = generate(generator, np.random.default_rng(seed).standard_normal((len(labels), shape.nz), np.float32))
    towers = labels if shape.separate_factors else [0] * len(labels)
    pairs = [cell[..., shape.factor_channels[tower]] for cell, tower in zip(cells, towers)]
    return dataloader.Images(np.rint((np.array(pairs) + 1) * 127.5).astype("uint8"), np.array(labels), FACTORS)


# ---------------------------------------------------------------------------------------------- the search

def valleys(rows, values):
    """Rosenbrock's function, each row with a valley of its own."""
    bend = 1.0 + np.asarray(rows)[:, None]
    x, y = values[:, :1], values[:, 1:]
    errors = (1 - x) ** 2 + bend * (y - x ** 2) ** 2
    return errors[:, 0], np.hstack([-2 * (1 - x) - 4 * bend * x * (y - x ** 2), 2 * bend * (y - x ** 2)])


@pytest.mark.parametrize("together", [1, 3, 50])
def test_in_step_is_exactly_one_by_one(together):
    starts = np.random.default_rng(0).standard_normal((7, 2))
    ended = []
    found = reconstruct.minimize_together(valleys, starts, 100, together, lambda: ended.append(1))
    for k, start in enumerate(starts):
        def alone(values):
            errors, gradients = valleys([k], values[None])
            return errors[0], gradients[0]
        assert np.array_equal(found[k], optimize.minimize(alone, start, jac=True, method="L-BFGS-B").x)
    np.testing.assert_allclose(found, 1, atol=1e-3)
    assert len(ended) == 7


def test_so_many_are_asked_together():
    asked = []

    def counted(rows, values):
        asked.append(len(rows))
        return valleys(rows, values)

    reconstruct.minimize_together(counted, np.zeros((10, 2)), 100, 4)
    assert max(asked) == 4 and asked[0] == 4 and np.mean(asked) > 3


@pytest.mark.parametrize("where", ["function", "done"])
@pytest.mark.parametrize("problem", [KeyboardInterrupt, ZeroDivisionError])
def test_an_interrupt_ends_all_searches(problem, where):
    calls = []

    def fail():
        calls.append(1)
        if len(calls) == 5:
            raise problem

    def function(rows, values):
        if where == "function":
            fail()
        return valleys(rows, values)

    before = threading.active_count()
    with pytest.raises(problem):
        reconstruct.minimize_together(function, np.zeros((20, 2)), 100, 6, fail if where == "done" else lambda: None)
    assert len(calls) == 5 and threading.active_count() == before


def test_ctrl_c_ends_all_searches():
    """At any moment: the interrupt comes from another thread, again and again."""
    before, caught = threading.active_count(), 0
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    for delay in np.linspace(0.01, 0.1, 10):
        timer, end = threading.Timer(delay, signal.raise_signal, [signal.SIGINT]), time.monotonic() + 2
        try:
            timer.start()
            while time.monotonic() < end:       # Python drops an interrupt that comes within a garbage collector's call
                reconstruct.minimize_together(valleys, np.zeros((40, 2)), 100, 16)
        except KeyboardInterrupt:
            caught += 1
        timer.join()
    signal.signal(signal.SIGINT, handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    for _ in range(100):        # an interrupt in the pool's own end leaves its threads to end by themselves
        if threading.active_count() == before:
            break
        time.sleep(0.1)
    assert caught >= 5 and threading.active_count() == before


@pytest.mark.parametrize("architecture", models.ARCHITECTURES)
def test_error_and_gradient(architecture):
    """The error is the squared difference to what is drawn; along random directions the gradient is its slope."""
    generator, shape = network(architecture)
    rng = np.random.default_rng(2)
    z, direction = rng.standard_normal((2, 5, shape.nz)).astype("float32")
    targets = rng.uniform(-1, 1, (5, *generator.output_shape[1:])).astype("float32")
    function = latent_gradient(generator)
    errors, gradient = function(z, targets)
    np.testing.assert_allclose(errors, ((generate(generator, z) - targets) ** 2).sum(axis=(1, 2, 3)), rtol=1e-4)
    step = np.float32(1e-3)
    slope = (function(z + step * direction, targets)[0] - function(z - step * direction, targets)[0]) / (2 * step)
    np.testing.assert_allclose((gradient * direction).sum(axis=1), slope, rtol=0.03, atol=0.01 * np.abs(slope).max())


def test_parts_of_a_generator_are_its_channels():
    generator, shape = network()
    z = np.random.default_rng(0).standard_normal((3, shape.nz), np.float32)
    whole = generate(generator, z)
    for parts in ([0], [2], [0, 1], [0, 1, 2]):
        np.testing.assert_allclose(generate(models.restricted_to(generator, parts), z), whole[..., parts], atol=1e-6)


@pytest.mark.parametrize("architecture, order", [("DCGAN", "joint"), ("DCGAN-separable", "joint"),
                                                 ("DCGAN-starshaped", "joint"), ("DCGAN-starshaped", "red-first"),
                                                 ("DCGAN-multichannel", "joint"),
                                                 ("DCGAN-separable-independent", "red-first")])
def test_a_drawn_cell_is_found_again(architecture, order):
    generator, shape = network(architecture)
    images = drawn_images(generator, shape, [0, 1, 1, 0])
    found = reconstruct.search(generator, shape, images, order, starts=6, iterations=200)
    others = error_between(images.pixels[1:] / 255, images.pixels[:-1] / 255)
    assert found.error.max() < 0.01 < 0.05 < others.min()
    again = drawn_of(generator, shape, found.z, images.labels)
    np.testing.assert_allclose(error_between(again, images.pixels / 255), found.error, atol=1e-5)


def error_between(images, others):
    return np.sqrt(((images - others) ** 2).mean(axis=(1, 2, 3)))


def drawn_of(generator, shape, z, labels):
    towers = labels if shape.separate_factors else np.zeros_like(labels)
    return np.array([cell[..., shape.factor_channels[tower]] for cell, tower in zip((generate(generator, z) + 1) / 2, towers)])


def test_red_first_does_not_look_at_green():
    """With another green the red half of z is the same and the green half is not; in a joint search both change."""
    generator, shape = network()
    images = drawn_images(generator, shape, [0, 1])
    pixels = images.pixels.copy()
    pixels[..., 1] = pixels[::-1, ..., 1]
    other = dataloader.Images(pixels, images.labels, FACTORS)
    for order, same in (("red-first", True), ("joint", False)):
        one, two = (reconstruct.search(generator, shape, target, order, starts=1).z for target in (images, other))
        assert np.array_equal(one[:, :3], two[:, :3]) == same and not np.array_equal(one[:, 3:], two[:, 3:])


def test_more_starts_are_never_worse_and_the_best_counts():
    generator, shape = network()
    images = drawn_images(generator, shape, [0, 1, 0])
    found = reconstruct.search(generator, shape, images, starts=4, iterations=5)
    assert found.errors.shape == (3, 4) and np.ptp(found.errors, axis=1).min() > 0
    assert np.array_equal(found.error, found.errors.min(axis=1))
    again = drawn_of(generator, shape, found.z, images.labels)
    np.testing.assert_allclose(error_between(again, images.pixels / 255), found.error, atol=1e-5)


def test_likelihood_of_z():
    z = np.random.default_rng(0).standard_normal((4, 10)) * 2
    np.testing.assert_allclose(reconstruct.negative_log_likelihood(z),
                               -stats.multivariate_normal(np.zeros(10)).logpdf(z))


# ---------------------------------------------------------------------------------------------- the images

def gray(values, labels, files=None):
    """Images of one value each."""
    pixels = np.multiply.outer(np.array(values, "uint8"), np.ones((4, 6, 2), "uint8"))
    return dataloader.Images(pixels, np.array(labels), FACTORS,
                             files=tuple(map(Path, files or (f"f{k}.png" for k in range(len(values))))))


def test_nearest_neighbours():
    """Nearest within the factor, never the image's own file; the distance is that of pixels in [0, 1]."""
    training = gray([0, 51, 102, 100, 255] + [7] * 2000, [0, 0, 0, 1, 1] + [1] * 2000)
    targets = gray([102, 110, 240], [0, 1, 1], ["f2.png", "other.png", "another.png"])
    nearest, distance = reconstruct.nearest_neighbours(targets, training)
    assert nearest.tolist() == [1, 3, 4]
    np.testing.assert_allclose(distance, [51 / 255, 10 / 255, 15 / 255])
    last = gray([7] * 2000 + [111], [1] * 2001)
    assert reconstruct.nearest_neighbours(gray([110], [1], ["x.png"]), last)[0] == [2000]


def test_the_images_are_spread_over_the_factors():
    images = gray(range(30), [0] * 20 + [1] * 10)
    chosen = reconstruct.choose(images, 12, (), seed=1)
    assert np.bincount(chosen.labels).tolist() == [6, 6] and len(set(chosen.files)) == 12
    assert [image[0, 0, 0] for image in chosen.pixels] == [int(file.stem[1:]) for file in chosen.files]
    assert reconstruct.choose(images, 12, (), seed=1).files == chosen.files
    assert reconstruct.choose(images, 12, (), seed=2).files != chosen.files
    assert np.bincount(reconstruct.choose(images, 100, (), 1).labels).tolist() == [20, 10]
    assert set(reconstruct.choose(images, 100, ("Tea1",), 1).labels) == {1}
    with pytest.raises(InputError, match="Sid2.*Alp14, Tea1"):
        reconstruct.choose(images, 12, ("Sid2",), 1)


def test_the_table_has_medians_of_each_factor():
    targets = gray([0] * 4, [0, 0, 0, 1])
    found = {"joint": reconstruct.Reconstruction(np.zeros((4, 10), "float32"),
                                                 np.array([[.1, .9], [.2, .3], [.4, .4], [.9, .5]]))}
    lines = reconstruct.summary(targets, np.array([.3, .3, .3, .6]), found).splitlines()
    assert lines[2].split() == ["Alp14", "3", "0.300", "±", "0.000", "0.200", "±", "0.100", "9", "±", "0", "67%"]
    assert lines[3].split() == ["Tea1", "1", "0.600", "±", "0.000", "0.500", "±", "0.000", "9", "±", "0", "100%"]
    assert lines[4].split()[:2] == ["all", "4"] and "random z: 14 ± 2" in lines[5]


# ---------------------------------------------------------------------------------------------- the command

@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A user's folder after training a star of two factors and a DCGAN for 2 iterations."""
    folder = tmp_path_factory.mktemp("reconstruct")
    write_images(folder / "others", size=(32, 32))
    train_small_networks(folder, ("DCGAN-starshaped", "DCGAN", "DCGAN-multichannel", "DCGAN-independent"))
    return folder


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


def test_what_is_written(here, capsys):
    assert reconstruct.main(["-i", STAR, "-d", "data", "-n", "6", "--restarts", "2", "--iterations", "10"]) == 0
    out = capsys.readouterr().out
    table = [line.split()[:2] for line in out.splitlines() if line.startswith(("Alp14", "Tea1", "all"))]
    assert table == [["Alp14", "3"], ["Tea1", "3"], ["all", "6"]]
    generator, _, _ = checkpoint.load_generator(STAR)
    for order in ("joint", "red-first"):
        path = f"images/reconstructed3.{order}.DCGAN-starshaped.WGAN-GP.h5"
        assert f"Output image stack to file: {path}" in out
        with h5py.File(path) as file:
            stack, z, target, error = (file[name][()] for name in ("stack", "z", "target", "error"))
            files = [Path(name.decode()) for name in file["target_file"]]
            assert [file.parent.name for file in files] == [name.decode() for name in file["factor"]]
            assert file["errors"].shape == (6, 2) and list(file["stack"].attrs["channel_names"]) == ["red", *FACTORS]
        assert np.array_equal(stack, (generate(generator, z) + 1) / 2)
        pair = np.array([cell[..., [0, 1 + FACTORS.index(file.parent.name)]] for cell, file in zip(stack, files)])
        np.testing.assert_allclose(error_between(pair, target), error, atol=1e-5)
        for file, image in zip(files, target):
            assert "LIN_test" in str(file)
            np.testing.assert_allclose(np.asarray(Image.open(file))[..., :2] / 255, image, atol=1e-6)
    for name in ("reconstruction", "reconstruction_factors"):
        assert np.asarray(Image.open(f"images/{name}.DCGAN-starshaped.WGAN-GP.png")).std() > 20


def test_a_network_that_draws_all_channels_together(here, capsys):
    assert reconstruct.main(["-i", DCGAN, "-d", "data", "-n", "4", "--restarts", "1", "--iterations", "5"]) == 0
    out = capsys.readouterr().out
    assert "images/reconstructed2.joint.DCGAN.WGAN-GP.h5" in out and "red-first" not in out and "factors" not in out


def test_a_multichannel_network_shows_all_factors_of_a_real_cell(here, capsys):
    path = "checkpoints/weights.generator.DCGAN-multichannel.WGAN-GP.2.h5"
    assert reconstruct.main(["-i", path, "-d", "data", "-n", "4", "--restarts", "1", "--iterations", "5"]) == 0
    out = capsys.readouterr().out
    assert "reconstructed3.joint" in out and "reconstruction_factors.DCGAN-multichannel.WGAN-GP.png" in out


def test_independent_networks_reconstruct_one_factor(here, capsys):
    """With the network of that factor, and its red."""
    command = ["-i", "checkpoints/weights.generator.DCGAN-independent.WGAN-GP.2.h5", "-d", "data", "-n", "3",
               "--restarts", "1", "--iterations", "5"]
    assert reconstruct.main(command) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and "choose one with -p: Alp14, Tea1" in line
    assert reconstruct.main([*command, "-p", "Tea1"]) == 0
    with h5py.File("images/reconstructed2.joint.DCGAN-independent.WGAN-GP.h5") as file:
        np.testing.assert_allclose(error_between(file["stack"][()], file["target"][()]), file["error"][()], atol=1e-5)
        assert list(file["stack"].attrs["channel_names"]) == ["red Tea1", "Tea1"]


@pytest.mark.parametrize("arguments, words", [
    (("-i", DCGAN, "-d", "data", "--order", "red-first"), (DCGAN, "red and green together", "DCGAN-separable")),
    (("-i", STAR, "-d", "others"), ("others", "32x32", "16x24")),
    (("-i", STAR, "-d", "data", "-p", "Sid2"), ("Sid2", "Alp14, Tea1")),
    (("-i", STAR, "-d", "nowhere"), ("nowhere", "no such folder")),
    (("-i", "missing.h5", "-d", "data"), ("missing.h5", "no such file"))])
def test_mistakes_are_one_line(here, capsys, arguments, words):
    assert reconstruct.main(arguments) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and all(word in line for word in words)
