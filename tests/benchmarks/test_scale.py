"""The benchmarks of growth and of drawing: exponents, peak memory of a process of its own, tables from small sizes."""

import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import own_process
import scale


def allocate(megabytes, seconds=0.0):
    """Allocate so much memory, and keep it for some time."""
    memory = np.ones(megabytes * 2**20, np.uint8)
    time.sleep(seconds)
    return {"bytes": memory.nbytes}


def test_peak_memory_is_that_of_the_measured_process():
    ballast = np.ones(300 * 2**20, np.uint8)        # of this process, which the measured one must not see
    small, large = (own_process.measured(allocate, megabytes) for megabytes in (1, 201))
    assert ballast.any() and large["bytes"] == 201 * 2**20
    assert large["peak_mb"] - small["peak_mb"] == pytest.approx(200, abs=20)


def test_peak_of_anonymous_memory_is_sampled():
    small, large = (own_process.measured(allocate, megabytes, 0.5, memory=own_process.ANONYMOUS)
                    for megabytes in (1, 201))
    assert large["peak_mb"] - small["peak_mb"] == pytest.approx(200, abs=20)


@pytest.mark.parametrize("power", [0, 0.5, 1, 2])
def test_exponents_are_those_of_the_largest_sizes(power):
    x = np.array([1, 4, 16, 64, 256])
    y = 3.0 * x ** float(power)
    assert scale.exponent(x, np.where(x < 16, 1e6, y)) == pytest.approx(power)


def test_training_grows_as_its_operations_do(monkeypatch):
    """Twice the filters: four times the products in all layers but those at the image and at z. Twice the factors:
    twice the critics and almost twice the generator."""
    monkeypatch.setattr(scale, "SECONDS", 0)
    small, large = (scale.training("DCGAN", 16, 24, filters) for filters in (16, 32))
    assert 3 < large["gflop"] / small["gflop"] < 4
    assert min(small["ms"], large["ms"]) > 0 and large["gflop_s"] == pytest.approx(large["gflop"] / large["ms"] * 1000)
    one, two = (scale.training("DCGAN-starshaped", 16, 24, 8, factors)["gflop"] for factors in (1, 2))
    assert 1.9 < two / one < 2.1


@pytest.mark.slow
def test_devices():
    assert own_process.measured(scale.devices, 2)["ms"] > 0


@pytest.mark.slow
def test_a_data_set_is_read_in_constant_memory(tmp_path, monkeypatch):
    """100,000 images are 192 MB, decoded or in the files."""
    monkeypatch.chdir(tmp_path)
    few, many = (own_process.measured(scale.data_set, number, memory=own_process.ANONYMOUS)
                 for number in (1000, 100_000))
    assert 180 < many["cache_mb"] - few["cache_mb"] < 192
    assert many["peak_mb"] - few["peak_mb"] < 130
    assert min(many["start_s"], many["decode_s"]) > 0 and not list(tmp_path.iterdir())


def test_tables_plot_and_estimate(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tiny = scale.dataclasses.replace(scale.SERIES["data"], x=(1000, 2000, 4000))
    monkeypatch.setattr(scale, "SERIES", {"data": tiny})
    monkeypatch.setattr(scale, "large_networks", fixed_networks)
    scale.scale(scale.parser().parse_args(["-o", "scale.png"]))
    printed = capsys.readouterr().out
    rows = [line.split() for line in printed.splitlines()]
    assert [row[0] for row in rows if row and row[0] in ("1000", "2000", "4000", "exponent")] == [
        "1000", "2000", "4000", "exponent"]
    assert "ESTIMATE, not measured" in printed
    with Image.open("scale.png") as picture:
        assert picture.width >= 300 and picture.height >= 500


def fixed_networks(side):
    return {"flop": 156e12 * 0.3 / 64, "updates": 5, "factors": 6, "generator": 0,
            "critics": 64 * 25 * 10**9 // 8 // 63 // 5}


def test_the_estimate_adds_up(monkeypatch, capsys):
    """Operations for one second of computing, gradients for one second of exchange."""
    monkeypatch.setattr(scale, "large_networks", fixed_networks)
    scale.estimate()
    printed = capsys.readouterr().out
    assert "1.0 s computing + 1.0 s exchanging = 2.0 s an iteration, 50% of it computing" in printed
    assert "122,880 images" in printed and "28 hours, 1,778 GPU hours, 6,144 passes" in printed


@pytest.mark.slow
def test_predict_prints_three_tables(tmp_path):
    command = [sys.executable, ROOT / "benchmarks" / "predict.py", "--ngf", "4", "--batches", "1,8", "--seconds", "0.1",
               "--images", "96", "--stack_ngf", "4", "--cells", "300"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    rows = {line.split()[0]: [float(number) for number in line.split()[1:]]
            for line in result.stdout.splitlines()
            if line and line.split()[0] in ("DCGAN", "DCGAN-starshaped", "h5", "tiff", "png", "300")}
    assert len(rows["DCGAN"]) == len(rows["DCGAN-starshaped"]) == 2 and min(rows["DCGAN"]) > 0
    assert min(rows["h5"][0], rows["tiff"][0], rows["png"][0]) > 0
    assert rows["300"][1] == pytest.approx(300 * 4 * (48 * 80 * 7 + 100) / 1e9, abs=0.006)
    assert not list(tmp_path.iterdir())
