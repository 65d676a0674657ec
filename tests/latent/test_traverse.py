"""biogans traverse: pictures and movies of codes, and of a training."""

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


def test_the_movie_of_a_training(in_infogan_folder, capsys):
    assert traverse.main(["-i", MODEL, "--training"]) == 0
    with Image.open("images/training.InfoGAN.GAN.1.gif") as movie:
        assert movie.n_frames >= 2
    assert "too few" in refused(capsys, traverse, ["-i", DCGAN, "--training"])


def test_a_damaged_picture_of_a_training(in_infogan_folder, capsys):
    (in_infogan_folder / "images/fake_samples.DCGAN.WGAN-GP.1.1.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert "fake_samples.DCGAN.WGAN-GP.1.1.png is not a readable picture" in refused(
        capsys, traverse, ["-i", DCGAN, "--training"])
    (in_infogan_folder / "images/fake_samples.DCGAN.WGAN-GP.1.1.png").unlink()


@pytest.mark.parametrize("command, arguments, problem", [
    (traverse, ["-i", DCGAN], "no codes"), (reconstruct, ["-i", MODEL, "-d", "data"], "biogans traverse"),
    (interpolate, ["-i", MODEL], "biogans traverse")])
def test_mistakes_are_one_line(in_infogan_folder, capsys, command, arguments, problem):
    assert problem in refused(capsys, command, arguments)
