"""The benchmark of several workers: its formulas, against hand-computed numbers, and its page."""

import json
import os
import sys

import pytest

from conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import scaling

MODEL = {"flop": 1e9, "updates": 5, "factors": 6, "generator": 10**6, "critic": 10**7, "normalisations": 28}


@pytest.mark.parametrize("workers, arrays", [(1, 0), (2, 1), (4, 3)])
def test_bytes_of_the_first_worker(workers, arrays):
    """For each other worker five critic gradients and one of the generator's, 4 bytes a number."""
    assert scaling.sent_bytes(workers, MODEL) == arrays * 4 * 51e6


def test_the_estimate(monkeypatch):
    """One GPU exchanges nothing; of 4, three send 204 MB each and get them back, and take part in each short sum."""
    monkeypatch.setattr(scaling, "measured", lambda function: MODEL)
    lines = list(scaling.estimate(scaling.Cluster(rate=2.0, latency=1e-6)))
    rows = [line.replace("ms", " ").split() for line in lines[-4:]]
    assert [row[0] for row in rows] == ["1", "2", "4", "8"] and rows[0][2:4] == ["0", "0"]
    assert float(rows[2][2]) == pytest.approx(1000 * 2 * 3 * 0.204 / 2, abs=1)
    assert float(rows[2][3]) == pytest.approx(1000 * 28 * 12 * 3 * 1e-6, abs=1)
    assert float(rows[0][5]) == 1 and float(rows[3][5]) < 8


def test_sums_of_two_workers():
    found = scaling.measure(2, 0, sorted(os.sched_getaffinity(0)))
    assert 0 < found["latency"] < 1 and 0.001 < found["rate"] < 1000


def test_the_page(tmp_path):
    """Only its first block changes."""
    page = tmp_path / "page.md"
    page.write_text("before\n\n```\nold\n```\n\nafter\n```\nother\n```\n")
    scaling.write_block(page, "new\n")
    assert page.read_text() == "before\n\n```\nnew\n```\n\nafter\n```\nother\n```\n"


def test_a_worker_alone(monkeypatch, capfd):
    """It reports the times by itself and in a team of one, updates, and numbers of trainable weights."""
    monkeypatch.setattr(scaling, "SECONDS", 0.01)
    scaling.worker(4)
    report = json.loads(capfd.readouterr().err.splitlines()[-1])
    assert min(report["together"], report["apart"]) > 0 and report["updates"] == 5
    assert report["critic"] == 16 * (2 * 4 + 4 * 8 + 8 * 16 + 16 * 32) + 15 * 32
