"""Periodic scores on held-out images: known answers, and that measuring changes nothing in the training."""

import csv
import shutil

import numpy as np
import pytest

from biogans.core import dataloader, monitor, train
from biogans.core.engine import Engine
from biogans.core.models import ARCHITECTURES
from biogans.core.trained import load_generator
from biogans.system.progress import Scores
from conftest import SMALL, write_images
from networks import settings, spec
from small_runs import run_train, same, state


def blobs(tmp_path, seed, number=140):
    """Images of two factors, read from files."""
    return dataloader.load(write_images(tmp_path / f"seed{seed}", number=number, seed=seed))


@pytest.fixture
def meter(tmp_path):
    return monitor.Monitor(Engine(spec("DCGAN-starshaped"), settings()), blobs(tmp_path, 1), blobs(tmp_path, 2))


def groups(images):
    return monitor.images_of_critics(images, ARCHITECTURES["DCGAN-starshaped"], np.random.default_rng(0))


def test_the_distance_within_a_distribution_is_0_within_its_error(meter, tmp_path):
    """The mean over eight pairs of sets of images is within three standard errors of 0."""
    sets = [[meter.features(group) for group in groups(blobs(tmp_path, seed, 100))] for seed in range(10, 26)]
    distances = []
    for ours, others in zip(sets[::2], sets[1::2]):
        distances.append(np.mean([monitor.kernel_distance(meter.standardise(one), meter.standardise(other))
                                  for one, other in zip(ours, others)]))
    assert abs(np.mean(distances)) < 3 * np.std(distances, ddof=1) / np.sqrt(8) and np.std(distances) < 0.1


def test_the_distance_detects_collapse_and_orders_stages(meter, tmp_path):
    """A single repeated image is far away; mixtures with noise are the farther, the more noise they have."""
    real = groups(blobs(tmp_path, 3))
    noise = [np.random.default_rng(0).uniform(-1, 1, group.shape).astype("float32") for group in real]
    stages = [meter.distance([(1 - part) * group + part * other for group, other in zip(real, noise)])
              for part in (0, 0.1, 0.3, 1)]
    assert stages == sorted(stages) and stages[1] > 10 * max(abs(stages[0]), 0.02)
    collapsed = meter.distance([np.repeat(group[:1], len(group), axis=0) for group in real])
    assert collapsed > 20 * max(abs(stages[0]), 0.02)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_all_architectures_are_measured_as_their_critics_see_them(architecture, tmp_path):
    codes = {"nz": 8, "categorical": (3,), "continuous": 1} if ARCHITECTURES[architecture].has_codes else {}
    shape = spec(architecture, **codes)
    measured = monitor.Monitor(Engine(shape, settings()), blobs(tmp_path, 1, 20), blobs(tmp_path, 2, 20))
    assert [group.shape for group in measured.held_out] == [
        (40 // shape.num_critics, 16, 24, shape.critic_channels)] * shape.num_critics
    assert np.isfinite(measured.measure()).all()


def test_random_features_are_reproducible():
    """NumPy generates the weights."""
    image = np.linspace(-1, 1, 16 * 24 * 2, dtype="float32").reshape(1, 16, 24, 2)
    features = monitor.random_features(16, 24, 2).predict_on_batch(image)
    again = monitor.random_features(16, 24, 2).predict_on_batch(image)
    assert features.shape == (1, 112) and np.array_equal(features, again)


def test_overfitting_is_the_position_of_held_out_scores(meter):
    """0 if held-out images score as training images, 1 if they score as generated ones."""
    def bright(value):
        return [np.full((4, 16, 24, 2), value, "float32")] * 2
    meter.engine.critics = [lambda images, training: images[:, 0, 0, 0]] * 2
    meter.training, generated = bright(0.8), bright(-0.2)
    for held_out, expected in ((0.8, 0), (-0.2, 1), (0.3, 0.5)):
        meter.held_out = bright(held_out)
        assert meter.overfitting(generated) == pytest.approx(expected, abs=1e-6)


def test_the_augmentation_is_steered_towards_its_target(tmp_path, monkeypatch):
    """Stronger while the critic memorises, weaker while it does not, by 100 batches of 50,000 images, from 0 to 1."""
    engine = Engine(spec("DCGAN-starshaped"), settings(augment=("color",), augment_target=0.4))
    meter = monitor.Monitor(engine, blobs(tmp_path, 1), blobs(tmp_path, 2))
    expected = 0.0
    for overfitting, step in ((0.9, 1), (0.5, 1), (0.1, -1), (-2.0, -1), (0.1, 0), (0.41, 1)):
        monkeypatch.setattr(meter, "overfitting", lambda generated, ratio=overfitting: ratio)
        expected += step * 100 * 4 / 50_000
        engine.strength.assign(meter.steer())
        assert float(engine.strength.value) == pytest.approx(expected, abs=1e-6)
    engine.strength.assign(0.999)
    assert meter.steer() == 1


def test_a_run_with_steered_augmentation_is_resumed_exactly(here, monkeypatch, capsys):
    """The strength is part of the checkpoint: 4 iterations and 4 more equal 8, with a step after every second one."""
    monkeypatch.setattr(monitor, "STEER_EVERY", 2)
    options = ("-m", "DCGAN", "--augment", "color", "--augment_target", 0.001)
    run_train(*options, "-e", 8, "-c", "whole")
    assert "augmented at the end: " in capsys.readouterr().out
    run_train(*options, "-e", 4, "-c", "halves")
    run_train("-e", 8, "-c", "halves", "-w")
    whole, _ = state(here / "whole")
    assert same(whole, state(here / "halves")[0]) and len([name for name in whole if "augmentation" in name]) == 1


@pytest.mark.parametrize("options, spoiled, words", [
    (("--augment_target", 0.4), False, "name it, for example --augment affine"),
    (("--augment", "color", "--augment_target", 0.4), True, "has none that serve: add a folder")])
def test_augmentation_that_can_not_be_steered(here, options, spoiled, words, run):
    if spoiled:
        shutil.rmtree(next((here / "data").glob("*_test")))
    done = run("train.py", "-d", "data", *SMALL, *options, "-e", 1)
    assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1


def test_warnings_appear_once_and_again_after_a_recovery(meter):
    meter.floor = 0.01
    warned = []
    course = [(9.0, 0), (0.5, 0.1), (1.9, 0.1), (2.1, 0.7), (3, 0.1), (3, 0.6), (3, 0.6), (0.6, 0), (5, 0)]
    for iteration, scores in enumerate(Scores(*pair) for pair in course):
        meter.is_best(scores, iteration)
        warned.append([line.split()[2] for line in meter.warnings(scores)])
    assert warned == [[], [], [], ["distance"], [], [], ["critic"], [], ["distance"]]    # one high ratio may be chance
    assert meter.best == (0.5, 1)


# ---------------------------------------------------------------------------------------------- in a training

def log(folder, run="DCGAN.WGAN-GP.1"):
    with open(folder / f"log.{run}.csv") as file:
        return list(csv.DictReader(file))


def test_scores_are_logged_and_change_nothing(here, capsys):
    """At every -M, in the log and in the output; losses and weights are the same as without scores."""
    run_train("-m", "DCGAN", "-e", 4, "-M", 2, "-c", "with")
    assert "held-out distance" in capsys.readouterr().out
    shutil.rmtree("data/LIN_test")
    run_train("-m", "DCGAN", "-e", 4, "-M", 2, "-c", "without")
    assert capsys.readouterr().out.count("no scores on held-out images: data/LIN_test: no such folder") == 1
    measured, plain = log(here / "with"), log(here / "without")
    assert [bool(row["held_out_distance"]) for row in measured] == [False, True, False, True]
    assert [row["critic_loss"] for row in measured] == [row["critic_loss"] for row in plain]
    assert same(state(here / "with")[0], state(here / "without")[0])
    assert not (here / "without" / "weights.best_generator.DCGAN.WGAN-GP.1.h5").exists()


@pytest.mark.usefixtures("quick_runs")
def test_the_best_generator_is_kept_also_by_a_resumed_run(here, monkeypatch):
    """Distances of 5, 3, 4 and 2.5 after 1, …, 4 iterations: runs of 3 iterations have the same best file."""
    distances = {1: 5.0, 2: 3.0, 3: 4.0, 4: 2.5}
    monkeypatch.setattr(monitor.Monitor, "distance", lambda self, groups: distances.get(self.engine.position // 2, 1.0))
    name = "weights.best_generator.DCGAN.WGAN-GP.1.h5"
    run_train("-m", "DCGAN", "-e", 3, "-M", 1, "-c", "whole")
    run_train("-m", "DCGAN", "-e", 2, "-M", 1, "-c", "halves")
    at_2 = (here / "halves" / name).read_bytes()
    run_train("-m", "DCGAN", "-e", 3, "-M", 1, "-c", "halves", "-w")
    assert (here / "halves" / name).read_bytes() == at_2 == (here / "whole" / name).read_bytes()
    metadata = load_generator(here / "halves" / name).metadata
    assert (metadata.iteration, metadata.held_out_distance) == (2, 3.0)
    run_train("-m", "DCGAN", "-e", 4, "-M", 1, "-c", "halves", "-w")
    assert load_generator(here / "halves" / name).metadata.iteration == 4
    run_train("-m", "DCGAN", "-e", 1, "-c", "halves", "-s", 1)
    assert load_generator(here / "halves" / name).metadata.iteration == 1      # the earlier run was moved aside


@pytest.mark.usefixtures("quick_runs")
def test_a_log_without_scores_is_continued(here):
    """As versions without scores wrote it."""
    run_train("-m", "DCGAN", "-e", 2)
    path = here / "checkpoints" / "log.DCGAN.WGAN-GP.1.csv"
    path.write_text("\n".join(",".join(line.split(",")[:4]) for line in path.read_text().splitlines()) + "\n")
    run_train("-m", "DCGAN", "-e", 3, "-w")
    rows = log(here / "checkpoints")
    assert [row["iteration"] for row in rows] == ["1", "2", "3"] and rows[0]["held_out_distance"] == ""


@pytest.mark.usefixtures("quick_runs")
@pytest.mark.parametrize("spoil, reason", [
    (lambda test: [path.unlink() for path in sorted((test / "Tea1").iterdir())[4:]], "Tea1 has fewer than 8"),
    (lambda test: shutil.rmtree(test / "Tea1"), "other factors"),
    (lambda test: (test / "Tea1" / "cell000.png").write_bytes(b""), "cell000.png")])
def test_unsuitable_held_out_images_are_reported_in_one_line(here, capsys, spoil, reason):
    spoil(here / "data" / "LIN_test")
    assert train.main([*SMALL, "-d", "data", "-m", "DCGAN", "-e", "1"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "no scores" in line]
    assert reason in line


@pytest.mark.parametrize("most, those", [(512, "3 of 24 held-out images"),
                                         (6, "1 of the 12 held-out images that were read")])
def test_held_out_images_that_are_training_images(data, capsys, monkeypatch, most, those):
    """Only those that are read anyway are compared; every second file of a class is, if six are the most."""
    monkeypatch.setattr(monitor, "MAX_IMAGES", most)
    monkeypatch.setattr(monitor, "MIN_IMAGES", 2)
    for k, name in enumerate((1, 3, 4)):
        shutil.copy(data / "LIN_train" / "Alp14" / f"cell00{k}.png", data / "LIN_test" / "Tea1" / f"cell00{name}.png")
    assert monitor.load_held_out(data, (), dataloader.load(data)) is not None
    assert capsys.readouterr().err.startswith(f"warning: {those} are training images: ")


def test_masks_that_the_training_left_out_are_not_held_out(data, capsys):
    shutil.copytree(data / "LIN_test" / "Alp14", data / "LIN_test" / "masks")
    assert monitor.load_held_out(data, (), dataloader.load(data)).factors == ("Alp14", "Tea1")
