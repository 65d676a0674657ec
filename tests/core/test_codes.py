"""Codes: their position and distribution in z, their command lines, and measures of how well Q recovers them."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest

from biogans.core import codes, models
from biogans.core.engine import Engine
from biogans.core.gan import ALGORITHMS, information_loss
from biogans.system.errors import InputError
from networks import batches, settings, spec


def info_spec(**changes):
    return spec("InfoGAN", "GAN", **({"nz": 12, "categorical": (4, 3), "continuous": 2} | changes))


def latents(number, shape=None, seed=0):
    """z (number, nz) with random codes."""
    shape = shape or info_spec()
    return codes.from_normal(np.random.default_rng(seed).standard_normal((number, shape.nz), np.float32), shape.codes)


def test_codes_are_the_end_of_z():
    assert [(code.name, code.start, code.size) for code in info_spec().codes] == [
        ("c0", 3, 4), ("c1", 7, 3), ("u0", 10, 1), ("u1", 11, 1)]
    assert spec("DCGAN").codes == ()
    assert codes.code_layout(info_spec().codes)[1] == {
        "name": "c1", "indices": [7, 8, 9], "kind": "categorical", "categories": 3}


def test_codes_have_their_distributions():
    """Categories are equally frequent, continuous codes uniform in [-1, 1], all independent; noise is unchanged."""
    z = latents(40000)
    assert np.array_equal(z[:, :3], np.random.default_rng(0).standard_normal((40000, 12), np.float32)[:, :3])
    for start, size in ((3, 4), (7, 3)):
        one_hot = z[:, start:start + size]
        assert set(np.unique(one_hot)) == {0, 1} and np.array_equal(one_hot.sum(axis=1), np.ones(40000))
        np.testing.assert_allclose(one_hot.mean(axis=0), 1 / size, atol=0.01)
    assert -1 <= z[:, 10:].min() and z[:, 10:].max() <= 1
    for quantile in (0.1, 0.5, 0.9):
        np.testing.assert_allclose(np.quantile(z[:, 10:], quantile, axis=0), 2 * quantile - 1, atol=0.02)
    np.testing.assert_allclose(np.corrcoef(z[:, [0, 3, 7, 10, 11]].T), np.eye(5), atol=0.02)


def test_without_codes_z_is_untouched():
    z = np.random.default_rng(0).standard_normal((5, 6), np.float32)
    assert codes.from_normal(z, ()) is z


def test_codes_from_a_command_line():
    shape = info_spec()
    chosen = codes.parse_codes("c1=2, u0=-1.5", shape.codes)
    z = codes.with_values(latents(6), chosen)
    assert (z[:, 7:10] == [0, 0, 1]).all() and (z[:, 10] == -1.5).all()
    assert np.array_equal(np.delete(z, range(7, 11), axis=1), np.delete(latents(6), range(7, 11), axis=1))
    assert codes.parse_codes("", ()) == {}


@pytest.mark.parametrize("text, problem", [
    ("c0=4", r"c0 \(0 to 3\)"), ("c0=1.5", "c0"), ("c0=-1", "c0"), ("u0", "u0"), ("u0=nan", "u0"), ("u0=1e9", "u0"),
    ("u7=0", "no such code"), ("=1", "no such code")])
def test_mistakes_name_the_code(text, problem):
    with pytest.raises(InputError, match=problem):
        codes.parse_codes(text, info_spec().codes)


def test_values_for_a_generator_without_codes():
    with pytest.raises(InputError, match="no codes"):
        codes.parse_codes("c0=1", spec("DCGAN").codes)


def test_a_traversal_changes_one_code_only():
    z, code = latents(3), info_spec().codes[0]
    moved = codes.traversal(z, code, code.values(9)).reshape(4, 3, 12)
    for value, row in enumerate(moved):
        assert np.array_equal(row[:, 3:7], np.eye(4)[[value] * 3])
        assert np.array_equal(np.delete(row, range(3, 7), axis=1), np.delete(z, range(3, 7), axis=1))
    assert info_spec().codes[2].values(3) == [-1, 0, 1]


@pytest.mark.parametrize("changes, problem", [
    ({"nz": 9}, "noise is left"), ({"architecture": "DCGAN"}, "has no codes")])
def test_impossible_codes(changes, problem):
    with pytest.raises(InputError, match=problem):
        dataclasses.replace(info_spec(), **changes).check()


# ---------------------------------------------------------------------------------------------- recovered codes

def test_information_of_perfect_and_of_blind_answers():
    """A perfect Q recovers log2 K bits and R2 1; one that always answers the prior recovers 0 of either."""
    shape, z = info_spec(), latents(20000)
    perfect = {"c0": z[:, 3:7], "c1": z[:, 7:10], "u0": z[:, 10], "u1": z[:, 11]}
    blind = {"c0": np.full((20000, 4), 1 / 4), "c1": np.full((20000, 3), 1 / 3), "u0": np.zeros(20000),
             "u1": np.zeros(20000)}
    assert codes.recovered(perfect, z, shape.codes) == pytest.approx({"c0": 2, "c1": np.log2(3), "u0": 1, "u1": 1})
    assert codes.recovered(blind, z, shape.codes) == pytest.approx({"c0": 0, "c1": 0, "u0": 0, "u1": 0}, abs=0.02)


def test_decisiveness():
    """I(answer; image): log2 K for certain answers of all categories, 0 if all answers are the same."""
    assert codes.decisiveness(np.eye(4)) == pytest.approx(2)
    assert codes.decisiveness(np.eye(4)[[1, 1, 1]]) == pytest.approx(0)
    assert codes.decisiveness(np.full((5, 4), 0.25)) == pytest.approx(0)
    half = np.array([[0.75, 0.25], [0.25, 0.75]])
    assert codes.decisiveness(half) == pytest.approx(1 + 0.75 * np.log2(0.75) + 0.25 * np.log2(0.25))


def test_the_loss_is_minus_the_information():
    """-log Q(c|x) for categories and the squared error for continuous codes, with their weights."""
    shape, run = info_spec(), settings("GAN", categorical_weight=2.0, continuous_weight=0.5)
    z = latents(1)
    answers = np.zeros((1, 9), np.float32)
    answers[0, :4] = [3, 1, 0, 0]
    answers[0, 7:] = z[0, 10:] + [1, -2]
    likelihood = np.exp([3, 1, 0, 0])[z[0, 3:7].argmax()] / np.exp([3, 1, 0, 0]).sum()
    expected = 2 * (-np.log(likelihood) + np.log(3)) + 0.5 * (1 + 4)
    assert float(information_loss(answers, z, shape.codes, run)) == pytest.approx(expected, rel=1e-5)


def test_answers_are_probabilities_and_estimates():
    shape = info_spec()
    recognizer = models.build_recognizer(shape, models.critic(shape, "critic"))
    answers = codes.read_codes(recognizer, np.zeros((5, 16, 24, 2), np.float32), shape.codes, batch_size=2)
    assert {name: answer.shape for name, answer in answers.items()} == {
        "c0": (5, 4), "c1": (5, 3), "u0": (5,), "u1": (5,)}
    np.testing.assert_allclose(answers["c0"].sum(axis=1), 1)


# ---------------------------------------------------------------------------------------------- training

@pytest.mark.parametrize("algorithm", [
    pytest.param(name, marks=() if name == "GAN" else pytest.mark.slow) for name in ALGORITHMS])
def test_the_information_reaches_both_networks(algorithm):
    """The weight of the codes affects what the generator learns in one iteration, and Q's head changes."""
    learnt = []
    for weight in (0.1, 10.0):
        run = Engine(info_spec(critic_batch_norm=ALGORITHMS[algorithm].defaults.critic_batch_norm),
                     settings(algorithm, num_D_iters=1, categorical_weight=weight))
        before = [variable.numpy().copy() for variable in run.head_weights]
        run.iterate(30, batches("InfoGAN", run.settings))
        assert all(not np.array_equal(old, new.numpy()) for old, new in zip(before, run.head_weights))
        learnt.append([variable.numpy().copy() for variable in run.generator.trainable_variables])
    assert any(not np.array_equal(a, b) for a, b in zip(*learnt))


def test_clipping_spares_the_recognizers_head():
    """Only the critic must be Lipschitz continuous."""
    run = Engine(info_spec(), settings("WGAN", num_D_iters=1))
    run.iterate(30, batches("InfoGAN", run.settings))
    assert max(abs(variable.numpy()).max() for variable in run.critic_weights) <= np.float32(0.01)
    assert max(abs(variable.numpy()).max() for variable in run.head_weights) > 0.02


def test_the_recognizer_shares_the_critics_trunk():
    shape = info_spec()
    critic = models.critic(shape, "critic")
    recognizer = models.build_recognizer(shape, critic)
    own = [variable.path for variable in recognizer.weights
           if not any(variable is other for other in critic.weights)]
    assert {path.split("/")[0] for path in own} == {"recognizer_projection", "recognizer_normalization", "answers"}
    assert recognizer.output_shape == (None, 9) and critic.output_shape == (None,)


def test_q_learns_to_read_a_simple_generator():
    """After some iterations Q recovers codes from generated images that it could not before."""
    run = Engine(info_spec(categorical=(2,), continuous=1),
                 settings("GAN", lrD=2e-3, lrG=2e-3, batch_size=16, average=0.0))
    data = batches("InfoGAN", run.settings)
    z, real = latents(200, run.spec), data.images.pixels / np.float32(127.5) - 1
    bits = []
    for iteration in range(120):
        if iteration in (0, 119):
            bits.append(codes.diagnosis(run.recognizer, run.spec.codes, z, run.generate(z), real)["c0 bits"])
        run.iterate(iteration, data)
    assert bits[0] < 0.1 and bits[1] > 0.5, bits


LABELS = {"c0": [codes.Label("three", 0.96, 25), codes.Label("4", 0.45, 20), codes.Label("", 0, 0),
                 codes.Label("0", 1, 3)],
          "c1": [codes.Label("a", 1, 1)] * 3}


@pytest.fixture
def generator(tmp_path):
    """A generator with codes and its file, as trained.load_generator returns it."""
    return SimpleNamespace(path=tmp_path / "weights.generator.InfoGAN.GAN.1.h5",
                           beside=lambda kind, suffix: tmp_path / f"{kind}.InfoGAN.GAN.1{suffix}",
                           spec=info_spec(), network=models.build_generator(info_spec()))


def test_labels_are_stored_beside_the_weights_and_hold_for_these_alone(generator):
    assert codes.read_labels(generator) == {}
    path = generator.path.with_name("codes.InfoGAN.GAN.1.json")
    path.write_text(json.dumps(codes.labels_content(generator, LABELS)))
    assert codes.read_labels(generator) == LABELS
    generator.network.weights[0].assign(generator.network.weights[0] + 1)
    assert codes.read_labels(generator) == {}


@pytest.mark.parametrize("damage", [
    lambda content: "", lambda content: "[1]", lambda content: "{}",
    lambda content: json.dumps(content | {"labels": {"c0": []}}),
    lambda content: json.dumps(content | {"labels": {"c0": content["labels"]["c0"][:2], "c1": []}}),
    lambda content: json.dumps(content).replace("three", "\\u001b[2J")])
def test_damaged_labels_are_reported(generator, damage):
    path = codes.labels_path(generator)
    path.write_text(damage(codes.labels_content(generator, LABELS)))
    with pytest.raises(InputError, match="biogans evaluate --codes"):
        codes.read_labels(generator)


def test_what_a_code_generates_in_words_and_in_pictures():
    first, second, continuous, _ = info_spec().codes
    assert codes.label_lines({first: 0, second: 1, continuous: 0.5}, {"c0": LABELS["c0"]}) == [
        "c0=0 generates mostly three (96% of the 25 held-out images that the recognizer assigns to it)"]
    assert "a mixture, most often 4 (45%" in codes.label_lines({first: 1}, LABELS)[0]
    assert codes.label_lines({first: 2}, LABELS) == codes.label_lines({first: 0}, {}) == []
    assert codes.value_names(first, range(4), LABELS) == ["c0=0 (three)", "c0=1 (4?)", "c0=2", "c0=3 (0)"]
    assert codes.value_names(first, [1]) == ["c0=1"] and codes.value_names(continuous, [-0.5]) == ["u0=-0.5"]


# ---------------------------------------------------------------------------------------------- useless codes

NONE = {"c0 bits": 0.01, "c0 entropy": 3.3, "c0 decisiveness": 0.0, "u0 R2": -0.02, "u0 spread": 0.0}


@pytest.mark.parametrize("iteration, every", [(1000, 500), (1000, 1), (1500, 1500), (1200, 5000)])
def test_codes_without_information_are_reported_after_a_while(iteration, every):
    (line,) = codes.Watch().warnings(NONE, iteration, every)
    assert line.startswith(f"warning: after {iteration:,} iterations") and "c0 bits 0.01, u0 R2 -0.02" in line
    assert "--preset infogan" in line and "\n" not in line


@pytest.mark.parametrize("iteration, every", [(500, 500), (999, 1), (1001, 1), (1500, 500), (3000, 1500)])
def test_codes_without_information_are_reported_once_and_not_at_the_start(iteration, every):
    assert not codes.Watch().warnings(NONE, iteration, every)


@pytest.mark.parametrize("learnt", [{"c0 bits": 2.0}, {"u0 R2": 0.5}])
def test_codes_with_information_are_not_reported(learnt):
    assert not codes.Watch().warnings(NONE | learnt, 1000, 500)


def test_codes_that_lose_their_information_are_reported_once():
    watch = codes.Watch()
    known = [{"u0 R2": 0.9, "u1 R2": 0.3}, {"u0 R2": 0.46, "u1 R2": 0.01}, {"u0 R2": 0.4, "u1 R2": 0.2},
             {"u0 R2": 0.3, "u1 R2": 0.2}, {"u0 R2": 0.8, "u1 R2": 0.2}, {"u0 R2": 0.02, "u1 R2": 0.2}]
    lines = [watch.warnings(each, 1500 + 500 * k, 500) for k, each in enumerate(known)]
    assert [len(each) for each in lines] == [0, 0, 1, 0, 0, 1]
    assert "after 2,500 iterations" in lines[2][0] and "(u0 R2 0.40 instead of 0.90)" in lines[2][0]


def test_a_calibrated_recognizer_answers_as_in_training():
    """Whatever the moving averages are, which stay as they are."""
    shape = info_spec(categorical=(2,), continuous=1)
    recognizer = models.build_recognizer(shape, models.critic(shape, "critic"))
    images = np.random.default_rng(0).uniform(-1, 1, (32, 16, 24, 2)).astype("float32")
    expected = recognizer(images, training=True).numpy()
    for variable in recognizer.weights:
        if "moving" in variable.path:
            variable.assign(variable + 0.7)
    before = recognizer.get_weights()
    calibrated = codes.calibrated(recognizer, images)
    np.testing.assert_allclose(calibrated(images, training=False).numpy(), expected, rtol=1e-3, atol=1e-5)
    assert np.abs(recognizer(images, training=False).numpy() - expected).max() > 0.01
    assert all(map(np.array_equal, before, recognizer.get_weights()))
