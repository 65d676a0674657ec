"""The benchmarks: counted operations against hand-computed numbers and TensorFlow's own graph; the tables."""

import argparse
import functools
import importlib
import importlib.util
import json
import math
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from biogans.core import models
from biogans.core.engine import Engine
from biogans.core.gan import ALGORITHMS
from biogans.core.trained import load_generator
from biogans.system import backend_tensorflow
from biogans.system.errors import InputError
from conftest import ROOT, guarded, write_images
from networks import EVERY_PAIR, NINE, settings, spec

sys.path.insert(0, str(ROOT / "benchmarks"))
import compare
import counting
import guide
import machine
import nine
import original
import train_step

SCRIPTS = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py") if "def parser():" in path.read_text())
FACTORS = ("Alp14", "Arp3", "Cki2", "Mkh1", "Sid2", "Tea1")
HIDDEN = 15 * 16 * 512 * 256            # 3x5 pixels, 4x4 taps: the same in each hidden layer, 31.5 M
FINEST = 24 * 40 * 16 * 64              # the layer at the image, for each of its channels, 0.98 M
SCORE = 3 * 5 * 512
CRITIC = 2 * FINEST + 3 * HIDDEN + SCORE
GENERATOR = 100 * 15 * 512 + 3 * HIDDEN + 2 * FINEST
# Half of the features are red (from 50 elements of z) and half belong to a tower, which reads both halves.
RED = 50 * 15 * 256 + 3 * HIDDEN // 4 + FINEST // 2
TOWER = 100 * 15 * 256 + 3 * HIDDEN // 2 + FINEST
STAR = RED + 6 * TOWER


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_benchmark_explains_its_options(name):
    assert importlib.import_module(name).parser().format_help().startswith(f"usage: {name}.py")


def paper(architecture):
    return models.NetworkSpec(architecture, 48, 80, 2, FACTORS)


def test_the_hand_computed_numbers():
    assert [round(number / 1e6) for number in (CRITIC, GENERATOR, STAR)] == [96, 97, 316]


def test_work_of_the_critic():
    assert counting.work(models.critic(paper("DCGAN"), "critic")) == (CRITIC, 2 * FINEST, SCORE)


@pytest.mark.parametrize("architecture, forward, first", [
    ("DCGAN", GENERATOR, 100 * 15 * 512), ("DCGAN-separable", RED + TOWER, 150 * 15 * 256),
    ("DCGAN-starshaped", STAR, 650 * 15 * 256), ("DCGAN-conditional", STAR, 650 * 15 * 256)])
def test_work_of_the_generators(architecture, forward, first):
    assert counting.work(models.build_generator(paper(architecture)))[:2] == (forward, first)


@pytest.mark.parametrize("algorithm, updates, generators, critics, firsts, lasts", [
    ("GAN", 1, 3, 8, 2, 0), ("WGAN", 5, 7, 32, 10, 0), ("WGAN-GP", 5, 7, 52, 10, 10)])
def test_flop_of_an_iteration(algorithm, updates, generators, critics, firsts, lasts):
    game = ALGORITHMS[algorithm](settings(algorithm))
    pair = models.build_generator(paper("DCGAN")), models.build_critics(paper("DCGAN"))
    expected = generators * GENERATOR - 100 * 15 * 512 + critics * CRITIC - firsts * 2 * FINEST - lasts * SCORE
    assert counting.iteration_flop(*pair, game, updates, batch_size=64) == 2 * 64 * expected


@pytest.fixture
def compiled(monkeypatch):
    """The iterations that engines have compiled, as TensorFlow functions, with a graph of its own for each critic."""
    functions, compiled = [], backend_tensorflow.Devices.compile_graph

    def noted(*arguments):
        functions.append(compiled(*arguments))
        return functions[-1]
    monkeypatch.setattr(backend_tensorflow.Devices, "for_each", lambda self, function, networks: [
        functools.partial(function, network) for network in networks])
    monkeypatch.setattr(backend_tensorflow.Devices, "compile_graph", noted)
    return functions


@pytest.mark.parametrize("architecture, algorithm", EVERY_PAIR)
def test_flop_are_those_of_the_compiled_iteration(architecture, algorithm, compiled):
    """With one critic update. Keras's leaky ReLU may return zeros as its second derivative, which are then propagated
    back through the critic's forward pass without effect: these operations are not counted."""
    engine = Engine(spec(architecture, algorithm), settings(algorithm, num_D_iters=1))
    engine.compile()
    executed = 2 * sum(map(executed_multiply_adds, needed_operations(compiled[0].get_concrete_function().graph)))
    batch = engine.settings.batch_size
    counted = counting.iteration_flop(engine.generator, engine.critics, engine.algorithm, 1, batch)
    critics = [counting.work(critic) for critic in engine.critics]
    zeros = 2 * batch * sum(2 * (critic.forward - critic.last) - critic.first for critic in critics)
    assert executed in ((counted, counted + zeros) if algorithm == "WGAN-GP" else (counted,))


def needed_operations(graph):
    """Operations of a FuncGraph on which its outputs or its updates of variables depend."""
    needed, waiting = set(), [*graph.control_outputs, *(tensor.op for tensor in graph.outputs)]
    while waiting:
        operation = waiting.pop()
        if operation not in needed:
            needed.add(operation)
            waiting += [*(tensor.op for tensor in operation.inputs), *operation.control_inputs]
    return needed


def executed_multiply_adds(operation):
    """Multiply-adds of a TensorFlow operation for a whole batch, from the shapes of its tensors."""
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_compare_prints_a_table_with_ratios(tmp_path):
    """The table has ours and the tutorial, whose facts must agree before they are compared."""
    report = run_compare(tmp_path, "--only", "DCGAN/WGAN-GP", "--only", "starshaped/GAN", "--profile")
    names = [(row["architecture"], row["algorithm"], row["contender"]) for row in report["rows"]]
    assert names == [(*pair, name) for pair in (("DCGAN", "WGAN-GP"), ("DCGAN-starshaped", "GAN"))
                     for name in ("ours", "tutorial")]
    for row in report["rows"]:
        assert len(row["seconds"]) == len(row["load"]) == 2 and 0 < min(row["seconds"]) <= row["median"]
        first_iteration, first_image = row["starts"][0]
        assert 0 < first_iteration < first_image
        assert row["memory"]["host"] > 100e6 and row["memory"]["device"] is None
        assert any("Conv2D" in name for name in row["profile"])
    assert all(row["ratio"] == 1 for row in report["rows"] if row["contender"] == "ours")
    assert set(report["peaks"]) == {"convolution", "matrix product"}


def run_compare(folder, *arguments):
    """Run compare.py with tiny networks and images, check the printed table, and return the report."""
    write_images(folder / "images", FACTORS[:2], number=3)
    file = folder / "report.json"
    command = [sys.executable, ROOT / "benchmarks" / "compare.py", "-d", folder / "images", "--rounds", "2",
               "--starts", "1", "-b", "4", "--ngf", "4", "--ndf", "4", "--json", file, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    report = json.loads(file.read_text())
    assert result.stdout == compare.table(report) + "\n"
    return report


def row(contender, seconds, parameters=7, **more):
    same = {"generator_parameters": parameters, "critic_parameters": 5, "critic_updates": 5, "images_per_update": 64}
    return {"architecture": "DCGAN", "algorithm": "WGAN", "contender": contender, "seconds": seconds,
            "facts": {"same": same, "flop": 30e9}, "starts": [[2.0, 3.0]], "load": [0.0] * len(seconds),
            "memory": {"host": 2**30, "device": None}, **more}


def test_ratios_are_taken_within_a_round():
    """A round in which the machine was slow for all contenders hardly matters."""
    ours, peer = row("ours", [1.0, 8.0, 1.5]), row("tutorial", [2.0, 16.0, 2.5])
    peaks = {"convolution": (60e9, "one"), "matrix product": (120e9, "two")}
    for each in (ours, peer):
        compare.complete(each, ours, peaks)
    assert peer["ratio"] == 2 and peer["median"] == 2.5 and peer["images_per_second"] == 5 * 64 / 2.5
    assert peer["gflop_per_second"] == 12 and peer["fractions"] == {"convolution": 0.2, "matrix product": 0.1}
    assert compare.line(peer).split()[:6] == ["tutorial", "2500", "2000", "-", "16000", "2.00x"]


def test_contenders_must_compute_the_same():
    ours, peer = row("ours", [1.0]), row("original", [2.0], parameters=8)
    with pytest.raises(InputError, match="original does not compute the same as ours with DCGAN and WGAN: .*8"):
        compare.complete(peer, ours, {})


def test_a_contender_that_fails(tmp_path):
    task = {"contender": "tutorial", "folder": str(tmp_path), "data": str(tmp_path / "nowhere"),
            "architecture": "DCGAN", "algorithm": "GAN", "batch_size": 4, "ngf": 4, "ndf": 4, "precision": "float32"}
    with pytest.raises(compare.Failed, match="tutorial ended with status 2: .*nowhere: no such folder"):
        compare.Process(task)
    failed = {"architecture": "DCGAN", "algorithm": "GAN", "contender": "tutorial", "failed": "tutorial ended"}
    compare.complete(failed, row("ours", [1.0]), {})
    assert compare.line(failed).strip() == "tutorial ended"


def test_whole_batches_of_each_factor_are_linked(tmp_path):
    """Of factors with 5 and 9 images, batches of 4 take 4 each; batches of 12 repeat some images."""
    for factor, number in (("Alp14", 5), ("Tea1", 9)):
        write_images(tmp_path / factor, (factor,), number)
    found = {factor: sorted((tmp_path / factor / factor).iterdir()) for factor in ("Alp14", "Tea1")}
    for batch_size in (4, 12):
        folder = tmp_path / str(batch_size)
        compare.link_images(found, folder, batch_size)
        for factor, files in found.items():
            links = sorted((folder / "data" / factor).iterdir())
            assert len(links) == batch_size and {link.resolve() for link in links} == set(files[:batch_size])
            assert len(list((folder / "data_per_factor" / factor / factor).iterdir())) == batch_size


def test_load_of_another_process_group():
    """A process in another group keeps a core busy: busy_seconds and the group_seconds of its group include it."""
    before, busy = machine.busy_seconds(), subprocess.Popen([sys.executable, "-c", "while True: pass"],
                                                            start_new_session=True)
    try:
        with guarded():
            while (own := machine.group_seconds(busy.pid)) < 0.5:
                time.sleep(0.05)
        total = machine.busy_seconds() - before
    finally:
        busy.kill()
        busy.wait()
    assert total > 0.9 * own - 0.05


def test_operations_of_a_gpu_are_its_kernels():
    """Neither the modules that contain the kernels nor the host operations that start them are counted."""
    events = [("/device:GPU:0", "Stream #1(Compute)", "gemm", 2.0), ("/device:GPU:0", "Stream #2", "gemm", 1.0),
              ("/device:GPU:0", "XLA Modules", "jit_iteration", 4.0), ("/host:CPU", "tf_Compute/1", "a:MatMul", 5.0)]
    assert machine.operations(events) == {"gemm": 3.0}
    assert machine.operations(events[3:]) == {"MatMul": 5.0}


@pytest.mark.parametrize("arguments, message", [
    (["--compiled"], "give --original DIR too"), (["--only", "ProGAN"], "ProGAN matches none of"),
    (["-d", "nowhere"], "nowhere: no such folder")])
def test_compare_reports_user_errors(arguments, message, capsys):
    options = compare.parser().parse_args(arguments)
    assert compare.launch.run(compare.compare, options) == 2
    assert message in capsys.readouterr().err


def test_original_must_be_its_checkout(tmp_path):
    with pytest.raises(InputError, match="utils.py is missing: give the folder «code» of a checkout"):
        original.check_folder(tmp_path)
    for name in (*original.MODULES, "main"):
        (tmp_path / f"{name}.py").write_text("")
    with pytest.raises(InputError, match="custom_dataloaders.py does not contain «make_dataset"):
        original.check_folder(tmp_path)


def test_original_needs_torch(monkeypatch):
    monkeypatch.setattr(original.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="has no torch and no torchvision: install"):
        original.check_torch()


def test_changes_are_made_in_memory(tmp_path):
    path = tmp_path / "gan.py"
    path.write_text("loss = [3.5]\nfirst = loss.data[0]\n")
    names = {}
    with pytest.raises(AttributeError, match="item"):
        original.execute(path, names)
    assert path.read_text().endswith("data[0]\n") and list(tmp_path.iterdir()) == [path]


def test_compare_with_the_original(tmp_path):
    """All contenders agree in parameters, updates and batches; otherwise compare.py fails."""
    folder = Path(os.environ.get("BG_ORIGINAL", "nowhere"))
    if not folder.is_dir() or not all(map(importlib.util.find_spec, ("torch", "torchvision"))):
        pytest.skip("needs torch and torchvision, and BG_ORIGINAL: the folder «code» of the original's checkout")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    report = run_compare(tmp_path, "--only", "DCGAN/WGAN-GP", "--only", "starshaped/GAN", "--only", "separable/WGAN",
                         "--no_tutorial", "--original", folder)
    assert [row["contender"] for row in report["rows"]] == ["ours", "original"] * 4
    assert all(row["ratio"] > 0 for row in report["rows"])
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.slow
def test_everything_for_a_gpu_on_a_cpu(tmp_path):
    """All stages with tiny networks; SIGTERM during the training still brings its generator, in parts, and the logs."""
    command = [sys.executable, ROOT / "benchmarks" / "gpu.py", "--quick", "--minutes", "60",
               "--output", tmp_path / "brought", "--work", tmp_path / "work"]
    settings = os.environ | {"KERAS_BACKEND": "tensorflow"}
    process = subprocess.Popen(command, env=settings, stdout=subprocess.PIPE, text=True)
    with guarded(1800):
        log = tmp_path / "work" / "train.log"
        while not (log.exists() and " it/s" in log.read_text()):
            assert process.poll() is None, process.stdout.read()
            time.sleep(1)
        process.terminate()
        stages = process.communicate(timeout=120)[0]
    for stage in ("losses", "tests", "times.tf32.batch64.filters64.starshaped.WGAN-GP", "pace"):
        assert f"{stage}: 0, " in stages
    assert "SIGTERM: bringing what there is" in stages
    parts = sorted((tmp_path / "brought").glob("generator.part*"))
    (tmp_path / "generator.h5").write_bytes(b"".join(part.read_bytes() for part in parts))
    assert load_generator(tmp_path / "generator.h5").spec.ngf == 4
    with tarfile.open(tmp_path / "brought" / "results.tar.gz") as archive:
        content = archive.extractfile("losses.log").read().decode()
        names = archive.getnames()
    assert [float(line.split()[-1]) < 1e-6 for line in content.splitlines()[3:]] == [True] * 4
    assert {"train.log", "checkpoints/log.DCGAN-starshaped.WGAN-GP.6.csv"} <= set(names)
    assert any(name.startswith("images/") for name in names)


@pytest.mark.slow
def test_the_floor_of_small_networks():
    command = [sys.executable, ROOT / "benchmarks/small_networks.py", "--rounds", "1", "--iterations", "1"]
    result = subprocess.run([*command, "--only", "DCGAN, WGAN-GP"], capture_output=True, text=True)
    _, row, longest = result.stdout.splitlines()
    wall, floor, share, *parts = [float(number.strip("%")) for number in row.rpartition("fast")[2].split()]
    assert floor > 0 and abs(share - 100 * floor / wall) < 2 and "Conv2DBackpropFilter" in longest
    assert parts[0] > 5 and abs(sum(parts) - 100) < 5


@pytest.mark.slow
def test_faster_operations_are_timed():
    result = subprocess.run([sys.executable, ROOT / "benchmarks/cpu_operations.py", "--rounds", "1"],
                            capture_output=True, text=True)
    _, *rows = result.stdout.splitlines()
    assert len(rows) == 4 and all(float(row.split()[-1]) > 0 for row in rows), result.stderr


@pytest.mark.slow
def test_two_versions_take_turns(tmp_path):
    """A checkout against itself; a folder without sources, or with others, is named."""
    command = [sys.executable, ROOT / "benchmarks/before_after.py", "--rounds", "1", "--iterations", "1",
               "--only", "DCGAN, WGAN-GP", "--before"]
    result = subprocess.run([*command, ROOT], capture_output=True, text=True)
    assert "DCGAN, WGAN-GP, fast" in result.stdout and "1 rounds of 1 iterations" in result.stdout, result.stderr
    stages = result.stdout.split("first call\nDCGAN, WGAN-GP, fast")[1].split()[:4]
    assert all(0 < float(stage) < 100 for stage in stages)
    (tmp_path / "src/biogans/core").mkdir(parents=True)
    (tmp_path / "src/biogans/__init__.py").write_text("")
    result = subprocess.run([*command, tmp_path], capture_output=True, text=True)
    assert result.returncode == 2 and f"{tmp_path}: an iteration failed" in result.stderr


def test_the_commands_of_a_guide_are_timed_in_a_folder_with_the_sample_data(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("```sh\nls data/*_train \\\n  > list\n# then\ngrep Tea1 list\n```\n```\nno command\n```\n")
    assert guide.main([str(page)]) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows] == ["| command", "|---|---|", "| `ls data/*_train > list`", "| `grep Tea1 list`",
                                        "| all"]
    assert [float(row[1].split()[0]) >= 0 for row in rows[2:]] == [True] * 3
    page.write_text("```sh\nls nowhere\nls\n```\n")
    with pytest.raises(InputError, match="ls nowhere: failed: .*No such file"):
        guide.measure(argparse.Namespace(guide=page))
    page.write_text("no commands")
    with pytest.raises(InputError, match="no block"):
        guide.measure(argparse.Namespace(guide=page))


@pytest.mark.slow
def test_nine_trains_one(data):
    options = argparse.Namespace(data=data, preset="fast", epochs=3)
    run = nine.train("DCGAN", "WGAN-GP", options)
    assert run.samples.mode == "RGB" and run.samples.width >= 600
    assert run.seconds > 0 and run.milliseconds > 0 and np.isfinite([run.first, run.last]).all()
    assert nine.line(run).split()[:2] == ["DCGAN", "WGAN-GP"]


def test_nine_names_the_training_that_failed(tmp_path):
    options = argparse.Namespace(data=tmp_path / "nowhere", preset="fast", epochs=1)
    with pytest.raises(InputError, match="DCGAN with GAN ended with status 2: .*no such folder"):
        nine.train("DCGAN", "GAN", options)


def test_nine_reads_losses_that_are_not_finite(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("iteration,critic_loss,generator_loss,seconds\n1,0.5,2,3.000\n2,nan,1,3.500\n3,0.5,1,4.000\n")
    losses, milliseconds = nine.read_log(log)
    assert losses[0] == (0.5, 2.0) and math.isnan(losses[1][0]) and milliseconds == 500


def test_sheet_has_each_grid_in_its_place():
    """Each grid has one colour; those of the third architecture are twice as wide and are scaled down."""
    sizes = {"DCGAN": (60, 40), "DCGAN-separable": (60, 40), "DCGAN-starshaped": (120, 60)}
    grids = {pair: Image.new("RGB", sizes[pair[0]], (20 * k, 255 - 20 * k, 99)) for k, pair in enumerate(NINE)}
    picture = nine.sheet([nine.Run(*pair, 1.0, 1.0, (0, 0), (0, 0), grid) for pair, grid in grids.items()], "nine")
    assert picture.width == nine.MARGIN + 3 * (60 + nine.MARGIN)
    tops = [nine.TITLE + nine.LABEL + k * (nine.LABEL + 40 + nine.MARGIN) for k in range(3)]
    for k, grid in enumerate(grids.values()):
        left, top = nine.MARGIN + k % 3 * (60 + nine.MARGIN), tops[k // 3]
        tile = np.asarray(picture.crop((left, top, left + 60, top + (30 if k >= 6 else 40))))
        assert (tile == grid.getpixel((0, 0))).all()
