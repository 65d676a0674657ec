"""The benchmarks: the count of operations, against hand-computed ones and TensorFlow's own graph; the tables."""

import argparse
import json
import math
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from biogans import models
from biogans.engine import Engine
from biogans.errors import InputError
from conftest import ROOT
from networks import PAIRS, settings, spec

sys.path.insert(0, str(ROOT / "benchmarks"))
import nine
import train_step

FACTORS = ("Alp14", "Arp3", "Cki2", "Mkh1", "Sid2", "Tea1")
HIDDEN = 15 * 16 * 512 * 256            # 3x5 pixels, 4x4 taps: the same in each hidden layer, 31.5 M
FINEST = 24 * 40 * 16 * 64              # the layer at the image, for each of its channels, 0.98 M
SCORE = 3 * 5 * 512
CRITIC = 2 * FINEST + 3 * HIDDEN + SCORE
GENERATOR = 100 * 15 * 512 + 3 * HIDDEN + 2 * FINEST
# Half the features are red (from 50 of z) and half a tower's; a tower reads both halves and computes its own.
RED = 50 * 15 * 256 + 3 * HIDDEN // 4 + FINEST // 2
TOWER = 100 * 15 * 256 + 3 * HIDDEN // 2 + FINEST
STAR = RED + 6 * TOWER


def paper(architecture):
    return models.NetworkSpec(architecture, 48, 80, 2, FACTORS)


def test_the_hand_computed_numbers():
    assert [round(number / 1e6) for number in (CRITIC, GENERATOR, STAR)] == [96, 97, 316]


def test_work_of_the_critic():
    assert train_step.work(models.critic(paper("DCGAN"), "critic")) == (CRITIC, 2 * FINEST, SCORE)


@pytest.mark.parametrize("architecture, forward, first", [
    ("DCGAN", GENERATOR, 100 * 15 * 512), ("DCGAN-separable", RED + TOWER, 150 * 15 * 256),
    ("DCGAN-starshaped", STAR, 650 * 15 * 256)])
def test_work_of_the_generators(architecture, forward, first):
    assert train_step.work(models.build_generator(paper(architecture)))[:2] == (forward, first)


@pytest.mark.parametrize("algorithm, updates, generators, critics, firsts, lasts", [
    ("GAN", 1, 3, 8, 2, 0), ("WGAN", 5, 7, 32, 10, 0), ("WGAN-GP", 5, 7, 52, 10, 10)])
def test_flop_of_an_iteration(algorithm, updates, generators, critics, firsts, lasts):
    game = train_step.ALGORITHMS[algorithm](settings(algorithm))
    pair = models.build_generator(paper("DCGAN")), models.build_critics(paper("DCGAN"))
    expected = generators * GENERATOR - 100 * 15 * 512 + critics * CRITIC - firsts * 2 * FINEST - lasts * SCORE
    assert train_step.iteration_flop(*pair, game, updates, batch_size=64) == 2 * 64 * expected


@pytest.mark.parametrize("architecture, algorithm", PAIRS)
def test_flop_are_those_of_the_compiled_iteration(architecture, algorithm):
    """With one update of the critic. Keras's leaky ReLU may pass zeros on as its second derivative, which then go back
    through the critic's forward pass for nothing: these aren't counted."""
    engine = Engine(spec(architecture, algorithm), settings(algorithm, num_D_iters=1))
    executed = 2 * sum(map(executed_multiply_adds, needed_operations(engine._compiled.get_concrete_function().graph)))
    batch = engine.settings.batch_size
    counted = train_step.iteration_flop(engine.generator, engine.critics, engine.algorithm, 1, batch)
    critics = [train_step.work(critic) for critic in engine.critics]
    zeros = 2 * batch * sum(2 * (critic.forward - critic.last) - critic.first for critic in critics)
    assert executed in ((counted, counted + zeros) if algorithm == "WGAN-GP" else (counted,))


def needed_operations(graph):
    """The operations of a FuncGraph that its results or its changes of variables need."""
    needed, waiting = set(), [*graph.control_outputs, *(tensor.op for tensor in graph.outputs)]
    while waiting:
        operation = waiting.pop()
        if operation not in needed:
            needed.add(operation)
            waiting += [*(tensor.op for tensor in operation.inputs), *operation.control_inputs]
    return needed


def executed_multiply_adds(operation):
    """Of a whole batch, read from the shapes of TensorFlow's operation."""
    if operation.type == "MatMul":
        summed = operation.inputs[0].shape[0 if operation.get_attr("transpose_a") else 1]
        return math.prod(operation.outputs[0].shape) * summed
    if operation.type == "Conv2D":
        small, kernel = operation.outputs[0].shape, operation.inputs[1].shape
    elif operation.type == "Conv2DBackpropInput":
        small, kernel = operation.inputs[2].shape, operation.inputs[1].shape
    elif operation.type == "Conv2DBackpropFilter":
        small, kernel = operation.inputs[2].shape, operation.outputs[0].shape
    else:
        return 0
    return math.prod(small[:3]) * math.prod(kernel)


def test_combinations():
    assert len(train_step.combinations([])) == 9
    assert train_step.combinations(["separable/wgan-gp", "DCGAN/GAN"]) == [
        ("DCGAN", "GAN"), ("DCGAN-separable", "WGAN-GP")]
    with pytest.raises(InputError, match="ProGAN"):
        train_step.combinations(["ProGAN"])


def test_train_step_prints_a_row_for_each_algorithm(tmp_path):
    command = [sys.executable, ROOT / "benchmarks" / "train_step.py", "--iterations", "1", "--only", "DCGAN-separable",
               "--ngf", "4", "--ndf", "4", "-b", "8", "--json", tmp_path / "times.json"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    assert [line[:3] for line in lines[1:4]] == [["DCGAN-separable", "GAN", "1"], ["DCGAN-separable", "WGAN", "5"],
                                                 ["DCGAN-separable", "WGAN-GP", "5"]]
    report = json.loads((tmp_path / "times.json").read_text())
    assert [len(row["milliseconds"]) for row in report["rows"]] == [1, 1, 1]
    assert all(row["gflop_per_second"] > 0 and row["fraction_of_peak"] > 0 for row in report["rows"])


def test_nine_trains_one(data):
    options = argparse.Namespace(data=data, preset="fast", epochs=3)
    run = nine.train("DCGAN", "WGAN-GP", options)
    assert run.samples.mode == "RGB" and run.samples.width >= 600
    assert run.seconds > 0 and run.milliseconds > 0 and np.isfinite([run.first, run.last]).all()
    assert nine.line(run).split()[:2] == ["DCGAN", "WGAN-GP"]


def test_nine_tells_which_training_failed(tmp_path):
    options = argparse.Namespace(data=tmp_path / "nowhere", preset="fast", epochs=1)
    with pytest.raises(InputError, match="DCGAN with GAN ended with status 2: .*no such folder"):
        nine.train("DCGAN", "GAN", options)


def test_nine_refuses_losses_that_are_not_finite(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("iteration,critic_loss,generator_loss,seconds\n1,0.5,2,3.000\n2,nan,1,3.500\n3,0.5,1,4.000\n")
    losses, milliseconds = nine.read_log(log)
    assert losses[0] == (0.5, 2.0) and math.isnan(losses[1][0]) and milliseconds == 500


def test_sheet_has_each_grid_in_its_place():
    """Grids of one colour each; those of the third architecture are twice as wide, and are scaled down."""
    sizes = {"DCGAN": (60, 40), "DCGAN-separable": (60, 40), "DCGAN-starshaped": (120, 60)}
    grids = {pair: Image.new("RGB", sizes[pair[0]], (20 * k, 255 - 20 * k, 99)) for k, pair in enumerate(PAIRS)}
    picture = nine.sheet([nine.Run(*pair, 1.0, 1.0, (0, 0), (0, 0), grid) for pair, grid in grids.items()], "nine")
    assert picture.width == nine.MARGIN + 3 * (60 + nine.MARGIN)
    tops = [nine.TITLE + nine.LABEL + k * (nine.LABEL + 40 + nine.MARGIN) for k in range(3)]
    for k, grid in enumerate(grids.values()):
        left, top = nine.MARGIN + k % 3 * (60 + nine.MARGIN), tops[k // 3]
        tile = np.asarray(picture.crop((left, top, left + 60, top + (30 if k >= 6 else 40))))
        assert (tile == grid.getpixel((0, 0))).all()
