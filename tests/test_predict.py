"""predict.py: stacks that describe themselves, and the evaluation."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from biogans import c2st, checkpoint, predict
from biogans.engine import draw
from conftest import train_small_networks

STAR = "checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.2.h5"
STACK = "images/stack3.DCGAN-starshaped.WGAN-GP.h5"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A user's folder after training a star of two factors and a DCGAN on both for 2 iterations."""
    folder = tmp_path_factory.mktemp("predict")
    train_small_networks(folder, ("DCGAN-starshaped", "DCGAN", "DCGAN-multichannel", "DCGAN-separable-independent"))
    return folder


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


def stack(path=STACK):
    with h5py.File(path) as file:
        return file["stack"][()], dict(file["stack"].attrs), file["z"][()]


def test_a_stack_describes_itself(here, capsys):
    assert predict.main(["-i", STAR, "-s", "3"]) == 0
    assert f"Output image stack to file: {STACK}" in capsys.readouterr().out
    cells, facts, z = stack()
    assert cells.shape == (1, 16, 24, 3) and cells.dtype == np.float32 and 0 <= cells.min() < cells.max() <= 1
    assert list(facts["channel_names"]) == ["red", "Alp14", "Tea1"] and list(facts["value_range"]) == [0, 1]
    assert (facts["seed"], facts["source"], facts["iteration"], facts["algorithm"]) == (3, STAR, 2, "WGAN-GP")
    generator, _, _ = checkpoint.load_generator(STAR)
    assert np.array_equal(cells, (draw(generator, z) + 1) / 2)


def test_fresh_cells_unless_a_seed_is_given(here):
    drawn = []
    for seed in ([], [], ["-s", "1"], ["-s", "1"]):
        predict.main(["-i", STAR, *seed])
        drawn.append(stack()[0])
    assert not np.array_equal(drawn[0], drawn[1]) and np.array_equal(drawn[2], drawn[3])


def test_many_cells_do_not_depend_on_the_batch(here):
    drawn = []
    for batch_size in (3, 7, 64):
        predict.main(["-i", STAR, "-n", "7", "-s", "1", "-b", str(batch_size)])
        drawn.append(stack())
    for cells, _, z in drawn:
        assert len(cells) == len(z) == 7 and np.array_equal(z, drawn[0][2])
        np.testing.assert_allclose(cells, drawn[0][0], atol=1e-6)
    assert np.array_equal(z, np.random.default_rng(1).standard_normal((7, 6), np.float32))


def test_cells_of_given_numbers(here):
    """One list of nz numbers, a list of such, or what the page of explore.py saves."""
    predict.main(["-i", STAR, "-s", "4", "-n", "3"])
    cells, _, z = stack()
    for numbers, expected in ((z[0].tolist(), slice(0, 1)), (z.tolist(), slice(3)), ({"z": z[1].tolist()}, slice(1, 2))):
        Path("cells.json").write_text(json.dumps(numbers))
        assert predict.main(["-i", STAR, "--z", "cells.json", "-b", "2"]) == 0
        drawn, facts, given = stack()
        np.testing.assert_allclose(drawn, cells[expected], atol=1e-6)
        assert np.array_equal(given, z[expected]) and facts["z_from"] == "cells.json" and "seed" not in facts


@pytest.mark.parametrize("content, words", [
    ("[1, 2]", "6 numbers"), ("[[1, 2], [3]]", "6 numbers"), ("{}", "6 numbers"), ("[]", "6 numbers"), ("7", "6 numbers"),
    ("[1, 2, 3, 4, 5, 1e999]", "6 numbers"), ('["a", 2, 3, 4, 5, 6]', "6 numbers"), ("{", "not a JSON"),
    ("[" * 100000, "not a JSON"), ("\udcff", "not a JSON")])
def test_numbers_that_draw_nothing(here, content, words, capsys):
    Path("cells.json").write_text(content, errors="surrogateescape")
    assert predict.main(["-i", STAR, "--z", "cells.json"]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "cells.json" in message and words in message


def test_given_numbers_leave_nothing_to_chance(here, capsys):
    assert predict.main(["-i", STAR, "--z", "missing.json"]) == 2
    assert "missing.json" in capsys.readouterr().err
    assert predict.main(["-i", STAR, "--z", "missing.json", "-n", "3"]) == 2
    assert "-n" in capsys.readouterr().err
    with pytest.raises(SystemExit) as refused:
        predict.main(["-i", STAR, "--z", "missing.json", "-s", "3"])
    assert refused.value.code == 2


def test_memory_does_not_grow_with_the_number_of_cells(here):
    """40,000 more cells, 184 MB in the file, after some that have started everything."""
    code = ("import resource, sys; from biogans import predict\n"
            "for number in ('1000', '41000'):\n"
            "    assert predict.main(['-i', sys.argv[1], '-n', number, '-b', '500']) == 0\n"
            "    print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)")
    result = subprocess.run([sys.executable, "-c", code, STAR], capture_output=True, text=True, timeout=300)
    few, many = [float(line.split()[1]) for line in result.stdout.splitlines() if line.startswith("peak")]
    with h5py.File(STACK) as file:
        assert file["stack"].shape == (41000, 16, 24, 3) and file["stack"][-1].std() > 0
    assert many - few < 60


def test_a_failure_leaves_the_earlier_stack(here, monkeypatch):
    predict.main(["-i", STAR, "-s", "1"])
    earlier = stack()[0]
    calls = []

    def full_disk(generator, z, batch_size):
        calls.append(z)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "", STACK)
        return draw(generator, z, batch_size)

    monkeypatch.setattr("biogans.engine.draw", full_disk)
    assert predict.main(["-i", STAR, "-n", "7", "-b", "2"]) == 2
    assert np.array_equal(stack()[0], earlier) and [path.name for path in Path("images").glob(".stack3*")] == []


def test_chosen_factors(here):
    predict.main(["-i", STAR, "-s", "1"])
    everything, _, _ = stack()
    predict.main(["-i", STAR, "-s", "1", "-p", "Tea1"])
    chosen, facts, _ = stack("images/stack2.DCGAN-starshaped.WGAN-GP.h5")
    assert list(facts["channel_names"]) == ["red", "Tea1"] and np.array_equal(chosen, everything[..., [0, 2]])


def test_a_multichannel_network_draws_a_cell_with_all_factors(here):
    name = "DCGAN-multichannel.WGAN-GP"
    assert predict.main(["-i", f"checkpoints/weights.generator.{name}.2.h5", "-s", "1"]) == 0
    everything, facts, _ = stack(f"images/stack3.{name}.h5")
    assert list(facts["channel_names"]) == ["red", "Alp14", "Tea1"]
    assert predict.main(["-i", f"checkpoints/weights.generator.{name}.2.h5", "-s", "1", "-p", "Tea1"]) == 0
    assert np.array_equal(stack(f"images/stack2.{name}.h5")[0], everything[..., [0, 2]])


def test_independent_networks_draw_one_factor_with_its_own_red(here, capsys):
    """A stack has one red, so all factors together are refused."""
    path = "checkpoints/weights.generator.DCGAN-separable-independent.WGAN-GP.2.h5"
    for factors in ([], ["-p", "Alp14,Tea1"]):
        assert predict.main(["-i", path, "-s", "1", *factors]) == 2
        message = capsys.readouterr().err
        assert message.count("\n") == 1 and "a cell of its own: choose one with -p: Alp14, Tea1" in message
    assert predict.main(["-i", path, "-s", "1", "-p", "Tea1"]) == 0
    cells, facts, z = stack("images/stack2.DCGAN-separable-independent.WGAN-GP.h5")
    generator, _, _ = checkpoint.load_generator(path)
    assert list(facts["channel_names"]) == ["red Tea1", "Tea1"]
    assert np.array_equal(cells, (draw(generator, z)[..., 2:] + 1) / 2)


@pytest.mark.parametrize("name", [STAR, "checkpoints/model.generator.DCGAN-starshaped.WGAN-GP.2.h5",
                                  "checkpoints/weights.combined_model.DCGAN-starshaped.WGAN-GP.2.h5",
                                  "checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.16_24.1.2.h5"])
def test_every_file_that_holds_a_generator(here, name):
    predict.main(["-i", STAR, "-s", "5"])
    expected = stack()[0]
    assert predict.main(["-i", name, "-s", "5"]) == 0
    assert np.array_equal(stack()[0], expected)


@pytest.mark.parametrize("option, value, stored", [("-a", "gan", "WGAN-GP"), ("-m", "DCGAN", "DCGAN-starshaped"), ("--ngf", "8", "4"),
                                                   ("-z", "100", "6"), ("--lrD", "0.5", "0.0001"), ("-p", "Sid2", "Alp14, Tea1")])
def test_contradictions_name_both(here, option, value, stored, capsys):
    assert predict.main(["-i", STAR, option, value]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and value.upper() in message.upper() and stored in message


def test_options_that_agree_are_accepted(here):
    assert predict.main(["-i", STAR, "-a", "WGAN-GP", "-m", "dcgan-starshaped", "--ngf", "4", "-z", "6", "-o", "default", "-w",
                         "-D", "-c", "checkpoints"]) == 0


def test_evaluation_prints_a_line_per_factor(here, capsys, monkeypatch):
    """Critics tell untrained cells from real ones much better than real ones from each other."""
    monkeypatch.setattr(c2st, "FAST", c2st.FAST | {"iterations": 30, "batch_size": 8, "ndf": 4})
    assert predict.main(["-i", STAR, "-e", "-d", "data", "-s", "1"]) == 0
    lines = [line.replace("±", " ").split() for line in capsys.readouterr().out.splitlines()]
    rows = {line[0]: [float(word) for word in line[1:]] for line in lines if line and line[0] in ("Alp14", "Tea1")}
    assert rows.keys() == {"Alp14", "Tea1"}
    assert all(generated > max(2, 2 * real) for generated, _, real, _ in rows.values())
    assert predict.main(["-i", "checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5", "-e", "-d", "data"]) == 0
    assert "all images " in capsys.readouterr().out


def test_evaluation_needs_real_images(here, capsys):
    assert predict.main(["-i", STAR, "-e"]) == 2
    assert "-d" in capsys.readouterr().err
