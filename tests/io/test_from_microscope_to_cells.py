"""docs/images.md: from the raw files of a microscope to generated cells in its own units."""

import shutil

import numpy as np
import pytest
import tifffile

from biogans.core import dataloader, options as command_line, predict, train
from biogans.core.trained import read_metadata
from biogans.data import simulate
from biogans.io import drawings
from biogans.io.intensities import Intensities
from conftest import SMALL

WHITE = simulate.OFFSET + simulate.GAIN * 255


@pytest.fixture
def raw(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not simulate.main(["-o", "raw", "--train", "60", "--test", "24", "--joint", "1", "--camera"])
    return tmp_path / "raw"


def as_zeiss(folder):
    """Replace the OME-TIFFs of a folder by files of Zeiss, with the same planes."""
    czi = pytest.importorskip("pylibCZIrw.czi", reason="writes the files of this test")
    for path in sorted(folder.rglob("*.ome.tif")):
        with czi.create_czi(str(path).replace(".ome.tif", ".czi")) as file:
            for channel, plane in enumerate(tifffile.imread(path)):
                file.write(plane, plane={"C": channel, "T": 0, "Z": 0})
            file.write_metadata("cells", scale_x=simulate.PIXEL * 1e-6, scale_y=simulate.PIXEL * 1e-6)
        path.unlink()


@pytest.mark.usefixtures("quick_runs")
@pytest.mark.parametrize("container", ["OME-TIFF", "Zeiss"])
def test_from_raw_files_to_generated_cells_and_back_into_their_units(raw, container, capsys):
    if container == "Zeiss":
        as_zeiss(raw)
    assert not train.main(["-d", "raw", "-m", "DCGAN-separable", "-p", "Tea1", *SMALL, "-e", "2"])
    told = capsys.readouterr().out
    assert "intensities: 10" in told and "become 0 to 255" in told
    weights = next(raw.parent.glob("checkpoints/weights.generator.*.h5"))
    metadata = read_metadata(weights)
    assert metadata.pixel_size_um == pytest.approx(simulate.PIXEL)
    black, white = metadata.read_settings.intensities.black, metadata.read_settings.intensities.white
    assert all(90 < value < simulate.OFFSET + 1 for value in black)
    assert all(0.8 * WHITE < value < 1.05 * WHITE for value in white)           # not 65535, the hot pixels

    assert not predict.main(["-i", str(weights), "-n", "3", "-s", "1", "--format", "tiff"])
    assert not predict.main(["-i", str(weights), "-n", "3", "-s", "1"])
    path, stack = (next(raw.parent.glob(f"images/stack*{suffix}")) for suffix in (".ome.tif", ".h5"))
    counts = tifffile.imread(path)
    assert counts.dtype == np.uint16 and counts.shape == (3, 2, 48, 80)
    assert (counts >= int(min(black))).all() and (counts <= max(white) + 1).all()
    drawn, expected = (drawings.read_drawing(each, 0, 3).cells for each in (path, stack))
    assert np.abs(drawn - expected).max() < 1 / 2000


def test_the_camera_counts_the_simulated_light(raw):
    images = dataloader.load(raw, ("Tea1",))
    shutil.rmtree(raw)
    assert not simulate.main(["-o", "raw", "--train", "60", "--test", "24", "--joint", "1"])
    plain = dataloader.load(raw, ("Tea1",))
    black, white = images.settings.intensities.black[0], images.settings.intensities.white[0]
    light = (black + images.pixels[..., 0] / 255 * (white - black) - simulate.OFFSET) / simulate.GAIN
    assert np.median(np.abs(light - plain.pixels[..., 0])) < 1


@pytest.mark.usefixtures("quick_runs")
def test_a_resumed_run_reads_its_images_as_before(raw, capsys):
    command = ["-d", "raw", "-m", "DCGAN-separable", "-p", "Tea1", *SMALL]
    assert not train.main([*command, "--range", "100,2000", "-e", "1"])
    assert not train.main([*command, "-w", "-e", "2"])
    weights = next(raw.parent.glob("checkpoints/weights.generator.*.h5"))
    assert read_metadata(weights).read_settings.intensities == Intensities((100.0,) * 4, (2000.0,) * 4)
    capsys.readouterr()
    assert train.main([*command, "-w", "-e", "3", "--range", "100,3000"]) == 2
    assert "--range" in capsys.readouterr().err


@pytest.mark.parametrize("option, words", [
    (("--range", "5"), "not BLACK,WHITE"), (("--range", "9,5"), "not BLACK,WHITE"), (("--range", "a,b"), "BLACK,WHITE"),
    (("--percentiles", "99,1"), "not LOW,HIGH"), (("--axes", "CXX"), "give one of the letters"),
    (("--nan", "white"), "none of background")])
def test_options_that_make_no_sense(option, words, capsys):
    with pytest.raises(SystemExit):
        command_line.parser().parse_args(["-d", "raw", *option])
    assert words in capsys.readouterr().err
