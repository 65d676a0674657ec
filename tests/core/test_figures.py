"""Pictures: the colours of pixels, the places of panels, and labels."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from biogans.core import figures
from biogans.system import lattice
from biogans.system.errors import InputError
from biogans.system.panels import Heading
from networks import spec

FACTORS = ["Alp14", "Arp3", "Cki2", "Mkh1", "Sid2", "Tea1"]


def cells(count, channels, lit, high=6, wide=10):
    """Images in [-1, 1] that are dark except in the channels `lit`."""
    images = np.full((count, high, wide, channels), -1, "float32")
    images[..., list(lit)] = 1
    return images


def coloured(picture):
    """Mask (rows, columns) of the pixels that are neither gray nor black: those of cells, but not lines and labels."""
    return np.ptp(picture.astype(int), axis=2) > 100


def stack(greens, high=48, wide=80):
    rng = np.random.default_rng(0)
    return rng.uniform(0, 0.2, (1 + greens, high, wide)).astype("float32")


def brightfield(count, channels=2):
    """Images in [-1, 1] of dark rings on gray; the second channel shines within the ring, the others are dark."""
    y, x = np.mgrid[:24, :24] - 11.5
    images = np.full((count, 24, 24, channels), -1, "float32")
    images[..., 0] = np.where(np.abs(np.hypot(y, x) - 8) < 1.5, -0.8, 0)
    images[..., 1] = np.where(np.hypot(y, x) < 5, 1, -1)
    return images


def test_tile_colours():
    cell = np.array([[[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]])
    assert figures.tile(cell).tolist() == [[[1, 0, 0], [0, 1, 0], [0.5, 0.5, 0]]]
    assert figures.tile(cell, "magenta-green").tolist() == [[[1, 0, 1], [0, 1, 0], [0.5, 0.5, 0.5]]]


def light_and_tint(picture):
    """(median gray level of the pixels with equal R, G and B, number of tinted pixels, their mean R, G, B)."""
    body = picture[picture.shape[0] // 10:]                             # below the labels
    tinted = coloured(body)
    return np.median(body[~tinted]), tinted.sum(), body[tinted].mean(axis=0).round().tolist()


@pytest.mark.parametrize("palette", ["red-green", "magenta-green"])
def test_brightfield_is_gray_with_its_stain_in_the_colour_of_the_factor(tmp_path, palette):
    """In every picture of cells: gray levels in place of the marker's colour, and the stain above them."""
    images = brightfield(8)
    unit = (images + 1) / 2
    pictures = [figures.sample_picture(images, palette=palette),
                figures.real_picture({"G1": (255 * unit).astype("uint8")}, palette),
                figures.table([list(unit)], [str(k) for k in range(8)], palette=palette),
                figures.sample_grid(tmp_path / "grid.png", spec("DCGAN"), images, palette=palette)]
    for picture in pictures:
        light, number, tint = light_and_tint(picture)
        assert light in (127, 128) and number > 1000 and tint == [0, 255, 0]


def test_brightfield_among_several_channels():
    """Over brightfield the second of three channels is green, the third magenta; alone each panel has its colour."""
    images = brightfield(4, 3)
    images[:, 3:6, 3:6, 2] = 1
    picture = figures.sample_picture(images, palette="magenta-green")
    assert {tuple(pixel) for pixel in picture[coloured(picture)]} == {(0, 255, 0), (255, 0, 255)}
    assert (figures.sample_picture(cells(4, 3, (0,)))[5, 5] == (255, 0, 0)).all()               # R, G and B as before
    figure = figures.cell_figure((np.moveaxis(images[0], -1, 0) + 1) / 2, ["red", "DNA", "SSC"])
    panels = {axes.get_title(): np.asarray(axes.images[0].get_array()) for axes in figure.axes}
    assert np.ptp(panels["transmitted light"], axis=2).max() == 0 and panels["transmitted light"].max() == 0.5
    assert panels["DNA"][..., [0, 2]].max() == 0 and panels["DNA"][..., 1].max() == 1
    assert panels["transmitted light + DNA"][12, 12].tolist() == [0, 1, 0]
    assert panels["transmitted light + DNA"][0, 0].tolist() == [0.5, 0.5, 0.5]
    assert [text.get_text() for text in figure.axes[1].get_legend().get_texts()] == ["DNA", "SSC"]


def test_transmitted_light_among_the_greens_is_in_no_composite():
    stack = (np.moveaxis(brightfield(1, 3)[0][..., [1, 2, 0]], -1, 0) + 1) / 2
    figure = figures.cell_figure(stack, ["red", "GFP", "brightfield"])
    panels = {axes.get_title(): np.asarray(axes.images[0].get_array()) for axes in figure.axes}
    assert list(panels) == ["red", "GFP", "brightfield", "red + GFP", "red + brightfield"]
    assert panels["red + brightfield"][12, 12].tolist() == [1, 0, 0]
    assert panels["brightfield"][0, 0].tolist() == panels["red + brightfield"][0, 0].tolist() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("greens", [1, 2, 6])
@pytest.mark.parametrize("wide", [24, 80])
def test_labels_are_legible_where_a_figure_is_as_wide_as_a_page(greens, wide):
    names = ["red"] + [f"F{k}" for k in range(1, greens + 1)]
    figure = figures.cell_figure(stack(greens, 24, wide), names, 0.1, heading=Heading("what", "file"))
    shown = min(1, 830 / figure.bbox.width) * figures.DPI / 72          # screen pixels per point
    texts = [*figure.texts, *(axes.title for axes in figure.axes), *figure.axes[0].texts]
    assert min(text.get_fontsize() for text in texts if text.get_text()) * shown >= 11


@pytest.mark.parametrize("lit, colour", [((0,), (255, 0, 0)), ((1,), (0, 255, 0)), ((0, 1), (255, 255, 0))])
def test_grid_of_merges(lit, colour):
    picture = figures.sample_picture(cells(16, 2, lit))
    assert picture.dtype == np.uint8 and picture.shape[1] >= 600
    assert {tuple(pixel) for pixel in picture[coloured(picture)]} == {colour}
    assert set(np.unique(picture[~coloured(picture)].reshape(-1, 3), axis=0).ravel()) <= {0, *lattice.LINE}


def test_a_row_is_a_group_of_columns():
    images = cells(16, 2, ())
    images[8:, ..., 1] = 1                                  # the second eight are green
    rows = np.flatnonzero(coloured(figures.sample_picture(images)).any(axis=1))
    assert rows.min() > figures.sample_picture(images).shape[0] / 2 - 1


@pytest.mark.parametrize("k", range(6))
def test_the_kth_factor_is_in_the_kth_column(k):
    picture = figures.sample_picture(cells(3, 7, (1 + k,)), FACTORS)
    columns = np.flatnonzero(coloured(picture).any(axis=0))
    width = (picture.shape[1] - lattice.SEPARATOR) // 7
    assert (columns // width == k + 1).all() and len(columns) == width - lattice.SEPARATOR
    assert {tuple(pixel) for pixel in picture[coloured(picture)]} == {(0, 255, 0)}


def test_the_red_column_comes_first_and_the_header_has_names():
    picture = figures.sample_picture(cells(2, 7, (0,)), FACTORS)
    assert coloured(picture).any(axis=0).sum() == 7 * ((picture.shape[1] - 2) // 7 - 2)
    header = picture[:20].max(axis=2)
    width = picture.shape[1] // 7
    assert all((header[:, k * width:(k + 1) * width] > 150).any() for k in range(7))


def test_magnification_is_by_a_whole_number_without_interpolation():
    images = np.random.default_rng(1).uniform(-1, 1, (1, 4, 5, 1)).astype("float32")
    picture = figures.sample_picture(images)
    inner = picture[2:-2, 2:-2, 0]
    scale = inner.shape[1] // 5
    assert picture.shape[1] >= 600 and inner.shape == (4 * scale, 5 * scale)
    expected = np.rint((images[0, ..., 0] + 1) / 2 * 255).astype("uint8")
    assert np.array_equal(inner, expected.repeat(scale, axis=0).repeat(scale, axis=1))


def test_one_three_and_four_channels():
    gray = figures.sample_picture(cells(1, 1, (0,)))
    assert (gray[5, 5] == 255).all() and not coloured(gray).any()
    assert figures.sample_picture(cells(1, 3, (2,)))[5, 5].tolist() == [0, 0, 255]
    four = figures.tile((cells(1, 4, (2,))[0] + 1) / 2)
    assert four.shape == (6, 40, 3) and np.flatnonzero(four[0, :, 0]).tolist() == list(range(20, 30))


def test_nan_is_black_and_a_wrong_number_of_names_an_error():
    images = cells(2, 2, (0, 1))
    images[:] = np.nan
    assert not coloured(figures.sample_picture(images)).any()
    with pytest.raises(ValueError, match="6 factors for images of 2 channels"):
        figures.sample_picture(images, FACTORS)


def test_real_grid(tmp_path):
    examples = {"Alp14": np.zeros((4, 6, 10, 2), "uint8"), "Tea1": np.zeros((4, 6, 10, 2), "uint8")}
    examples["Tea1"][3, ..., 0] = 255
    picture = figures.real_grid(tmp_path / "new" / "real.png", examples)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "new" / "real.png")), picture)
    rows, columns = np.nonzero(coloured(picture))
    assert rows.min() > picture.shape[0] / 2 and columns.min() > picture.shape[1] * 0.7
    assert (picture[:, :40] > 150).any()                    # the names are on the left


def test_sample_grid_writes_what_it_returns(tmp_path):
    star = spec("DCGAN-starshaped", factors=("a very long name of a factor", "two\nlines"))
    picture = figures.sample_grid(tmp_path / "a.png", star, cells(2, 3, (1,)))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), picture)
    assert np.array_equal(picture, figures.sample_picture(cells(2, 3, (1,)), star.factors))
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("greens, panels", [(0, 1), (1, 3), (2, 6), (3, 8), (6, 14), (7, 16), (24, 50)])
def test_panels_of_a_cell(greens, panels):
    names = ["red"] + [f"F{k}" for k in range(1, greens + 1)]
    figure = figures.cell_figure(stack(greens), names)
    titles = [axes.get_title() for axes in figure.axes]
    assert len(titles) == len(set(titles)) == panels
    assert titles[0] == "red" and set(names) <= set(titles)
    assert all(f"red + {name}" in titles for name in names[1:])
    legend = figure.axes[1].get_legend() if greens > 1 else None
    assert [text.get_text() for text in legend.get_texts()] == names[1:] if greens > 1 else legend is None


@pytest.mark.parametrize("greens, shape", [(1, (48, 80)), (2, (80, 20)), (6, (48, 80)), (6, (28, 28)), (6, (9, 3)),
                                           (24, (64, 48))])
def test_nothing_overlaps_or_leaves_the_figure(greens, shape):
    names = ["red"] + [f"Factor{k}" for k in range(1, greens + 1)]
    heading = Heading("generated by a network, cell 1 of 3", "images/stack.h5")
    figure = figures.cell_figure(stack(greens, *shape), names, heading=heading)
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [axes.get_window_extent() for axes in figure.axes]
    boxes += [axes.title.get_window_extent(renderer) for axes in figure.axes]
    boxes += [text.get_window_extent(renderer) for text in figure.texts]
    boxes += [axes.get_legend().get_window_extent(renderer) for axes in figure.axes if axes.get_legend()]
    for index, box in enumerate(boxes):
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
        for other in boxes[index + 1:]:
            across = min(box.x1, other.x1) - max(box.x0, other.x0)
            down = min(box.y1, other.y1) - max(box.y0, other.y0)
            assert min(across, down) < 0.5


def test_a_panel_shows_each_pixel_as_a_square(tmp_path):
    cell = stack(1)
    figure = figures.cell_figure(cell, ["red", "Tea1"])
    figures.write_figure(tmp_path / "cell.png", figure)
    picture = np.asarray(Image.open(tmp_path / "cell.png").convert("RGB"))
    box = figure.axes[2].get_window_extent()
    top, left, scale = round(picture.shape[0] - box.y1), round(box.x0), round(box.width / 80)
    panel = picture[top:top + 48 * scale, left:left + 80 * scale]
    expected = figures.tile(np.moveaxis(cell, 0, -1)).repeat(scale, axis=0).repeat(scale, axis=1) * 255
    assert np.abs(panel - expected).max() <= 1


def bar_of(figure):
    axes = figure.axes[0]
    return axes.patches[0].get_width(), axes.texts[0].get_text()


@pytest.mark.parametrize("pixel_size, pixels, text", [(None, 10, "10 px"), (0.1, 10, "1 µm"), (0.19, 2 / 0.19, "2 µm"),
                                                      (5, 10, "50 µm"), (0.02, 10, "0.2 µm")])
def test_scale_bar(pixel_size, pixels, text):
    length, label = bar_of(figures.cell_figure(stack(1), ["red", "Tea1"], pixel_size))
    assert length == pytest.approx(pixels) and label == text


def test_scale_bar_of_a_reduced_image():
    figure = figures.cell_figure(stack(0, 1600, 1600), ["gray"], 0.1)
    assert figure.axes[0].images[0].get_array().shape == (800, 800, 3)
    assert bar_of(figure) == (pytest.approx(100), "20 µm")


def test_composite_has_the_hue_of_the_brightest_factor():
    greens = np.full((3, 20, 40), 0.1)
    greens[0, 5:9, 5:9] = greens[1, 5:9, 25:29] = 1
    greens[2] = 0.8                                         # constant, so without colour
    image = figures.composite(greens)
    orange, blue, _ = figures.hues(3)
    assert np.allclose(image[6, 6], orange, atol=0.1) and np.allclose(image[6, 26], blue, atol=0.1)
    assert np.ptp(image[15, 15]) < 1e-6
    for flat in (0.0, 0.3, 1.0):
        assert np.isfinite(figures.composite(np.full((2, 4, 4), flat))).all()


def test_hues_differ():
    for count in (2, 6, 7, 24):
        assert len({tuple(np.round(hue, 2)) for hue in figures.hues(count)}) == count


def test_names_are_not_read_as_formulas():
    figure = figures.cell_figure(stack(2), ["red", "$\\bad{", "a_$x$\nb"], heading=Heading("$\\frac$", "$x"))
    figure.draw_without_rendering()
    assert figure.axes[2].get_title() == "$\\bad{"


def log(path, lines, header="iteration,critic_loss,generator_loss,seconds"):
    path.write_text("\n".join([header, *lines]))
    return path


def test_loss_curves(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(figures, "write_figure", lambda path, figure: drawn.append(figure))
    lines = [f"{k},{-10 / k},{k / 100},{k}" for k in range(1, 301)]
    figures.loss_curves(tmp_path / "l.png", log(tmp_path / "l.csv", [*lines, "301,nan,3.01,301", "302,0.1"]))
    critic, generator = drawn[0].axes
    assert (critic.get_ylabel(), generator.get_ylabel()) == ("critic loss", "generator loss")
    assert "iteration" in generator.get_xlabel()
    raw, smooth = generator.lines
    assert len(raw.get_xdata()) == 301 and raw.get_linewidth() < smooth.get_linewidth()
    assert smooth.get_ydata()[150] == pytest.approx(1.51) and np.isfinite(critic.lines[1].get_ydata()).all()


def test_loss_curves_as_a_file(tmp_path):
    names = ["a_loss", "b_loss", "c_loss", "d_loss", "e_loss"]
    table = log(tmp_path / "l.csv", ["1,1,2,3,4,5,0"], ",".join(["iteration", *names, "seconds"]))
    figures.loss_curves(tmp_path / "images" / "l.png", table)
    assert Image.open(tmp_path / "images" / "l.png").size[0] > 600


@pytest.mark.parametrize("text", ["", "iteration,critic_loss\n", "a,b\n1,2\n", "\0\0"])
def test_no_losses_yet(tmp_path, text):
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(InputError, match="l.csv"):
        figures.loss_curves(tmp_path / "l.png", tmp_path / "l.csv")
    assert not (tmp_path / "l.png").exists()
    with pytest.raises(InputError, match="none.csv"):
        figures.loss_curves(tmp_path / "l.png", tmp_path / "none.csv")


def curves(tmp_path, monkeypatch, distances, name="log.DCGAN.WGAN-GP.1.csv"):
    """The axes of the loss curves of a training that measured these distances."""
    drawn = []
    monkeypatch.setattr(figures, "write_figure", lambda path, figure: drawn.append(figure))
    lines = [f"{k},{-10 / k},{k / 100},{k},{distance},{distance / 100}" for k, distance in enumerate(distances, 1)]
    header = "iteration,critic_loss,generator_loss,seconds,held_out_distance,critic_overfitting"
    figures.loss_curves(tmp_path / "l.png", log(tmp_path / name, lines, header))
    return drawn[0].axes


@pytest.mark.parametrize("name, critic", [
    ("log.DCGAN.GAN.1.csv", "chance level 1.39"), ("log.DCGAN.WGAN-GP.1.csv", "nearer to 0 is better"),
    ("log.InfoGAN.GAN.0.csv", "plus the loss of the codes"), ("l.csv", "falls when the critic wins")])
def test_each_panel_states_which_way_is_better(name, critic, tmp_path, monkeypatch):
    titles = [axes.get_title("left") for axes in curves(tmp_path, monkeypatch, [3, 2, 1], name)]
    assert critic in titles[0] and "lower is better" in titles[2] and "lower is better: 0 " in titles[3]


@pytest.mark.parametrize("last", [0.1, -0.01])
def test_huge_early_distances_do_not_squash_the_others(last, tmp_path, monkeypatch):
    """On a logarithmic axis, which is linear around 0 if an estimate is below it."""
    distances = [1e9, 1e6, *np.linspace(0.5, 0.1, 17), last]
    axes = curves(tmp_path, monkeypatch, distances)[2]
    assert axes.get_ylim()[1] < 100 and axes.get_ylim()[0] < last
    assert axes.get_yscale() == ("log" if last > 0 else "symlog")
    assert "2 of 20 values lie outside this panel" in axes.texts[0].get_text()


def test_a_single_wild_score_is_drawn(tmp_path):
    """All values of a panel may lie outside of it: early critics distinguish nothing, and the ratio is random."""
    (tmp_path / "log.DCGAN.GAN.1.csv").write_text(
        "iteration,critic_loss,generator_loss,seconds,held_out_distance,critic_overfitting\n1,0.1,0.1,1,5000,40\n")
    figures.loss_curves(tmp_path / "l.png", tmp_path / "log.DCGAN.GAN.1.csv")
    assert np.asarray(Image.open(tmp_path / "l.png")).std() > 10
