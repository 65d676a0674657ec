"""The page, the tables and the sheets of a comparison: valid, self-contained, readable everywhere."""

import csv
import html.parser
import re
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import browsers
from biogans.core.dataloader import Images
from biogans.evaluation import comparison_page, run_measures
from test_run_measures import constant, curve, measured

EMPTY = {"img", "meta", "link", "br"}


def pictures(number, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (number, 16, 24, 2), np.uint8)


@pytest.fixture
def real():
    images = Images(pictures(30), np.zeros(30, int), ("a <class>",))
    return {"data": SimpleNamespace(held_out=images, floor=0.0123)}


@pytest.fixture
def summaries():
    """Two finished seeds of WGAN-GP, one of them collapsed; GAN with a failed seed; hinge without a finished one."""
    numbers = {"from_iteration": 300, "distinct": 800, "effective": np.inf, "copies": 0.04, "exact_copies": 2}
    scores = np.where(np.arange(400) % 50 == 0, np.arange(400) + 0.5, np.nan)
    with_scores = curve(constant(1), lambda time: np.sin(9 * time))._replace(distance=scores)
    return run_measures.summarise([
        measured("WGAN-GP", 1, 0.4, samples=pictures(12), curve=with_scores, **numbers),
        measured("WGAN-GP", 2, 0.6, samples=pictures(12, 1), collapsed="as various as 1.2 images", **numbers),
        measured("GAN", 1, 0.5, samples=pictures(12, 2), **numbers), measured("GAN", 2),
        measured("hinge", 1, curve=None), measured("hinge", 2)])


class Checker(html.parser.HTMLParser):
    """Collects mistakes: elements that are not closed in order, images without a text, repeated attributes."""

    def __init__(self, text):
        super().__init__()
        self.open, self.mistakes, self.images, self.texts = [], [], [], []
        self.feed(text)
        self.mistakes += [f"{tag} is not closed" for tag in self.open]

    def handle_starttag(self, tag, attributes):
        names = [name for name, _ in attributes]
        self.mistakes += [f"{tag} repeats {name}" for name in names if names.count(name) > 1]
        if tag not in EMPTY:
            self.open.append(tag)
        if tag == "img":
            self.images.append(dict(attributes))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.mistakes.append(f"{tag} is closed out of order")

    def handle_data(self, text):
        self.texts.append(text)


@pytest.fixture
def page(tmp_path, summaries, real):
    path = tmp_path / "report.html"
    comparison_page.write_page(path, summaries, real, 1000)
    return path


def test_the_page_is_one_valid_file(page):
    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>") and not re.search(r"https?:|url\(|@import|<script", text)
    found = Checker(text)
    assert not found.mistakes
    assert len(found.images) == 3 + 4                   # panels; held-out images and three runs
    for image in found.images:
        assert image["src"].startswith("data:image/png;base64,") and len(image["alt"]) > 10
    alt = next(image["alt"] for image in found.images if image["alt"].startswith("Losses and distances of WGAN-GP"))
    assert "seed 1: critic 1, generator 0.412" in alt


def test_undefined_numbers_have_a_reason_and_no_rank(page, summaries):
    header, rows = comparison_page.ranking_table(summaries)
    table = [dict(zip(header, row)) for row in rows]
    assert [(row["combination"], row["rank"], row["runs"], row["collapsed"]) for row in table] == [
        ("WGAN-GP", "1", "2/2", "1"), ("GAN", "2", "1/2", "0"), ("hinge", "–", "0/2", "–")]
    assert table[1]["spread"] == table[1]["steadiness"] == table[2]["distance"] == table[2]["copies"] == "–"
    text = "".join(Checker(page.read_text(encoding="utf-8")).texts)
    for reason in ("GAN: spread, seeds differ undefined: one seed", "hinge: distance, spread, fluctuation, "
                   "seeds differ undefined: no run is done", "failed: out of memory",
                   "collapsed: as various as 1.2 images", "0.0123"):
        assert reason in text
    assert "Closest to the held-out images: WGAN-GP (distance 0.5 ± 0.14, 2 of 2 runs, 1 of which collapsed)." in text


def test_ties_are_named():
    close = run_measures.summarise([measured("GAN", 1, 0.4), measured("GAN", 2, 0.6), measured("R1", 1, 0.45),
                                    measured("R1", 2, 0.65), measured("hinge", 1, 9.0), measured("hinge", 2, 9.1)])
    assert comparison_page.result_line(close).endswith("Within the spread of the best: R1.")


def test_tables_for_other_programs(tmp_path, summaries):
    comparison_page.write_csv(tmp_path / "ranking.csv", summaries, 1000)
    comparison_page.write_runs_csv(tmp_path / "runs.csv", summaries)
    with open(tmp_path / "ranking.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["rank"], row["algorithm"], row["distance"], row["undefined"]) for row in rows] == [
        ("1", "WGAN-GP", "0.5", ""), ("2", "GAN", "0.5", "one seed"), ("", "hinge", "", "no run is done")]
    with open(tmp_path / "runs.csv", newline="") as file:
        assert [row["remarks"] for row in csv.DictReader(file)] == [
            "", "collapsed: as various as 1.2 images", "", *["failed: out of memory"] * 3]


def test_the_sheets_are_pictures(tmp_path, summaries, real):
    comparison_page.write_losses(tmp_path / "losses.png", summaries)
    comparison_page.draw_samples(tmp_path / "samples.png", summaries, real)
    for name in ("losses", "samples"):
        assert np.asarray(Image.open(tmp_path / f"{name}.png").convert("L")).std() > 10


def test_in_a_browser_on_a_phone_and_in_the_dark(page):
    requests, mistakes = [], []
    with browsers.chromium() as browser:
        for scheme, width in (("light", 1200), ("dark", 390)):
            tab = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800}).new_page()
            tab.on("request", lambda request: requests.append(request.url))
            tab.on("console", lambda message: mistakes.append(message.text))
            tab.goto(page.as_uri())
            assert {url for url in requests if not url.startswith("data:")} == {page.as_uri()} and not mistakes
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            assert tab.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
            paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (max(map(int, re.findall(r"\d+", paper)[:3])) < 64) == (scheme == "dark")
