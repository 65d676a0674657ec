"""The comparison of recipes: its tables, and a short run."""

import json
import subprocess
import sys

import pytest

from conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import quality


def write_result(folder, recipe, minutes, seed, **scores):
    known = {"recipe": recipe, "minutes": minutes, "seed": seed, "iterations": 100}
    path = folder / f"{recipe.replace(' ', '_')}.{minutes}min.{seed}.json"
    path.write_text(json.dumps(known | dict.fromkeys(quality.COLUMNS, 1) | scores))


def test_a_table_for_each_time_with_medians_and_ranges(tmp_path):
    for seed, frechet in enumerate((3.0, 1.0, 2.0)):
        write_result(tmp_path, "1 update", 5, seed, frechet=frechet)
    write_result(tmp_path, "1 update, variety", 15, 0, torn=0.25, least_variety=None)
    first, second = quality.tables(tmp_path).split("**15 core minutes**")
    assert first.startswith("**5 core minutes**") and "| 1 update | 3 | 100 |" in first
    assert "| 2.00 (1.00 to 3.00) |" in first and "variety |" not in first.split("torn")[1]
    assert "| 1 update, variety | 1 | 100 |" in second and "| – | 0.25 |" in second


@pytest.mark.slow
def test_a_short_comparison_is_not_repeated(tmp_path):
    """Two recipes for three seconds each; a second call finds both results."""
    script = [sys.executable, ROOT / "benchmarks/quality.py"]
    numbers = ["--train", "480", "--test", "240", "--joint", "24"]
    subprocess.run([ROOT / "bin/biogans", "simulate", "-o", "data", *numbers], cwd=tmp_path, check=True)
    recipes = ["1 update", "1 update, noise, variety, cosine"]
    command = [*script, "-d", "data", "--minutes", "0.05", "--seeds", "1", "--recipes", *recipes]
    subprocess.run(command, cwd=tmp_path, check=True)
    files = sorted((tmp_path / "quality").glob("*.json"))
    assert len(files) == 2 and {json.loads(file.read_text())["recipe"] for file in files} == {*recipes}
    before = [file.read_bytes() for file in files]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=120)
    assert [file.read_bytes() for file in files] == before
    table, bounds = (subprocess.run([*script, *words], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
                     for words in (["--table"], ["--bounds", "-d", "data"]))
    assert "**0.05 core minutes**" in table and all(f"| {recipe} | 1 |" in table for recipe in recipes)
    assert bounds.count("\n| ") == 6
