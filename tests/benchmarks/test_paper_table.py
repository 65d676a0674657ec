"""benchmarks/paper_table.py: the commands that it runs, resuming, and the page that it writes."""

import dataclasses
import itertools
import json
import sys
from pathlib import Path

import pytest

from biogans.system.errors import InputError
from conftest import ROOT
from networks import spec

sys.path.insert(0, str(ROOT / "benchmarks"))
import paper_table

MODELS = [paper_table.Model("star-shaped", "DCGAN-starshaped", stages=(0.25, 1)),
          paper_table.Model("one-class", "DCGAN", "Alp14"), paper_table.Model("one-class", "DCGAN", "Tea1"),
          paper_table.Model("conditional GAN", "DCGAN-conditional", algorithm="GAN")]


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """The commands that were run, [(label, command, words)]; stand-ins write the files of the real commands."""
    ran = []

    def run(work, label, command, *arguments, folder="."):
        words = list(map(str, arguments))
        ran.append((label, command, words))
        value = dict(itertools.pairwise(words))
        if command == "simulate":
            work.data.mkdir()
            (work.data / "joint_test.h5").touch()
        if command == "train":
            factors = (value["-p"],) if "-p" in value else ("Alp14", "Tea1")
            network = dataclasses.asdict(spec(value["-m"], factors=factors))
            weights = work.folder / folder / "checkpoints" / f"weights.generator.{value['-m']}.WGAN-GP.1.h5"
            weights.parent.mkdir(parents=True, exist_ok=True)
            weights.write_text(json.dumps({"file": weights.name, "network": network, "iteration": int(value["-e"])}))
        if command == "evaluate":
            source = json.loads((work.folder / value["-i"]).read_text()) if "-i" in value else None
            factors = source["network"]["factors"] if source else ["Alp14", "Tea1"]
            name = value.get("--name", "real images")
            file = ".".join([*name.split(), *(factors if len(factors) == 1 else [])])
            made = {"real" if name == "real images" else file: {"scores": {each: {"c2st": 2.5} for each in factors}}}
            if "--pairs" in words:
                made["pairs"] = {"pairs": {"Alp14": {"Tea1": 9.0}, "Tea1": {"Alp14": 9.0}}}
            (work.folder / "evaluation").mkdir(exist_ok=True)
            for split in range(int(value["--splits"])):
                for file, content in made.items():
                    (work.folder / "evaluation" / f"{file}.split{split}.json").write_text(json.dumps({
                        "format": 1, "name": name, "split": split, "critic": {}, "seed": 0, "held_out": {},
                        "source": source, "classifier_accuracy": 0.9, "versions": {"keras": "3"}, "command": "",
                        "seconds": 1} | content))
    monkeypatch.setattr(paper_table.Work, "run", run)
    monkeypatch.setattr(paper_table, "MODELS", MODELS)
    monkeypatch.chdir(tmp_path)
    return ran


def make(*arguments):
    return paper_table.main(["-j", "1", "-e", "40", "-o", "table.md", *arguments])


def test_every_model_is_trained_evaluated_and_in_the_tables(commands, capsys):
    assert make() == 0
    assert "hours of one core" in capsys.readouterr().out
    assert [(label, dict(itertools.pairwise(words)).get("-e", "")) for label, command, words in commands] == [
        ("simulation", ""), ("real images: evaluation", ""), ("star-shaped: training", "10"),
        ("star-shaped: evaluation", ""), ("star-shaped: training", "40"), ("star-shaped: evaluation", ""),
        *[("one-class: training", "40"), ("one-class: evaluation", "")] * 2,
        ("conditional GAN: training", "40"), ("conditional GAN: evaluation", "")]
    text = Path("table.md").read_text()
    for row in ("| real images |", "| star-shaped 10 |", "| star-shaped 40 |", "| one-class | 2.5 ± 0.0 | 2.5 ± 0.0 |",
                "| one-class | 0.8 ± 0.2 | 2.5 ± 0.0 |", "| star-shaped | 1.4 ± 0.1 | 2.5 ± 0.0 |",
                "| real images | -0.1 ± 0.2 | 2.5 ± 0.0 |",
                "| one-class | DCGAN | 2 | 40 |", "| star-shaped | DCGAN-starshaped | 1 | 40 |"):
        assert row in text
    assert "train.py -d data -m DCGAN-conditional -a GAN --preset fast -e 40" in text
    assert "for FACTOR in" in text and "train.py -d data -m DCGAN -p $FACTOR --preset fast -e 40" in text
    assert Path("table_c2st.png").exists() and Path("table_pairs.png").exists()


def test_finished_steps_are_skipped_and_text_around_the_tables_stays(commands):
    make()
    Path("table.md").write_text("# Mine\n\n" + Path("table.md").read_text() + "\nresults\n")
    Path("paper_table/evaluation/one-class.Tea1.split2.json").unlink()
    before = Path("table.md").read_text()
    commands.clear()
    assert make() == 0
    assert [(label, words[-1]) for label, _, words in commands] == [("one-class: evaluation", "one-class")]
    assert Path("table.md").read_text() == before
    commands.clear()
    assert make("--combine") == 0 and not commands


def test_the_row_of_a_failed_step_is_missing(commands, monkeypatch, capsys):
    run = paper_table.Work.run

    def failing(work, label, command, *arguments, **folder):
        if command == "train" and "Tea1" in arguments:
            raise InputError("one-class: no memory")
        run(work, label, command, *arguments, **folder)

    monkeypatch.setattr(paper_table.Work, "run", failing)
    assert make() == 2
    assert "no memory" in capsys.readouterr().err
    assert "| one-class | 2.5 ± 0.0 | – |" in Path("table.md").read_text()


def test_expected_hours_of_the_papers_settings():
    hours = [paper_table.expected_hours(paper_table.parser().parse_args(arguments))
             for arguments in (["-e", "800", "--splits", "3"], ["-e", "50000", "--full"])]
    assert hours[0] < 2 and hours[1] > 1000
