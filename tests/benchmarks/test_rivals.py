"""The rivals of labelling and of the GAN: their scores, and that each learns what can be learnt."""

import dataclasses
import itertools
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from biogans.core import c2st
from biogans.core.dataloader import Images
from biogans.data import simulate
from biogans.evaluation import scoring, variety
from biogans.latent import encoder
from biogans.system.lazy import keras
from conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import flow_matching
import labelling

FACTORS = ("Alp14", "Tea1")


def test_the_score_of_draws_is_that_of_the_formula():
    """E|X - y| - E|X - X'| / 2 over all pairs of different draws; the absolute error for a single one."""
    rng = np.random.default_rng(0)
    draws, truth = rng.random((9, 4, 5)), rng.random((4, 5))
    pairs = np.mean([np.abs(one - other) for one, other in itertools.permutations(draws, 2)], axis=0)
    np.testing.assert_allclose(labelling.crps(draws, truth), np.abs(draws - truth).mean(axis=0) - pairs / 2)
    np.testing.assert_allclose(labelling.crps(draws[:1], truth), np.abs(draws[0] - truth))


def test_right_draws_score_best():
    """Draws of the truth's own distribution are covered 80 % of the time, and score better than their mean alone."""
    rng = np.random.default_rng(0)
    cells = rng.random((60, 24, 40, 3))
    right, narrow = rng.random((2, 60, 9, 24, 40, 2))
    narrow = 0.5 + 0.3 * (narrow - 0.5)
    scores = {name: [labelling.score(cell, own) for cell, own in zip(cells, draws)]
              for name, draws in (("right", right), ("narrow", narrow), ("mean", np.full((60, 1, 24, 40, 2), 0.5)))}
    mean = {name: {column: np.mean([each[column] for each in own]) for column in own[0]}
            for name, own in scores.items()}
    assert mean["right"]["covered"] == pytest.approx(0.8, abs=0.02) and mean["narrow"]["covered"] < 0.5
    assert mean["right"]["crps"] < min(mean["mean"]["crps"], mean["narrow"]["crps"])
    assert mean["right"]["draw"] == pytest.approx(2 * mean["mean"]["guess"], rel=0.03)
    assert mean["right"]["draw_texture"] == pytest.approx(1, abs=0.05) and mean["mean"]["guess_texture"] < 0.01


def test_tables(tmp_path):
    """Means over seeds and factors; roots of mean squares; a dash where a single answer has no band."""
    values = {"guess": [[0.04, 0.01], [0.04, 0.01]], "crps": [[0.1, 0.3], [0.1, 0.3]]}
    for way, scores in (("regression", values), ("encoder", values | {"covered": [[0.5, 0.7], [0.5, 0.7]]})):
        for seed in (0, 1):
            (tmp_path / f"{way}.{seed}.json").write_text(json.dumps({
                "way": way, "seed": seed, "cells": 2, "factors": FACTORS, "learning_s": 60, "drawing_s": 1,
                "scores": scores}))
    first, _, _, second, *_, third = labelling.tables(tmp_path).splitlines()
    assert first.startswith("| | cells | seeds | best guess |")
    assert second.startswith("| encoder | 2 | 2 | 0.158 ± 0.000 | – | 0.200 ± 0.000 | 60% ± 0% |")
    assert "1.0 min | 500 ms |" in second and third.startswith("| encoder | 0.200 ± 0.000, 50% ± 0% | 0.100 ± 0.000")


def test_the_regression_learns_from_the_factor_that_an_image_shows():
    """Two factors, one twice as bright as red and one dark: the network answers both for a red, after some updates."""
    rng = np.random.default_rng(0)
    network, trained = labelling.build_regression(SimpleNamespace(height=16, width=24, factors=FACTORS))
    trained.compile(keras.optimizers.Adam(3e-3), "mse", jit_compile=False)
    for _ in range(60):
        red, factor = rng.uniform(-1, 1, (16, 1, 1, 1)) * np.ones((16, 16, 24, 1)), rng.integers(2, size=16)
        green = np.where(factor == 0, 0.9, 0.1)[:, None, None, None] * np.ones_like(red)
        trained.train_on_batch([red.astype("float32"), np.eye(2, dtype="float32")[factor]], green.astype("float32"))
    answers = network.predict(np.zeros((1, 16, 24, 1), "float32"), verbose=0)[0].mean(axis=(0, 1))
    assert answers[0] > 0.7 and answers[1] < 0.3


class Straight:
    """The exact velocity of a flow from noise to a single image of 0.5: (0.5 - x) / (1 - t)."""

    def predict_on_batch(self, inputs):
        x, times, _ = inputs
        return (0.5 - x) / np.maximum(1 - times[:, None, None, :], 1e-3)


def test_drawing_follows_the_velocity_and_keeps_a_given_red(monkeypatch):
    """Straight lines are followed exactly by any number of steps before the last, which starts at t < 1."""
    monkeypatch.setattr(flow_matching, "STEPS", 50)
    flow = flow_matching.Flow(Straight(), FACTORS, (16, 24, 2))
    images = flow.draw(np.zeros(3, int), np.random.default_rng(0))
    assert images.shape == (3, 16, 24, 2) and images.dtype == np.uint8
    assert np.abs(images / 127.5 - 1 - 0.5).max() < 0.15
    reds = np.full((3, 16, 24, 1), -0.25, np.float32)
    images = flow.draw(np.zeros(3, int), np.random.default_rng(0), reds)
    assert np.abs(images[..., 0] / 127.5 - 1 + 0.25).max() < 0.01 and images[..., 1].mean() > 150


@pytest.mark.slow
def test_a_flow_learns_the_brightness_of_each_factor(tmp_path, monkeypatch):
    """Images of a constant brightness for each factor, after a few seconds of training; its files are read again."""
    monkeypatch.setattr(flow_matching, "FILTERS", (8, 16))
    monkeypatch.setattr(flow_matching, "AVERAGE", 0.9)
    labels = np.arange(40) % 2
    pixels = np.where(labels == 0, 40, 200)[:, None, None, None] * np.ones((1, 16, 24, 2))
    images = Images(pixels.astype("uint8"), labels, FACTORS)
    options = SimpleNamespace(output=tmp_path, minutes=0.15, seed=0)
    flow, updates, minutes = flow_matching.trained_flow(images, options)
    assert updates > 20 and 0.15 <= minutes < 0.3
    dark, bright = (flow.draw(np.full(8, k), np.random.default_rng(0)).mean() for k in (0, 1))
    assert dark < 90 < 150 < bright
    again = flow_matching.trained_flow(images, options)
    assert again[1:] == (updates, minutes)
    drawn = [each.draw(np.arange(2), np.random.default_rng(1)) for each in (flow, again[0])]
    assert np.array_equal(*drawn)


@pytest.mark.slow
def test_both_scripts_from_data_to_table(tmp_path, monkeypatch, capsys):
    """Each way of labelling, the flow and the included star have a row; nothing is measured twice."""
    monkeypatch.chdir(tmp_path)
    assert simulate.main(["-o", "data", "--train", "480", "--test", "240", "--joint", "24"]) == 0
    for module, changes in ((labelling, {"SEARCHED": 2, "STARTS": 1, "STEPS": 2, "SHOWN": 1}),
                            (encoder, {"GENERATED": 3, "REAL": 3}), (scoring, {"MEASURED": 60}),
                            (flow_matching, {"STEPS": 1, "FILTERS": (8, 16)}), (variety, {"GREENS": 2})):
        for name, value in changes.items():
            monkeypatch.setattr(module, name, value)
    quick = dataclasses.replace(c2st.fast(), pool=64, iterations=3)
    monkeypatch.setattr(c2st, "fast", lambda: quick)
    star = next((ROOT / "data_48-80/checkpoints").glob("weights.generator.DCGAN-starshaped.WGAN-GP.*.h5"))
    for script, words in ((labelling, ["-n", "3", "--seeds", "1"]), (flow_matching, []),
                          (flow_matching, ["-i", str(star)])):
        given = ["-i", str(star)] if script is labelling else []
        script.compare(script.parser().parse_args(["-d", "data", "--minutes", "0.05", *given, *words]))
    printed = capsys.readouterr().out
    assert all(f"\n| {name} |" in printed for name in (*labelling.ORDER, "flow matching", "DCGAN-starshaped WGAN-GP"))
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*.json")}
    labelling.compare(labelling.parser().parse_args(["-d", "data", "-i", str(star), "-n", "3", "--seeds", "1"]))
    assert written == {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*.json")} and len(written) == 8
