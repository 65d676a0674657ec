"""What biogans compare measures, on curves and images whose answer is known."""

from types import SimpleNamespace

import numpy as np
import pytest

from biogans.core import trained
from biogans.core.dataloader import Images
from biogans.evaluation import run_measures, trainings
from biogans.evaluation.run_measures import Curve, Measured
from conftest import train_small_networks
from test_neighbours import continuum, of_modes


def curve(critic, generator=None, algorithm="GAN"):
    """A Curve of these losses, functions of the time from 0 to 1, over 400 iterations in two minutes."""
    time = np.linspace(0, 1, 401)[1:]
    losses = [np.broadcast_to(loss(time), time.shape) for loss in (critic, generator or critic)]
    return Curve(algorithm, 2 * time, *losses, np.full(400, np.nan))


def constant(value):
    return lambda time: value + 0 * time


def test_a_constant_loss_does_not_fluctuate_and_one_that_swings_around_zero_does():
    assert run_measures.fluctuation(curve(constant(-7))) == pytest.approx(0, abs=1e-9)
    assert run_measures.fluctuation(curve(lambda time: np.sign(np.sin(8 * np.pi * time)))) == pytest.approx(1, abs=0.1)
    wild_at_first = curve(lambda time: np.where(time < 0.4, 1e6 * np.sin(99 * time), 3))
    assert run_measures.fluctuation(wild_at_first) == pytest.approx(0, abs=1e-9)
    line = run_measures.fluctuation(curve(lambda time: time))       # from 1/2 to 1: mean 3/4, deviation 1/sqrt(48)
    assert line == pytest.approx(np.sqrt(1 / 48 / (9 / 16 + 1 / 48)), rel=0.05)


def test_seeds_that_agree_and_seeds_that_do_not():
    assert run_measures.disagreement([curve(lambda time: np.sin(9 * time))] * 3) == pytest.approx(0, abs=1e-9)
    assert run_measures.disagreement([curve(constant(2)), curve(constant(-2))]) == pytest.approx(1)
    # 1 and 3: deviation 1, root mean square sqrt(5)
    assert run_measures.disagreement([curve(constant(1)), curve(constant(3))]) == pytest.approx(1 / np.sqrt(5))
    assert run_measures.disagreement([curve(constant(1))]) is None


@pytest.mark.parametrize("algorithm, counts", [("GAN", True), ("WGAN", False), ("WGAN-GP", False), ("hinge", True)])
def test_the_generators_loss_counts_only_where_it_has_an_origin(algorithm, counts):
    found = run_measures.fluctuation(curve(constant(1), lambda time: np.sin(40 * time), algorithm))
    assert (found > 0.3) == counts


def test_losses_at_equal_times_are_compared():
    """A run with half of the iterations in the same time has the same curve."""
    fast = curve(lambda time: np.exp(time))
    slow = Curve("GAN", *(values[1::2] for values in fast[1:]))
    assert run_measures.disagreement([fast, slow]) < 0.01


def test_too_few_iterations_are_no_basis():
    short = Curve("GAN", *(values[:30] for values in curve(constant(1))[1:]))
    assert run_measures.fluctuation(short) is None and run_measures.disagreement([short, short]) is None


def test_iterations_that_compile_take_no_time(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/log.DCGAN.GAN.1.csv").write_text(
        "iteration,critic_loss,generator_loss,seconds,held_out_distance,critic_overfitting\n"
        "1,1,4,30.5,,\n2,2,5,31,0.5,0\n3,3,6,51.5,,\n4,2,7,52,,\n5,2,")
    training = SimpleNamespace(log=tmp_path / "checkpoints/log.DCGAN.GAN.1.csv", compiled={1: 30.5, 3: 20.5},
                               run=trainings.Run("data", "DCGAN", "GAN", 1))
    found = run_measures.read_curve(training)
    np.testing.assert_allclose(60 * found.minutes, [0, 0.5, 0.5, 1])
    assert list(found.critic) == [1, 2, 3, 2] and list(found.generator) == [4, 5, 6, 7]
    np.testing.assert_array_equal(found.distance, [np.nan, 0.5, np.nan, np.nan])


# ---------------------------------------------------------------------------------------------- images

@pytest.fixture(scope="module")
def real():
    def images(number, seed):
        return Images(continuum(number, seed), np.zeros(number, int), ("bars",))
    return run_measures.RealImages(images(300, 1), images(150, 2))


def test_the_distance_ranks_sets_as_it_should(real):
    same = [real.distance(continuum(300, seed)) for seed in range(5, 13)]
    assert max(map(abs, same)) < 0.1 and real.floor < 0.1
    modes = real.distance(of_modes(300, 6, modes=3))
    assert modes > 0.5 and real.distance(255 - continuum(300, 5)) > modes


def test_modes_and_copies_are_counted(real):
    few = run_measures.measure_variety(of_modes(300, 6, modes=4), real)
    assert few.distinct <= 8 and 2 < few.effective < 6 and "as various as" in run_measures.why_collapsed(0.1, 0.1, few)
    fresh = run_measures.measure_variety(continuum(300, 7), real)
    assert fresh.distinct > 200 and fresh.copies < 0.15 and not run_measures.why_collapsed(0.1, 0.1, fresh)
    copied = run_measures.measure_variety(real.training.pixels[:200, ::-1], real)
    assert copied.copies == 1 and copied.exact_copies == 0
    twice = run_measures.measure_variety(np.repeat(continuum(50, 8), 2, axis=0), real)
    assert twice.exact_copies == 50


def test_data_without_variety_are_no_collapse():
    """A generator of three images has not collapsed if the training images show little more."""
    three = run_measures.Variety(3, 3.0, 0, 0, usual=300)
    assert "as various as 3.0 images" in run_measures.why_collapsed(0.1, 0.1, three)
    assert not run_measures.why_collapsed(0.1, 0.1, three._replace(usual=4))


def test_a_distance_far_above_the_best_is_a_collapse():
    various = run_measures.Variety(900, np.inf, 0, 0, 300)
    assert not run_measures.why_collapsed(0.39, 0.1, various)
    assert "more than 4 times" in run_measures.why_collapsed(0.41, 0.1, various)


@pytest.mark.parametrize("architecture, greens", [("DCGAN-starshaped", 2), ("DCGAN", 1)])
def test_all_architectures_generate_images_of_one_factor_each(tmp_path, architecture, greens):
    """In the proportions of the held-out images: of a star, image k shows the factor of its turn."""
    train_small_networks(tmp_path, [architecture])
    generator = trained.load_generator(tmp_path / f"checkpoints/weights.generator.{architecture}.WGAN-GP.{greens}.h5")
    labels = np.repeat([0, 1], [30, 10])
    pixels = np.random.default_rng(0).integers(0, 256, (40, 16, 24, 2), np.uint8)
    images = Images(pixels, labels, ("Alp14", "Tea1"))
    found = run_measures.RealImages(images, images).mixture(generator, 20, seed=3)
    cells = generator.cells(20, np.random.default_rng(3))
    assert found.shape == (20, 16, 24, 2) and np.array_equal(found[:15], cells[:15, ..., :2])
    assert np.array_equal(found[15:], cells[15:][..., [0, greens]])


# ---------------------------------------------------------------------------------------------- ranking

def measured(algorithm, seed, distance=None, **more):
    """A Measured; without a distance its run has failed."""
    state = {"state": "done", "reason": ""} if distance is not None else {"state": "failed", "reason": "out of memory"}
    training = SimpleNamespace(run=trainings.Run("data", "DCGAN", algorithm, seed), iteration=400, used=120,
                               seconds=120, **state)
    return Measured(training, more.pop("curve", curve(constant(seed))), distance, **more)


def test_combinations_are_ranked_by_mean_distance_and_failures_never():
    ranked = run_measures.summarise([
        measured("GAN", 1, 0.4), measured("GAN", 2, 0.6), measured("WGAN", 1), measured("WGAN", 2),
        measured("WGAN-GP", 1, 0.3), measured("WGAN-GP", 2), measured("R1", 1, -0.01), measured("R1", 2, 0.03)])
    assert [(each.combination[2], each.rank) for each in ranked] == [("R1", 1), ("WGAN-GP", 2), ("GAN", 3),
                                                                      ("WGAN", None)]
    first, single, third, none = ranked
    assert (third.distance, third.spread) == pytest.approx((0.5, np.std([0.4, 0.6], ddof=1)))
    assert single.spread is None and single.steadiness_rank is None and single.reasons["spread"] == "one seed"
    assert none.distance is None and none.reasons["distance"] == "no run is done" and none.mean("copies") is None
    assert {first.steadiness_rank, third.steadiness_rank} == {1, 2}


def test_the_steadiest_losses_rank_first():
    def runs(algorithm, *curves):
        return [measured(algorithm, seed, 1.0, curve=each) for seed, each in enumerate(curves)]
    wild = [curve(lambda time, k=k: np.sin(40 * time + k)) for k in range(2)]
    ranked = run_measures.summarise([*runs("GAN", *wild), *runs("hinge", curve(constant(1)), curve(constant(1.1))),
                                     *runs("R1", curve(constant(1)), curve(constant(3)))])
    assert {each.combination[2]: each.steadiness_rank for each in ranked} == {"hinge": 1, "R1": 2, "GAN": 3}
