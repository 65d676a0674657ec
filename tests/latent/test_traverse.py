"""biogans traverse: pictures and movies of codes, and of a training."""

import json

import numpy as np
import pytest
from PIL import Image

from biogans.core import codes, figures, trained
from biogans.latent import interpolate, reconstruct, traverse
from infogan_runs import DCGAN, MODEL, refused


def test_traversals(in_infogan_folder, capsys):
    assert traverse.main(["-i", MODEL, "-n", "3", "--steps", "4"]) == 0
    for code in ("c0", "u0", "u1"):
        with Image.open(f"images/traversal.{code}.InfoGAN.GAN.1.png") as picture, \
                Image.open(f"images/traversal.{code}.InfoGAN.GAN.1.gif") as movie:
            assert min(picture.size) > 100 and movie.n_frames >= 3
    assert capsys.readouterr().out.count("Output") == 6
    (in_infogan_folder / "images/traversal.c0.InfoGAN.GAN.1.png").unlink()
    assert traverse.main(["-i", MODEL, "--code", "c0=1,u1=0"]) == 0
    assert "c0" not in capsys.readouterr().out


def test_a_traversal_shows_what_the_generator_makes(in_infogan_folder, monkeypatch):
    """Rows are noise vectors and columns values: every cell is that of z with the code set."""
    seen = []
    table = figures.table
    monkeypatch.setattr(figures, "table", lambda rows, *rest: seen.append(np.array(rows)) or table(rows, *rest))
    traverse.main(["-i", MODEL, "-n", "2", "--steps", "3", "--code", "c0=1,u0=0.2"])
    generator = trained.load_generator(MODEL)
    code = generator.spec.codes[-1]
    z = np.concatenate(list(generator.latents(2, 0)))
    z = codes.with_values(z, codes.parse_codes("c0=1,u0=0.2", generator.spec.codes))
    for column, value in enumerate((-1, 0, 1)):
        expected = (generator.generate(codes.with_values(z, {code: value})) + 1) / 2
        np.testing.assert_allclose(seen[0][:, column], expected, atol=1e-5)


def test_brightfield_is_never_drawn_red(in_infogan_folder):
    """Not even in samples of an untrained network, whose images alone don't show what light it was."""
    assert traverse.main(["-i", MODEL, "-n", "2", "--steps", "3", "--code", "c0=1,u0=0", "--transmitted", "1"]) == 0
    for name in ("real_samples.InfoGAN.GAN.1", "fake_samples.InfoGAN.GAN.1.2", "fake_samples.DCGAN.WGAN-GP.1.2",
                 "traversal.u1.InfoGAN.GAN.1"):
        with Image.open(f"images/{name}.png") as picture:
            red, green, blue = np.moveaxis(np.asarray(picture).astype(int), -1, 0)
        assert np.array_equal(red, blue) and (red < green).any()


def test_the_movie_of_a_training(in_infogan_folder, capsys):
    """The training wrote it; the command makes it again."""
    movie = in_infogan_folder / "images/training.InfoGAN.GAN.1.gif"
    made_by_training = movie.read_bytes()
    movie.unlink()
    assert traverse.main(["-i", MODEL, "--training", "--fps", "6"]) == 0
    assert movie.read_bytes() == made_by_training
    with Image.open(movie) as frames:
        assert frames.n_frames == 2
    (in_infogan_folder / "checkpoints/log.DCGAN.WGAN-GP.1.csv").rename("log.csv")
    assert "log.DCGAN.WGAN-GP.1.csv" in refused(capsys, traverse, ["-i", DCGAN, "--training"])
    (in_infogan_folder / "log.csv").rename("checkpoints/log.DCGAN.WGAN-GP.1.csv")


def test_columns_are_named_by_the_labels_of_the_categories(in_infogan_folder, monkeypatch):
    headers, table = [], figures.table
    monkeypatch.setattr(figures, "table", lambda rows, header, *rest: (
        headers.append(header) or table(rows, header, *rest)))
    generator = trained.load_generator(MODEL)
    path = codes.labels_path(generator)
    labels = {"c0": [codes.Label("G1", 0.9, 20), codes.Label("", 0, 0), codes.Label("G2", 0.4, 9)]}
    path.write_text(json.dumps(codes.labels_content(generator, labels)))
    traverse.main(["-i", MODEL, "-n", "2", "--steps", "3"])
    path.unlink()
    assert headers[0] == ["c0=0 (G1)", "c0=1", "c0=2 (G2?)"] and headers[1] == ["u0=-1.0", "u0=+0.0", "u0=+1.0"]


@pytest.mark.parametrize("command, arguments, problem", [
    (traverse, ["-i", DCGAN], "no codes"), (reconstruct, ["-i", MODEL, "-d", "data"], "biogans traverse"),
    (interpolate, ["-i", MODEL, "--cycle"], "biogans traverse"),
    (interpolate, ["-i", MODEL, "-d", "data"], "biogans traverse")])
def test_mistakes_are_one_line(in_infogan_folder, capsys, command, arguments, problem):
    assert problem in refused(capsys, command, arguments)
