"""The settings file of biogans preprocess: what it stores, also of earlier versions."""

import json

import pytest

from biogans.system.errors import InputError
from biogans.video import preprocess, settings

REQUIRED = ["-i", "x", "-o", "y"]


@pytest.mark.parametrize("given", [[], ["--test", "0", "--focus", "0", "--least", "0", "--seed", "0"],
                                   ["--without", "edges,drift", "--binary", "--size", "32x48", "--channels", "2,1"],
                                   ["--pixel_size", "0.1", "--edge_scale", "2", "--z", "slices", "--axes", "ZTYX"]])
def test_a_settings_file_repeats_all_options(tmp_path, given):
    wanted = settings.image_settings(preprocess.parse(REQUIRED + given))
    settings.write_settings(tmp_path / "settings.json", wanted)
    repeated = preprocess.parse([*REQUIRED, "--settings", str(tmp_path / "settings.json")])
    assert settings.image_settings(repeated) == wanted
    assert settings.read_settings(tmp_path / "settings.json") == wanted.to_text()


def test_an_empty_text_is_zero_for_numbers(tmp_path):
    """Earlier versions stored 0 as an empty text."""
    (tmp_path / "settings.json").write_text(json.dumps(
        {"biogans": "1.0.0", "preprocess": {"focus": "", "seed": "", "pixel_size": "", "binary": "", "test": "0.5"}}))
    options = preprocess.parse([*REQUIRED, "--settings", str(tmp_path / "settings.json")])
    assert (options.focus, options.seed, options.pixel_size, options.binary, options.test) == (0, 0, None, False, 0.5)


@pytest.mark.parametrize("text", ["", "[1]", "{}", '{"preprocess": {"colour": "red"}}', '{"preprocess": [1]}'])
def test_other_files_are_refused(tmp_path, text):
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(InputError, match="settings file"):
        preprocess.parse([*REQUIRED, "--settings", str(tmp_path / "settings.json")])
