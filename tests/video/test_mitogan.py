"""The tutorial of docs/mitogan.md in short: from simulated and real videos to the ranked table."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from biogans.core import dataloader, predict, train
from biogans.data import simulate_videos
from biogans.evaluation import diversity, geometry, saliency
from biogans.video import preprocess
from conftest import REAL_DATA, ROOT, SMALL

GENERATOR = "checkpoints/weights.generator.DCGAN.WGAN-GP.0.h5"
COMBINED = "checkpoints/weights.combined_model.DCGAN.WGAN-GP.0.h5"


def run_from(videos, *how):
    """Run every command after the videos; return the held-out and the training images."""
    for command, arguments in (
            (preprocess, ["-i", videos, "-o", "data", *how]),
            (train, ["-d", "data", "-m", "DCGAN", *SMALL, "--augment", "translation,cutout", "-e", "3"]),
            (predict, ["-i", GENERATOR, "-n", "60", "--format", "png"]),
            (predict, ["-i", GENERATOR, "-n", "60"]),
            (diversity, ["-i", "images/stack1.DCGAN.WGAN-GP", "-d", "data"]),
            (saliency, ["-i", COMBINED, "-d", "data", "-n", "60"])):
        assert command.main(list(map(str, arguments))) == 0
    with open("diversity/summary.json") as file:
        sets = json.load(file)["all images"]["sets"]
    with open("saliency/correlations.csv") as file:
        rows = list(csv.DictReader(file))
    assert sets["generated"]["images"] == 60 and rows and {row["measure"] for row in rows} <= geometry.MEASURES.keys()
    for picture in ("data/contact_sheet.png", "diversity/nearest_pairs.png", "saliency/maps.png"):
        assert np.asarray(Image.open(picture)).std() > 5
    return [dataloader.load("data", split=split) for split in ("test", "train")]


@pytest.mark.slow
def test_simulated_videos(tmp_path, monkeypatch):
    """No video is in both splits, and the crops are gray images that a network accepts."""
    monkeypatch.chdir(tmp_path)
    assert simulate_videos.main(["-o", "movies", "-n", "5", "--frames", "6", "--size", "128"]) == 0
    held_out, training = run_from("movies/videos", "--size", "32", "--test", "0.4")
    videos = [{file.name.split(".")[0] for file in images.files} for images in (held_out, training)]
    assert videos[0] and videos[1] and not videos[0] & videos[1]
    assert training.pixels.shape[1:] == (32, 32, 1)


@pytest.mark.slow
def test_real_time_lapse(tmp_path, monkeypatch):
    """The halves of a binary time lapse of segmented mitochondria as two videos, without cleaning."""
    frames = sorted((REAL_DATA / "mitochondria" / "timelapse_binary").glob("*.png"))
    if not frames:
        pytest.skip(f"no real mitochondria in {REAL_DATA}: set BG_REAL_DATA")
    monkeypatch.chdir(tmp_path)
    for name, part in (("first", frames[:12]), ("second", frames[-12:])):
        (tmp_path / "videos" / name).mkdir(parents=True)
        for frame in part:
            (tmp_path / "videos" / name / frame.name).symlink_to(frame)
    held_out, training = run_from("videos", "--size", "64", "--without", "drift,background,bleaching,denoise,edges",
                                  "--focus", "0", "--test", "0.5")
    assert len(held_out.pixels) >= 20 and len(training.pixels) >= 20


def test_the_document_types_what_make_runs():
    """The commands of docs/mitogan.md are those of make demo-mitogan."""
    document = (ROOT / "docs" / "mitogan.md").read_text()
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", document, re.DOTALL))
    typed = re.findall(r"^((?:\w+\.py|biogans \w+) .*)$", blocks, re.MULTILINE)
    target = (ROOT / "Makefile").read_text().split("\ndemo-mitogan:")[1].split("\n\n")[0]
    made = re.findall(r"\$\(BIN\)/((?:\w+\.py|biogans \w+) .*)$", target, re.MULTILINE)
    assert [" ".join(command.split()) for command in typed] == [
        command.replace("$(MITOGAN_ITERATIONS)", "8000").replace(" --overwrite", "") for command in made]
    assert Path(ROOT / "docs" / "mitogan_pairs.png").exists()
