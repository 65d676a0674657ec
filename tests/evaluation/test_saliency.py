"""biogans saliency: attributions are complete, and the planted feature of a critic ranks first."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from biogans.core import c2st, models, trained
from biogans.core.gan import ALGORITHMS, optimizer
from biogans.evaluation import attribution, geometry, saliency
from biogans.system.lazy import keras
from conftest import train_small_networks
from networks import spec

COMBINED = "checkpoints/weights.combined_model.{}.WGAN-GP.{}.h5"
SIZE = (32, 48)


def tubes(number, seed, **planted):
    """uint8 (images, 32, 48, 1): tubes of random size, shape, position and light; `planted` limits a feature."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE[0], :SIZE[1]]
    limits = {"size": (60, 180), "aspect": (1.5, 6), "light": (0.5, 0.9), "angle": (0, np.pi),
              "tubes": (1, 1.99)} | planted
    images = []
    for _ in range(number):
        size, aspect, light, angle, tubes = (rng.uniform(*limits[name]) for name in limits)
        radius = np.sqrt(size / int(tubes) / aspect) / 2            # length times width is the size
        half = radius * (aspect - 1)
        middle = np.array(SIZE) / 2 + rng.uniform(-3, 3, 2)
        gap = np.inf
        for k in range(int(tubes)):
            at = middle + (k - (int(tubes) - 1) / 2) * (4 * radius + 2) * np.array([np.cos(angle), -np.sin(angle)])
            along = (x - at[1]) * np.cos(angle) + (y - at[0]) * np.sin(angle)
            across = (y - at[0]) * np.cos(angle) - (x - at[1]) * np.sin(angle)
            gap = np.minimum(gap, np.hypot(across, along - np.clip(along, -half, half)) - radius)
        images.append(light / (1 + np.exp(3 * gap)))
    return np.rint(255 * np.array(images)).astype(np.uint8)[..., None]


def trained_critic(real, fake, updates=150):
    """A small critic that WGAN-GP has trained to distinguish the two sets."""
    keras.utils.set_random_seed(0)
    critic = models.critic(models.NetworkSpec("DCGAN", *real.shape[1:], (), ndf=8, init="he"), "critic")
    adam = optimizer("adam", 1e-3, 0.0, 0.9)
    adam.build(critic.trainable_variables)
    update, _ = c2st.compile_updates(critic, adam, ALGORITHMS["WGAN-GP"](c2st.Critic()))
    rng = np.random.default_rng(0)
    for _ in range(updates):
        update(real[rng.integers(len(real), size=32)], fake[rng.integers(len(fake), size=32)],
               rng.random((32, 1, 1, 1), np.float32))
    return critic


@pytest.mark.parametrize("feature, much, little, measures", [
    ("light", (0.72, 0.9), (0.5, 0.68), ["intensity"]), ("size", (130, 180), (60, 110), ["area"]),
    ("aspect", (4, 6), (1.5, 3), ["length", "elongation"]), ("tubes", (2, 2.99), (1, 1.99), ["regions"])])
def test_the_planted_feature_ranks_first(feature, much, little, measures):
    """A critic that learnt to distinguish two sets by one feature scores images in which all features vary freely.

    Both sets have the same distribution, so its scores correlate only with the feature that it uses.
    """
    critic = trained_critic(tubes(300, 0, **{feature: much}), tubes(300, 1, **{feature: little}))
    sets = {name: tubes(200, seed, **{feature: (little[0], much[1])}) for seed, name in ((2, "real"), (3, "generated"))}
    rows, _ = saliency.rank_measures(
        {name: attribution.score_images(critic, images) for name, images in sets.items()},
        {name: geometry.measure_images(images[..., 0] / 255) for name, images in sets.items()})
    assert rows[0].measure in measures, [(row.measure, round(row.pooled, 2)) for row in rows]
    assert 0.5 < rows[0].low <= rows[0].pooled <= rows[0].high
    assert min(rows[0].real, rows[0].generated, rows[0].within) > 0.5


def test_correlations_from_their_definition():
    from scipy.stats import spearmanr
    rng = np.random.default_rng(0)
    measured = {each: {name: rng.normal(size=80) for name in geometry.MEASURES} for each in ("real", "generated")}
    scores = {each: values["area"] + 2 * rng.normal(size=80) + (each == "real") for each, values in measured.items()}
    measured["real"]["length"][:70] = measured["generated"]["length"][:70] = np.nan         # too few are left
    measured["generated"]["solidity"][:] = np.nan
    measured["generated"]["width"][3] = np.nan
    ranked, undefined = saliency.rank_measures(scores, measured)
    rows = {row.measure: row for row in ranked}
    assert list(undefined) == ["length"] and list(rows)[0] == "area" and len(rows) == len(geometry.MEASURES) - 1
    area = {each: values["area"] for each, values in measured.items()}
    both = [np.concatenate([each["real"], each["generated"]]) for each in (scores, area)]
    assert rows["area"].pooled == pytest.approx(spearmanr(*both).statistic)
    for name in ("area", "width"):
        known = np.isfinite(measured["generated"][name])
        each = (spearmanr(scores["real"], measured["real"][name]).statistic,
                spearmanr(scores["generated"][known], measured["generated"][name][known]).statistic)
        assert (rows[name].real, rows[name].generated) == pytest.approx(each)
        assert rows[name].within == pytest.approx(np.average(each, weights=[80, known.sum()]))
    assert np.isnan(rows["solidity"].generated) and rows["solidity"].pooled == pytest.approx(rows["solidity"].real)
    assert (rows["width"].real_images, rows["width"].generated_images) == (80, 79)


def test_what_is_undefined_is_never_ranked():
    rng = np.random.default_rng(0)
    measured = {each: {name: rng.normal(size=60) for name in geometry.MEASURES} for each in ("real", "generated")}
    scores = {each: rng.normal(size=60) for each in measured}
    for each in measured:
        measured[each]["regions"][:] = 1                        # the same in all images
        measured[each]["beading"][:50] = np.nan                 # too few are left
    measured["generated"]["branching"][:] = 0                   # the same in one set
    rows, undefined = saliency.rank_measures(scores, measured)
    assert undefined == {"regions": "it is the same in all images",
                         "beading": "only 10 held-out and 10 generated images have a value, and 20 are needed"}
    assert {row.measure for row in rows} == geometry.MEASURES.keys() - undefined.keys()
    assert all(np.isfinite(row.pooled) for row in rows)
    (branching,) = (row for row in rows if row.measure == "branching")
    assert np.isnan(branching.generated) and branching.within == pytest.approx(branching.real)
    rows, undefined = saliency.rank_measures({each: np.zeros(60) for each in scores}, measured)
    assert not rows and undefined["area"] == "the critic gives all images the same score"


def small_analysis(held_out, generated, **without_values):
    """What the printed table needs of an Analysis with random scores; {measure: images} have no value."""
    rng = np.random.default_rng(0)
    numbers = {"real": held_out, "generated": generated}
    scores = {each: rng.normal(size=number) for each, number in numbers.items()}
    measured = {each: {name: rng.normal(size=number) for name in geometry.MEASURES} for each, number in numbers.items()}
    for name, number in without_values.items():
        for values in measured.values():
            values[name][:number] = np.nan
    rows, undefined = saliency.rank_measures(scores, measured)
    return SimpleNamespace(scores=scores, correlations=rows, undefined=undefined,
                           maps=SimpleNamespace(completeness=0.01, steps=32, agreement=None))


def test_the_table_says_on_how_many_images_it_rests():
    text = saliency.format_analysis("Tea1", small_analysis(36, 500, curvature=40, length=490))
    assert "rests on 36 held-out and 500 generated images" in text
    assert "warning: 36 held-out images are few" in text and "nan" not in text
    assert "not ranked: length: only 0 held-out and 10 generated" in text
    assert "curvature rests on 0 held-out and 460 generated images" in text
    row = next(line for line in text.splitlines() if line[3:].startswith("curvature "))
    assert row.count("–") == 2                                  # correlation and mean over held-out images
    text = saliency.format_analysis("Tea1", small_analysis(100, 100))
    assert "rests on 100 held-out and 100 generated images" in text and "warning" not in text


def test_limits_contain_the_truth_as_often_as_they_should():
    """Without a correlation, about 95 % of the limits contain 0."""
    rng = np.random.default_rng(1)
    inside = []
    for seed in range(12):
        sets = {each: {name: rng.normal(size=60) for name in geometry.MEASURES} for each in ("real", "generated")}
        rows, _ = saliency.rank_measures({each: rng.normal(size=60) for each in sets}, sets, seed)
        inside += [row.low <= 0 <= row.high for row in rows]
    assert 0.88 < np.mean(inside) <= 1


# ---------------------------------------------------------------------------------------------- where

@pytest.mark.parametrize("algorithm", ["WGAN-GP", "GAN"])
def test_integrated_gradients_are_complete(algorithm):
    """They sum to the difference of the scores, for critics with and without batch normalisation."""
    critic = models.critic(spec(algorithm=algorithm, init="he"), "critic")
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 24, 2), np.uint8)
    attributions, gap, steps = attribution.complete_gradients(critic, images)
    assert gap < 0.02 and attributions.shape == images.shape and steps >= attribution.STEPS
    black = np.full((1, 16, 24, 2), -1, np.float32)
    difference = attribution.score_images(critic, images) - attribution.score_images(critic, black)
    np.testing.assert_allclose(attributions.sum(axis=(1, 2, 3)), difference, atol=0.03 * np.abs(difference).max())
    assert not attribution.integrated_gradients(critic, np.zeros_like(images)).any()


def linear_critic(weights):
    """A Keras model whose score is the sum of weights times the image."""
    image = keras.Input(weights.shape)
    flat = keras.layers.Flatten()(image)
    dense = keras.layers.Dense(1, use_bias=False)
    model = keras.Model(image, keras.layers.Reshape(())(dense(flat)))
    dense.set_weights([weights.reshape(-1, 1)])
    return model


def test_both_maps_of_a_linear_critic_are_known():
    """Attribution: weight times the difference to black; occlusion: the sum of these over the square."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(16, 24, 2)).astype(np.float32)
    images = rng.integers(0, 256, (3, 16, 24, 2), np.uint8)
    critic, expected = linear_critic(weights), weights * images / 127.5
    np.testing.assert_allclose(attribution.integrated_gradients(critic, images), expected, atol=1e-4)
    falls = attribution.occlusion(critic, images)
    for k, (rows, columns) in enumerate(attribution.squares(16, 24)):
        np.testing.assert_allclose(falls[:, k], expected[:, rows, columns].sum(axis=(1, 2, 3)), atol=1e-3)
    maps = attribution.Maps(critic, {"real": images, "generated": images}, {
        "real": attribution.score_images(critic, images), "generated": attribution.score_images(critic, images)})
    assert maps.agreement == pytest.approx(1) and maps.completeness < 1e-3


def test_both_maps_find_the_region_that_matters():
    weights = np.zeros((16, 24, 1), np.float32)
    weights[4:8, 10:16] = 1
    critic, images = linear_critic(weights), np.full((2, 16, 24, 1), 200, np.uint8)
    for values in (attribution.integrated_gradients(critic, images)[0, ..., 0],
                   attribution.spread_over_pixels(attribution.occlusion(critic, images), 16, 24)[0]):
        assert values[4:8, 10:16].min() > 10 * abs(values[:2]).max() and abs(values[12:]).max() == 0


def test_squares_cover_every_pixel():
    for height, width in ((16, 24), (48, 80), (12, 12), (28, 28)):
        covered = np.zeros((height, width))
        for square in attribution.squares(height, width):
            covered[square] += 1
        assert covered.min() >= 1


# ---------------------------------------------------------------------------------------------- the command

@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saliency")
    train_small_networks(folder, ("DCGAN-starshaped", "DCGAN", "DCGAN-multichannel"), training=24, held_out=24)
    return folder


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


def test_the_critics_of_a_file_are_those_of_the_training(here):
    """Their scores equal those of a network whose weights Keras reads from weights.critic[1]."""
    critics, metadata = trained.load_critics(COMBINED.format("DCGAN-starshaped", 2))
    assert len(critics) == 2
    other = models.critic(metadata.network, "critic1")
    other.load_weights("checkpoints/weights.critic[1].DCGAN-starshaped.WGAN-GP.2.h5")
    images = np.random.default_rng(0).integers(0, 256, (5, 16, 24, 2), np.uint8)
    assert np.array_equal(attribution.score_images(critics[1], images), attribution.score_images(other, images))
    assert not np.array_equal(attribution.score_images(critics[0], images), attribution.score_images(other, images))


def test_tables_and_figures(here, capsys):
    assert saliency.main(["-i", COMBINED.format("DCGAN", 1), "-d", "data", "-n", "40"]) == 0
    printed = capsys.readouterr().out
    assert "all images: scores real" in printed and "missing at most" in printed
    assert "the ranking rests on 40 held-out and 40 generated images" in printed and "images are few" in printed
    with open("saliency/correlations.csv") as file:
        rows = list(csv.DictReader(file))
    strength = [abs(float(row["pooled"])) for row in rows]
    assert strength == sorted(strength, reverse=True) and {row["measure"] for row in rows} <= geometry.MEASURES.keys()
    with open("saliency/summary.json") as file:
        assert json.load(file)["factors"]["all images"]["completeness"] < 0.02
    for name in ("maps", "correlations"):
        assert np.asarray(Image.open(f"saliency/{name}.png")).std() > 10


def test_one_critic_of_a_star(here):
    assert saliency.main(["-i", COMBINED.format("DCGAN-starshaped", 2), "-d", "data", "-n", "30", "-p", "Tea1",
                          "--channel", "1", "-o", "of Tea1"]) == 0
    assert {path.name for path in (here / "of Tea1").iterdir()} == {
        "correlations.Tea1.csv", "correlations.Tea1.png", "maps.Tea1.png", "summary.json"}


@pytest.mark.parametrize("arguments, words", [
    (["-i", "checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5"], "combined_model"), (["-p", "Sid2"], "Alp14, Tea1"),
    (["--channel", "3"], "2"), (["-n", "5"], "at least 20"), (["-d", "nowhere"], "nowhere"),
    (["-i", COMBINED.format("DCGAN-multichannel", 2)], "no image shows such a cell")])
def test_errors_are_one_line(here, arguments, words, capsys):
    assert saliency.main(["-i", COMBINED.format("DCGAN-starshaped", 2), "-d", "data", *arguments]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and words in message
