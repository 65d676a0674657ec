"""The benchmark of several workers: its formulas, against hand-computed numbers, and its page."""

import json
import sys

import pytest

from conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import scaling

MODEL = {"flop": 1e9, "updates": 5, "factors": 6, "generator": 10**6, "critic": 10**7, "normalisations": 28}


@pytest.mark.parametrize("workers, arrays", [(1, 0), (2, 1), (4, 1.5), (1000, 1.998)])
def test_bytes_of_a_ring(workers, arrays):
    """2 (N - 1) / N of five critic gradients and one of the generator's, 4 bytes a number."""
    assert scaling.ring_bytes(workers, MODEL) == pytest.approx(arrays * 4 * 51e6)


def test_the_estimate(monkeypatch):
    """One GPU exchanges nothing; on 8 the gradients take 1.75 arrays at the node's rate and 14 messages an update."""
    monkeypatch.setattr(scaling, "measured", lambda function: MODEL)
    lines = list(scaling.estimate(scaling.Cluster(in_node=100.0, latency=1e-6)))
    rows = [line.replace("ms", " ").split() for line in lines[-4:]]
    assert [row[0] for row in rows] == ["1", "8", "64", "512"] and rows[0][2:5] == ["0.0", "0", "0"]
    assert float(rows[1][2]) == pytest.approx(1000 * (1.75 * 204e6 / 100e9 + 6 * 14e-6), abs=0.1)
    assert float(rows[3][3]) == pytest.approx(1000 * 28 * 12 * 2 * 511e-6 / 1, rel=0.01)
    assert float(rows[3][4]) == pytest.approx(1000 * 28 * 12 * 2 * 9e-6, abs=1)
    assert all(1 <= float(row[6]) <= int(row[0]) for row in rows)


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
