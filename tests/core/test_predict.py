"""predict.py: self-describing stacks in four formats, resumed commands, and the evaluation."""

import csv
import dataclasses
import errno
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image

import forked_python
from biogans.core import c2st, checkpoint, dataloader, predict, train
from biogans.core.engine import generate
from biogans.core.trained import TrainedGenerator, load_generator
from biogans.data.yeast import PIXEL
from biogans.io import stacks
from biogans.system.outline import measure_outline
from conftest import ROOT, SMALL, train_small_networks
from rods import rod

STAR = "checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.2.h5"
STACK = "images/stack3.DCGAN-starshaped.WGAN-GP.h5"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A user's folder after training four architectures on two factors for 2 iterations."""
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
    assert np.array_equal(cells, (load_generator(STAR).generate(z) + 1) / 2)


def test_new_cells_unless_a_seed_is_given(here):
    results = []
    for seed in ([], [], ["-s", "1"], ["-s", "1"]):
        predict.main(["-i", STAR, *seed])
        results.append(stack()[0])
    assert not np.array_equal(results[0], results[1]) and np.array_equal(results[2], results[3])


def test_many_cells_do_not_depend_on_the_batch(here):
    results = []
    for batch_size in (3, 7, 64):
        predict.main(["-i", STAR, "-n", "7", "-s", "1", "-b", str(batch_size)])
        results.append(stack())
    for cells, _, z in results:
        assert len(cells) == len(z) == 7 and np.array_equal(z, results[0][2])
        np.testing.assert_allclose(cells, results[0][0], atol=1e-6)
    assert np.array_equal(z, np.random.default_rng(1).standard_normal((7, 6), np.float32))


def test_cells_of_given_latent_vectors(here):
    """A list of nz numbers, a list of such lists, or a file saved by the page of biogans explore."""
    predict.main(["-i", STAR, "-s", "4", "-n", "3"])
    cells, _, z = stack()
    for vectors, part in ((z[0].tolist(), slice(0, 1)), (z.tolist(), slice(3)), ({"z": z[1].tolist()}, slice(1, 2))):
        Path("cells.json").write_text(json.dumps(vectors))
        assert predict.main(["-i", STAR, "--z", "cells.json", "-b", "2"]) == 0
        generated, facts, given = stack()
        np.testing.assert_allclose(generated, cells[part], atol=1e-6)
        assert np.array_equal(given, z[part]) and facts["z_from"] == "cells.json" and "seed" not in facts


@pytest.mark.parametrize("content, words", [
    ("[1, 2]", "6 numbers"), ("[[1, 2], [3]]", "6 numbers"), ("{}", "6 numbers"), ("[]", "6 numbers"),
    ("7", "6 numbers"), ("[1, 2, 3, 4, 5, 1e999]", "6 numbers"), ('["a", 2, 3, 4, 5, 6]', "6 numbers"),
    ("{", "not a JSON"), ("[" * 100000, "not a JSON"), ("\udcff", "not a JSON")])
def test_invalid_files_of_latent_vectors(here, content, words, capsys):
    Path("cells.json").write_text(content, errors="surrogateescape")
    assert predict.main(["-i", STAR, "--z", "cells.json"]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "cells.json" in message and words in message


def test_options_that_contradict_given_latent_vectors(here, capsys):
    assert predict.main(["-i", STAR, "--z", "missing.json"]) == 2
    assert "missing.json" in capsys.readouterr().err
    assert predict.main(["-i", STAR, "--z", "missing.json", "-n", "3"]) == 2
    assert "-n" in capsys.readouterr().err
    with pytest.raises(SystemExit) as refused:
        predict.main(["-i", STAR, "--z", "missing.json", "-s", "3"])
    assert refused.value.code == 2


def test_memory_does_not_grow_with_the_number_of_cells(here):
    """Measured for 40,000 more cells, 184 MB in the file, after some that have loaded all libraries."""
    code = ("import resource, sys; from biogans.core import predict\n"
            "for number in ('1000', '41000'):\n"
            "    assert predict.main(['-i', sys.argv[1], '-n', number, '-b', '500']) == 0\n"
            "    print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)")
    result = subprocess.run([sys.executable, "-c", code, STAR], capture_output=True, text=True, timeout=300)
    few, many = [float(line.split()[1]) for line in result.stdout.splitlines() if line.startswith("peak")]
    with h5py.File(STACK) as file:
        assert file["stack"].shape == (41000, 16, 24, 3) and file["stack"][-1].std() > 0
    assert many - few < 60


def test_a_failure_keeps_the_earlier_stack(here, monkeypatch):
    predict.main(["-i", STAR, "-s", "1"])
    earlier = stack()[0]
    calls = []

    def full_disk(generator, z, batch_size):
        calls.append(z)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "", STACK)
        return generate(generator, z, batch_size)

    monkeypatch.setattr("biogans.core.engine.generate", full_disk)
    assert predict.main(["-i", STAR, "-n", "7", "-b", "2"]) == 2
    assert np.array_equal(stack()[0], earlier) and [path.name for path in Path("images").glob(".stack3*")] == []


def test_chosen_factors(here):
    predict.main(["-i", STAR, "-s", "1"])
    everything, _, _ = stack()
    predict.main(["-i", STAR, "-s", "1", "-p", "Tea1"])
    chosen, facts, _ = stack("images/stack2.DCGAN-starshaped.WGAN-GP.h5")
    assert list(facts["channel_names"]) == ["red", "Tea1"] and np.array_equal(chosen, everything[..., [0, 2]])


def test_a_multichannel_network_generates_cells_with_all_factors(here):
    name = "DCGAN-multichannel.WGAN-GP"
    assert predict.main(["-i", f"checkpoints/weights.generator.{name}.2.h5", "-s", "1"]) == 0
    everything, facts, _ = stack(f"images/stack3.{name}.h5")
    assert list(facts["channel_names"]) == ["red", "Alp14", "Tea1"]
    assert predict.main(["-i", f"checkpoints/weights.generator.{name}.2.h5", "-s", "1", "-p", "Tea1"]) == 0
    assert np.array_equal(stack(f"images/stack2.{name}.h5")[0], everything[..., [0, 2]])


def test_independent_networks_generate_one_factor_with_its_own_red(here, capsys):
    """A stack has one red channel, so several factors are refused."""
    path = "checkpoints/weights.generator.DCGAN-separable-independent.WGAN-GP.2.h5"
    for factors in ([], ["-p", "Alp14,Tea1"]):
        assert predict.main(["-i", path, "-s", "1", *factors]) == 2
        message = capsys.readouterr().err
        assert message.count("\n") == 1 and "a cell of its own: choose one with -p: Alp14, Tea1" in message
    assert predict.main(["-i", path, "-s", "1", "-p", "Tea1"]) == 0
    cells, facts, z = stack("images/stack2.DCGAN-separable-independent.WGAN-GP.h5")
    assert list(facts["channel_names"]) == ["red Tea1", "Tea1"]
    assert np.array_equal(cells, (load_generator(path).generate(z)[..., 2:] + 1) / 2)


def test_many_greens_for_one_red(here, capsys):
    """All cells share the red part of z, hence their red; generators that mix the channels are refused."""
    assert predict.main(["-i", STAR, "--same_red", "5", "-s", "2"]) == 0
    cells, _, z = stack()
    assert len(cells) == 5 and (z[:, :3] == z[0, :3]).all() and (z[1:, 3:] != z[0, 3:]).all()
    np.testing.assert_allclose(cells[..., 0], np.broadcast_to(cells[0, ..., 0], cells.shape[:3]), atol=1e-6)
    assert predict.main(["-i", "checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5", "--same_red", "5"]) == 2
    assert "choose a separable or star-shaped generator" in capsys.readouterr().err


def test_a_generator_of_few_iterations_says_so_and_names_a_better_one(here, capsys, monkeypatch):
    predict.main(["-i", STAR])
    assert "trained for 2 of 2 iterations only" in capsys.readouterr().out
    monkeypatch.setattr(predict, "FEW_ITERATIONS", 2)
    predict.main(["-i", STAR])
    assert "iterations only" not in capsys.readouterr().out
    monkeypatch.setattr(predict, "FEW_ITERATIONS", 3)
    better = load_generator(STAR)
    path = here / "checkpoints" / "replaced-1" / Path(STAR).name
    path.parent.mkdir()
    checkpoint.save_generator(path, better.network, dataclasses.replace(better.metadata, iteration=4000), False)
    predict.main(["-i", STAR])
    shutil.rmtree(path.parent)
    assert f"{path.relative_to(here)} has 4,000" in capsys.readouterr().out


def test_length_and_seed_of_a_cell(here, capsys, monkeypatch):
    """Of rods of known length: the first is 30 pixels long, half of the others are shorter."""
    lengths = iter([30.0, *np.resize([20.0, 40.0], predict.COMPARED)])
    monkeypatch.setattr(TrainedGenerator, "generate", lambda generator, z, batch_size=64: 2 * np.stack(
        [np.repeat(rod(next(lengths, 30.0), size=(16, 48), centre=(8, 24))[..., None], 3, -1) for _ in z]) - 1)
    generator = load_generator(STAR)
    assert re.fullmatch(r"cell: (29|30|31) pixels long, longer than 50% of this generator's cells",
                        predict.growth_line(generator, 5, 0))
    monkeypatch.undo()
    monkeypatch.chdir(here)
    predict.main(["-i", STAR])
    seed = re.search(r"seed: (\d+) \(-s (\d+) generates the same cell again\)", capsys.readouterr().out)
    expected = stack()[0]
    predict.main(["-i", STAR, "-s", seed[2]])
    assert seed[1] == seed[2] and np.array_equal(stack()[0], expected)


def test_lengths_and_septa_of_the_sample_data():
    """Measured in the images, and as the manifest knows them: lengths to half a micrometre, and no false septum."""
    folder = ROOT / "data_48-80" / "data" / "LIN_Normalized_WT_size-48-80_test"
    with open(folder / "manifest.csv") as file:
        cells = list(csv.DictReader(file))
    reds = (np.asarray(Image.open(folder / cell["file"]))[..., 0] / 255 for cell in cells)
    measured = np.array([measure_outline(red) for red in reds])
    lengths, septa = (np.array([float(cell[name]) for cell in cells]) for name in ("length_um", "septum"))
    assert np.abs(measured[:, 0] * PIXEL - lengths).max() < 0.5
    found = measured[:, 4] > predict.SEPTUM
    assert found[septa > 0].mean() > 0.85 and not found[septa == 0].any()


@pytest.mark.parametrize("arguments", [
    ("-i", STAR, "--ngf", "9"), ("-i", STAR, "-p", "tea1"), ("-i", STAR, "-e", "-d", "nowhere"), ("-i", STAR, "-e"),
    ("-i", "images"), ("-i", "checkpoints/weights.critic[0].DCGAN-starshaped.WGAN-GP.2.h5")])
def test_mistakes_are_reported_before_the_network_is_built(here, arguments, monkeypatch, capsys):
    """And so before TensorFlow is imported, which takes seconds."""
    monkeypatch.setattr("biogans.core.engine.float32_generator", lambda spec: 1 / 0)
    assert predict.main([*arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_options_without_effect_are_named(here, capsys):
    predict.main(["-i", STAR, "-d", "data"])
    assert "(-d data is not used: with -e," in capsys.readouterr().out


@pytest.mark.parametrize("name", [STAR, "checkpoints/model.generator.DCGAN-starshaped.WGAN-GP.2.h5",
                                  "checkpoints/weights.combined_model.DCGAN-starshaped.WGAN-GP.2.h5",
                                  "checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.16_24.1.2.h5"])
def test_every_kind_of_file_with_a_generator(here, name):
    predict.main(["-i", STAR, "-s", "5"])
    expected = stack()[0]
    assert predict.main(["-i", name, "-s", "5"]) == 0
    assert np.array_equal(stack()[0], expected)


@pytest.mark.parametrize("option, value, stored", [
    ("-a", "gan", "WGAN-GP"), ("-p", "tea1", "did you mean Tea1?"), ("-m", "DCGAN", "DCGAN-starshaped"),
    ("--ngf", "8", "4"), ("-z", "100", "6"),
    ("--lrD", "0.5", "0.0001"), ("-p", "Sid2", "Alp14, Tea1")])
def test_contradictions_name_both_values(here, option, value, stored, capsys):
    assert predict.main(["-i", STAR, option, value]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and value.upper() in message.upper() and stored in message


def test_options_that_agree_are_accepted(here):
    assert predict.main(["-i", STAR, "-a", "WGAN-GP", "-m", "dcgan-starshaped", "--ngf", "4", "-z", "6", "-o",
                         "default", "-w", "-D", "-c", "checkpoints"]) == 0


def test_evaluation_prints_a_line_per_factor(here, capsys, monkeypatch):
    """Critics distinguish untrained cells from real ones much better than real ones from each other."""
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


# ---------------------------------------------------------------------------------------------- many cells

ONE = "checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5"
OUTPUTS = {"h5": STACK, "tiff": "images/stack3.DCGAN-starshaped.WGAN-GP.ome.tif",
           "png": "images/stack3.DCGAN-starshaped.WGAN-GP", "zarr": "images/stack3.DCGAN-starshaped.WGAN-GP.ome.zarr"}
NO_ZARR = pytest.mark.skipif(importlib.util.find_spec("zarr") is None, reason="no zarr: pip install 'biogans[zarr]'")
each_output = pytest.mark.parametrize("kind", [pytest.param(kind, marks=NO_ZARR if kind == "zarr" else ())
                                               for kind in OUTPUTS])


def content(kind):
    """{name of a file: its pixels} of an output of the star."""
    path = Path(OUTPUTS[kind])
    if kind == "h5":
        return {"stack": stack()[0], "z": stack()[2]}
    if kind == "tiff":
        return {"pages": tifffile.imread(path)}
    if kind == "zarr":
        import zarr
        return {"pages": zarr.open_array(path / "0", mode="r")[:]}
    return {str(file.relative_to(path)): np.asarray(Image.open(file)) for file in sorted(path.rglob("*.png"))}


def remove_outputs():
    for path in Path("images").glob("*stack3.DCGAN-starshaped*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@each_output
def test_all_formats_hold_the_same_cells(here, kind, capsys):
    remove_outputs()
    assert predict.main(["-i", STAR, "-n", "5", "-s", "3"]) == 0
    expected = np.rint(255 * stack()[0]).astype(np.uint8)
    assert predict.main(["-i", STAR, "-n", "5", "-s", "3", "--format", kind]) == 0
    assert OUTPUTS[kind] in capsys.readouterr().out
    if kind in ("tiff", "zarr"):
        assert np.array_equal(content(kind)["pages"], np.moveaxis(expected, -1, 1))
    if kind == "tiff":
        with tifffile.TiffFile(OUTPUTS["tiff"]) as file:
            assert file.series[0].axes == "TCYX" and 'Name="Alp14"' in file.ome_metadata
    if kind == "png":
        images = dataloader.load(OUTPUTS["png"])
        assert images.factors == ("Alp14", "Tea1") and list(images.labels) == [0] * 5 + [1] * 5
        assert np.array_equal(images.pixels, np.concatenate([expected[..., [0, 1]], expected[..., [0, 2]]]))
        assert predict.main(["-i", STAR, "--format", "png"]) == 2 and "remove or rename" in capsys.readouterr().err


@pytest.mark.usefixtures("quick_runs")
def test_a_generated_folder_of_one_channel_can_be_trained_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(12):
        Path("gray").mkdir(exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (16, 24), np.uint8)).save(f"gray/{number}.png")
    assert train.main([*SMALL, "-d", "gray", "-m", "DCGAN", "-e", "1"]) == 0
    one = "checkpoints/weights.generator.DCGAN.WGAN-GP.0.h5"
    assert predict.main(["-i", one, "-n", "11", "-s", "1", "--format", "png"]) == 0
    assert dataloader.load("images/stack1.DCGAN.WGAN-GP").pixels.shape == (11, 16, 24, 1)
    assert train.main([*SMALL, "-d", "images/stack1.DCGAN.WGAN-GP", "-m", "DCGAN", "-e", "1", "-c", "again"]) == 0
    for kind in ("tiff", "h5"):
        assert predict.main(["-i", one, "-n", "1", "--format", kind]) == 0


@each_output
@pytest.mark.parametrize("seed", [["-s", "9"], []])
def test_a_killed_command_resumes(here, kind, seed, capsys):
    """After SIGKILL the same command generates the rest, with the same result as an uninterrupted one."""
    remove_outputs()
    command = ["-i", STAR, "-n", "900", "-b", "30", "--format", kind, *seed]
    code = ("import os, signal, sys; from biogans.core import engine, predict; from biogans.io import stacks\n"
            "stacks.NOTE_EVERY, batches, generate = 150, [], engine.generate\n"
            "def until_killed(*given):\n"
            "    batches.append(0)\n"
            "    if len(batches) == 17: os.kill(os.getpid(), signal.SIGKILL)\n"
            "    return generate(*given)\n"
            "engine.generate = until_killed\n"
            "predict.main(sys.argv[1:])")
    os.symlink("1 new", "unsaved")          # as train.sbatch, which a restart would resume
    killed = forked_python.run([sys.executable, "-c", code, *command], env=os.environ | {"BG_UNSAVED": "unsaved"})
    assert killed.returncode == -9 and not Path(OUTPUTS[kind]).exists(), killed.stderr
    assert not os.path.lexists("unsaved")
    calls = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("biogans.core.engine.generate", lambda *given: calls.append(0) or generate(*given))
        assert predict.main(command) == 0
    assert "resuming" in capsys.readouterr().out and len(calls) == 15          # of 30 batches
    resumed = content(kind)
    leftovers = [path.name for path in Path("images").iterdir() if path.name.startswith(".stack3")]
    assert not leftovers, leftovers
    if seed:
        remove_outputs()
        assert predict.main(command) == 0
        whole = content(kind)
        assert resumed.keys() == whole.keys() and all(np.array_equal(resumed[name], whole[name]) for name in whole)
    elif kind == "h5":
        np.testing.assert_allclose(resumed["stack"], (load_generator(STAR).generate(resumed["z"]) + 1) / 2, atol=1e-6)


def test_a_missing_library_is_reported_before_the_generator_is_read(here, monkeypatch, capsys):
    monkeypatch.setattr("biogans.io.ome_zarr.OLDEST", (99,))
    assert predict.main(["-i", "nothing.h5", "--format", "zarr"]) == 2
    assert "pip install 'biogans[zarr]'" in capsys.readouterr().err


def test_a_different_command_starts_again(here, capsys):
    unfinished = stacks.ResumableOutput(STACK, {"number": 3000})
    unfinished.path.write_bytes(b"half a file")
    unfinished.write_note(1000, 4)
    assert unfinished.read_note() == (1000, 4)
    os.rename(unfinished.path, "elsewhere")
    unfinished.path.symlink_to(Path("elsewhere").absolute())
    assert unfinished.read_note() == (0, None)          # who placed that link?
    assert predict.main(["-i", STAR, "-n", "2"]) == 0
    assert "resuming" not in capsys.readouterr().out and len(stack()[0]) == 2 and not os.path.lexists(unfinished.path)
    assert Path("elsewhere").read_bytes() == b"half a file"


def test_two_jobs_can_not_write_the_same_stack(here, capsys):
    code = ("import sys; from biogans.io import stacks\n"
            "with stacks.ResumableOutput(sys.argv[1], {}).locked(0, False):\n"
            "    print('taken', flush=True); sys.stdin.read()")
    other = subprocess.Popen([sys.executable, "-c", code, STACK], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             text=True, stderr=subprocess.DEVNULL)
    assert other.stdout.readline() == "taken\n"
    assert predict.main(["-i", STAR]) == 2 and "another job" in capsys.readouterr().err
    other.kill()
    other.wait()
    assert predict.main(["-i", STAR]) == 0
