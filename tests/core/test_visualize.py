"""visualize.py: pictures of stacks and image files, their paths, and the refusal of bad files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from biogans.core import figures, visualize
from biogans.io import drawings
from conftest import ROOT, TEST_MODULES, write_images

NAMES = ["red", "Alp14", "Arp3", "Cki2", "Mkh1", "Sid2", "Tea1"]


@pytest.fixture(autouse=True)
def no_screen(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)


@pytest.fixture
def drawn(monkeypatch):
    """The list of all figures that visualize.py draws, in order."""
    collected = []
    for name in ("cell_figure", "picture_figure"):
        original = getattr(figures, name)
        monkeypatch.setattr(figures, name, lambda *arguments, original=original:
                            collected.append(original(*arguments)) or collected[-1])
    return collected


def write_stack(path="stack7.h5", cells=3, channels=7, dtype="float32", high=12, wide=20, **attributes):
    values = np.random.default_rng(0).uniform(0, 1, (cells, high, wide, channels))
    values = (values * 255).astype("uint8") if dtype == "uint8" else values.astype(dtype)
    attributes = {"channel_names": NAMES[:channels], "value_range": [0, 1], "seed": 1, **attributes}
    with h5py.File(path, "w") as file:
        file.create_dataset("stack", data=values).attrs.update(attributes)
    return values


def titles(figure):
    return [axes.get_title() for axes in figure.axes]


def test_a_stack_is_written_to_images_and_its_path_printed(capsys, drawn):
    write_stack("stack7.DCGAN-starshaped.WGAN-GP.h5")
    assert visualize.main(["-i", "stack7.DCGAN-starshaped.WGAN-GP.h5"]) == 0
    path = "images/stack7.DCGAN-starshaped.WGAN-GP.png"
    assert capsys.readouterr().out == f"Output picture to file: {path}\n"
    assert Image.open(path).format == "PNG"
    assert titles(drawn[0])[0] == "red" and "red + Tea1" in titles(drawn[0]) and len(drawn[0].axes) == 14


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "uint8"])
def test_values_of_a_stack(dtype):
    values = write_stack(channels=2, dtype=dtype)
    drawing = drawings.read_drawing(Path("stack7.h5"), 1, 2)
    assert drawing.cells.dtype == np.float32 and drawing.names == ["red", "Alp14"]
    assert np.allclose(drawing.cells, values[1:] / (255 if dtype == "uint8" else 1), atol=1e-6)


def test_another_value_range_and_odd_attributes():
    write_stack(channels=3, value_range=[-1, 1], channel_names="unexpected", pixel_size_um="none")
    drawing = drawings.read_drawing(Path("stack7.h5"))
    assert drawing.cells.min() >= 0.5 and drawing.names == ["red", "green 1", "green 2"]
    assert drawing.pixel_size_um is None


def test_pixel_size_from_the_file_or_an_option(drawn):
    write_stack(channels=2, wide=80, pixel_size_um=0.1)
    assert visualize.main(["-i", "stack7.h5"]) == visualize.main(["-i", "stack7.h5", "--pixel_size", "0.5"]) == 0
    assert [figure.axes[0].texts[0].get_text() for figure in drawn] == ["1 µm", "5 µm"]


def test_the_chosen_cell(drawn):
    values = write_stack(channels=2)
    assert visualize.main(["-i", "stack7.h5", "--first", "2"]) == 0
    assert np.allclose(drawn[0].axes[0].images[0].get_array()[..., 0], values[2, ..., 0])
    assert [text.get_text() for text in drawn[0].texts] == [
        "stack of unknown origin, cell 3 of 3 (--first 2)", "stack7.h5"]


def test_several_cells_with_a_palette_and_an_output_path(capsys, drawn):
    write_stack()
    assert visualize.main(["-i", "stack7.h5", "-n", "3", "--palette", "magenta-green", "-o", "out/cells.png"]) == 0
    assert capsys.readouterr().out == "Output picture to file: out/cells.png\n"
    assert Image.open("out/cells.png").size[0] > 600 and not Path("images").exists()
    picture = np.asarray(drawn[0].axes[0].images[0].get_array())
    red = picture[40:60, 20:40]
    assert (red[..., 0] == red[..., 2]).all() and len(drawn[0].axes) == 1


def test_verbose(capsys):
    write_stack(source="weights\x1b[31m.h5")
    assert visualize.main(["-i", "stack7.h5", "-v"]) == 0
    out = capsys.readouterr().out
    assert "3 cells, 12 x 20 pixels, 7 channels" in out and "Tea1" in out and "seed: 1" in out and "\x1b" not in out


def picture(mode, size=(20, 12)):
    channels = np.random.default_rng(0).integers(1, 255, (size[1], size[0], 3)).astype("uint8")
    if mode == "RG":
        channels[..., 2] = 0
    if mode == "gray":
        channels[:] = channels[..., :1]
    return Image.fromarray(channels) if mode in ("RG", "RGB", "gray") else Image.fromarray(channels).convert(mode)


@pytest.mark.parametrize("mode, name, expected", [
    ("RG", "cell.png", ["red", "green", "red + green"]), ("RGB", "cell.png", [""]), ("gray", "cell.png", ["gray"]),
    ("L", "cell.jpg", ["gray"]), ("1", "cell.png", ["gray"]), ("P", "cell.gif", [""]), ("RGBA", "cell.png", [""]),
    ("LA", "cell.png", ["gray"]), ("CMYK", "cell.tif", [""])])
def test_image_files(mode, name, expected, capsys, drawn):
    picture(mode).save(name)
    assert visualize.main(["-i", name, "-v"]) == 0
    assert titles(drawn[0]) == expected
    out = capsys.readouterr().out
    assert "drawn: " in out and out.endswith("Output picture to file: images/cell.channels.png\n")


def test_16_bits_are_scaled_like_those_of_a_set():
    Image.fromarray(np.array([[100, 304], [610, 202]], "uint16")).save("cell.tif")
    drawing = drawings.read_drawing(Path("cell.tif"))
    assert np.allclose(drawing.cells[0, ..., 0], np.array([[0, 102], [255, 51]]) / 255)
    assert any("from black to white: 100 to 610" in remark for remark in drawing.remarks)


@pytest.mark.parametrize("count, names", [(2, ["red", "green"]), (4, [f"channel {k}" for k in (1, 2, 3, 4)]),
                                          (5, ["gray"])])
def test_pages_of_a_tiff(count, names):
    pages = [Image.fromarray(np.full((12, 20), 10 * k, "uint8")) for k in range(count)]
    pages[0].save("cell.tif", save_all=True, append_images=pages[1:])
    drawing = drawings.read_drawing(Path("cell.tif"))
    assert drawing.names == names and np.allclose(drawing.cells[0, 0, 0] * 255, [10 * k for k in range(len(names))])


def test_pages_of_different_sizes_are_not_channels():
    picture("L").save("cell.tif", save_all=True, append_images=[picture("L", (10, 10))])
    assert drawings.read_drawing(Path("cell.tif")).names == ["gray"]


def test_a_picture_in_images_is_not_replaced_by_its_drawing():
    os.mkdir("images")
    picture("RG").save("images/cell.png")
    before = Path("images/cell.png").read_bytes()
    assert visualize.main(["-i", "images/cell.png"]) == 0
    assert Path("images/cell.png").read_bytes() == before and Path("images/cell.channels.png").exists()


def test_with_a_screen_a_window_opens(monkeypatch, capsys):
    """A file is written only with -o."""
    from matplotlib import pyplot
    shown = []
    monkeypatch.setattr(visualize, "new_window", pyplot.figure)
    monkeypatch.setattr(pyplot, "show", lambda: shown.append(len(pyplot.gcf().axes)))
    write_stack()
    assert visualize.main(["-i", "stack7.h5"]) == 0
    assert shown == [14] and not Path("images").exists() and capsys.readouterr().out == ""
    pyplot.close("all")
    assert visualize.main(["-i", "stack7.h5", "-o", "both.png"]) == 0
    assert shown == [14, 14] and Path("both.png").exists()
    pyplot.close("all")


@pytest.mark.parametrize("settings, reason", [
    ({"DISPLAY": "nowhere:77"}, "DISPLAY=nowhere:77 does not answer"),
    ({"DISPLAY": ":0", "MPLBACKEND": "agg"}, "MPLBACKEND=agg opens none here")])
def test_an_unreachable_screen_counts_as_none(settings, reason, tmp_path):
    """One line says why there is no window, and the picture is written."""
    write_stack(channels=2)
    done = subprocess.run([sys.executable, ROOT / "bin" / "visualize.py", "-i", "stack7.h5"], cwd=tmp_path,
                          env=os.environ | settings, capture_output=True, text=True)
    if "no toolkit" not in done.stderr:         # a Python without tkinter
        assert f"no window: {reason}" in done.stderr
    assert done.stderr.count("\n") == 1 and done.stdout == "Output picture to file: images/stack7.png\n"
    assert Path("images/stack7.png").is_file()


def test_without_a_screen_nothing_is_said_about_windows(capsys):
    write_stack(channels=2)
    assert visualize.main(["-i", "stack7.h5"]) == 0 and capsys.readouterr().err == ""


# ---------------------------------------------------------------------------------------------- names of pictures

def written(capsys, *arguments):
    assert visualize.main(["-i", *arguments]) == 0
    return capsys.readouterr().out.removeprefix("Output picture to file: images/").strip()


def brightfield(channels):
    """An image file of a dark ring on gray, with a bright spot in its second channel."""
    y, x = np.mgrid[:24, :24] - 11.5
    image = np.zeros((24, 24, 3), "uint8")
    image[..., 0] = np.where(np.abs(np.hypot(y, x) - 8) < 1.5, 30, 128)
    image[..., 1] = np.where(np.hypot(y, x) < 5, 255, 0)
    image[3, 3, 2] = 100 * (channels > 2)
    Image.fromarray(image).save("cell.png")


@pytest.mark.parametrize("channels, first, options, expected", [
    (2, "transmitted light", [], (128, 128, 128)), (2, "red", ["--transmitted", "none"], (128, 0, 0)),
    (2, "red", ["--transmitted", "2"], (128, 0, 0)), (3, "R", [], (128, 128, 128)),
    (3, "", ["--transmitted", "none"], (128, 0, 0))])
def test_brightfield_is_gray_unless_the_user_says_otherwise(drawn, channels, first, options, expected):
    brightfield(channels)
    assert visualize.main(["-i", "cell.png", "-o", "a.png", *options]) == 0
    axes = drawn[0].axes[0]
    picture = np.asarray(axes.images[0].get_array())
    shown = np.rint(255 * picture[0, 0]) if picture.dtype.kind == "f" else picture[0, 0]
    assert axes.get_title() == first and shown.tolist() == [*expected]


@pytest.mark.parametrize("number, remark", [("3", "--transmitted 3: the images have 2 channels"),
                                            ("0", "'0' is not a whole number above 0"), ("all", "'all' is not")])
def test_channels_that_are_not_there(capsys, number, remark):
    brightfield(2)
    try:
        assert visualize.main(["-i", "cell.png", "--transmitted", number]) == 2
    except SystemExit as ended:
        assert ended.code == 2
    assert remark in capsys.readouterr().err


def test_pictures_of_different_things_get_different_names(capsys):
    """Files of the same name in two folders, and different cells of a file; repeating a command replaces its picture.
    """
    for folder in (".", "other"):
        os.makedirs(folder, exist_ok=True)
        write_stack(f"{folder}/stack7.h5", channels=2)
    for _ in range(2):
        assert written(capsys, "stack7.h5") == "stack7.png"
        assert written(capsys, "stack7.h5", "--first", "1") == "stack7.first1.png"
        assert written(capsys, "./stack7.h5", "-n", "2", "--first", "1") == "stack7.first1.n2.png"
        assert written(capsys, os.path.abspath("other/stack7.h5")) == "stack7-2.png"
        assert written(capsys, "other/stack7.h5", "--first", "1") == "stack7.first1-2.png"
    assert written(capsys, "stack7.h5", "--palette", "magenta-green") == "stack7.png"
    assert len(list(Path("images").iterdir())) == 5


def test_a_picture_of_someone_else_is_kept(capsys):
    os.mkdir("images")
    Path("images/stack7.png").write_text("mine")
    write_stack(channels=2)
    assert written(capsys, "stack7.h5") == "stack7-2.png" and Path("images/stack7.png").read_text() == "mine"


# ---------------------------------------------------------------------------------------------- captions

def caption(figure):
    return " ".join(text.get_text() for text in figure.texts[:-1])


MADE = {"architecture": "DCGAN", "algorithm": "WGAN-GP", "iteration": np.int64(7000), "seed": 5}


@pytest.mark.parametrize("options, place", [([], "cell 1 of 3"), (["-n", "2"], "cells 1 to 2 of 3"),
                                            (["-n", "2", "--first", "1"], "cells 2 to 3 of 3 (--first 1)")])
def test_the_picture_states_who_made_the_cells(options, place, drawn, capsys):
    write_stack(channels=2, **MADE)
    assert visualize.main(["-i", "stack7.h5", *options]) == 0
    assert caption(drawn[0]) == f"generated by DCGAN WGAN-GP, iteration 7,000, seed 5, {place}"
    path = capsys.readouterr().out.split()[-1]
    assert Image.open(path).info["Source"] == caption(drawn[0])


def test_a_long_caption_is_wrapped_within_the_picture(drawn):
    write_stack(channels=1, architecture="DCGAN-separable-" + 20 * "x", algorithm="WGAN-GP " * 9, seed=2**31 - 1)
    assert visualize.main(["-i", "stack7.h5"]) == 0
    lines = [text.get_text() for text in drawn[0].texts]
    assert 3 <= len(lines) <= 4 and lines[0].startswith("generated by DCGAN-separable")
    drawn[0].draw_without_rendering()
    boxes = [text.get_window_extent() for text in drawn[0].texts] + [drawn[0].axes[0].title.get_window_extent()]
    assert all(box.x1 <= drawn[0].bbox.x1 and box.y1 <= drawn[0].bbox.y1 for box in boxes)
    assert all(above.y0 >= below.y1 - 1 for above, below in zip(boxes, boxes[1:]))


def test_an_image_is_never_called_real_without_a_source(drawn):
    write_images(Path("mine/cells_train"), number=1)
    write_images(Path("simulated/cells_train"), number=1)
    Path("simulated/SIMULATED.txt").write_text("The images in this folder were simulated")
    for folder in ("mine", "simulated"):
        assert visualize.main(["-i", f"{folder}/cells_train/Tea1/cell000.png"]) == 0
    assert [caption(figure) for figure in drawn] == ["image file", "simulated by biogans"]
    assert drawn[0].texts[1].get_text() == "Tea1/cell000.png"


# ---------------------------------------------------------------------------------------------- bad input

def _dataset(name="f.h5", **arguments):
    with h5py.File(name, "w") as file:
        file.create_dataset("stack", **arguments)
    return name


def _claims_terabytes():
    return _dataset(shape=(10**6, 1000, 1000, 7), chunks=(1, 10, 10, 7), dtype="f4")


def _one_huge_cell():
    return _dataset(shape=(1, 30000, 30000, 7), chunks=(1, 10, 10, 7), dtype="u1")


def _huge_chunk():
    return _dataset(shape=(1, 40000, 40000, 1), chunks=(1, 40000, 40000, 1), dtype="u1", compression="gzip")


def _not_a_number():
    return _dataset(data=np.full((1, 4, 4, 2), np.nan, "f4"))


def _link(link):
    write_stack("real.h5")
    with h5py.File("f.h5", "w") as file:
        file["stack"] = link
    return "f.h5"


def _external_storage():
    Path("raw.bin").write_bytes(bytes(1000))
    return _dataset(shape=(1, 4, 4, 2), dtype="f4", external=[("raw.bin", 0, 1000)])


def _virtual():
    write_stack("real.h5")
    layout = h5py.VirtualLayout((3, 12, 20, 7), "f4")
    layout[:] = h5py.VirtualSource("real.h5", "stack", (3, 12, 20, 7))
    with h5py.File("f.h5", "w") as file:
        file.create_virtual_dataset("stack", layout)
    return "f.h5"


def _weights(name):
    with h5py.File(name, "w") as file:
        file.create_group("layers/dense")
    return name


def _group():
    with h5py.File("f.h5", "w") as file:
        file.create_group("stack")
    return "f.h5"


def _empty_hdf5():
    h5py.File("f.h5", "w").close()
    return "f.h5"


def _cut(path, keep):
    Path(path).write_bytes(Path(path).read_bytes()[:keep])
    return path


def _cut_stack():
    write_stack("f.h5")
    return _cut("f.h5", 5000)


def _cut_png():
    picture("RGB", (200, 120)).save("f.png")
    return _cut("f.png", 20000)


def _text(name):
    Path(name).write_text("not what you think")
    return name


def _bomb():
    import struct
    import zlib
    header = b"IHDR" + struct.pack(">IIBBBBB", 60000, 60000, 1, 0, 0, 0, 0)
    chunks = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + struct.pack(">I", 0) + b"IDAT"
    Path("f.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks + struct.pack(">I", zlib.crc32(b"IDAT")))
    return "f.png"


def _float_tiff():
    Image.fromarray(np.array([[np.nan, 1]], "float32")).save("f.tif")
    return "f.tif"


def _postscript():
    Path("f.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")
    return "f.eps"


def _folder():
    os.mkdir("folder")
    return "folder"


def _renamed_critic():
    with h5py.File("f.h5", "w") as file:
        file.create_group("layers/dense")
        file.attrs["biogans"] = json.dumps({"holds": "critic 0"})
    return "f.h5"


def _other_arrays():
    with h5py.File("f.h5", "w") as file:
        file["labels"] = file["images"] = np.zeros(3)
    return "f.h5"


def _data_folder():
    os.makedirs("cells_train/Tea1")
    picture("RG").save("cells_train/Tea1/a.png")
    return "cells_train"


def _folder_of_files():
    os.mkdir("files")
    picture("RG").save("files/cell.png")
    write_stack("files/stack2.h5")
    _weights("files/model.generator.DCGAN.GAN.1.h5")
    return "files"


BAD = {
    "missing": (lambda: "none.h5", "no such file"),
    "folder": (_folder, "a folder without images"),
    "device": (lambda: "/dev/null", "not an ordinary file"),
    "text": (lambda: _text("f.png"), "a text file: give an image stack"),
    "text.h5": (lambda: _text("f.h5"), "not an HDF5 file"),
    "empty": (lambda: Path("f.tif").touch() or "f.tif", "can't be read"),
    "postscript": (_postscript, "a text file"),
    "cut stack": (_cut_stack, "damaged or incomplete"),
    "cut png": (_cut_png, "can't be read"),
    "bomb": (_bomb, "f.png"),
    "nan image": (_float_tiff, "NaN"),
    "weights by name": (
        lambda: _weights("weights.generator.DCGAN.GAN.1.h5"),
        "weights file: generate cells from it with predict.py -i weights.generator.DCGAN.GAN.1.h5 first"),
    "weights by content": (lambda: _weights("f.h5"), "this is a weights file"),
    "critic": (lambda: _weights("weights.critic[0].DCGAN.WGAN-GP.2.h5"), "of a critic, which generates nothing"),
    "discriminator": (lambda: _weights("weights.discriminator.DCGAN.GAN.1.h5"), "weights of a discriminator"),
    "renamed critic": (_renamed_critic, "weights of a critic"),
    "training state": (lambda: _weights("weights.combined_model.DCGAN.GAN.1.h5"), "predict.py -i weights.combined"),
    "no stack": (_empty_hdf5, "no dataset named stack in this file, which holds nothing"),
    "other arrays": (_other_arrays, "which holds images, labels: give one that predict.py wrote, or name yours stack"),
    "data folder": (_data_folder, "give one of them, such as cells_train/Tea1/a.png"),
    "folder of files": (_folder_of_files, "give one of its files, such as files/stack2.h5"),
    "group": (_group, "not a dataset"),
    "3 dimensions": (lambda: _dataset(data=np.zeros((4, 4, 2), "f4")), "3 dimensions"),
    "scalar": (lambda: _dataset(data=1.0), "0 dimensions"),
    "null": (lambda: _dataset(data=h5py.Empty("f4")), "0 dimensions"),
    "strings": (lambda: _dataset(data=np.zeros((1, 1, 1, 1), "S3")), "float32"),
    "no cells": (lambda: _dataset(data=np.zeros((0, 4, 4, 2), "f4")), "empty"),
    "channels first": (lambda: _dataset(data=np.zeros((1, 7, 48, 80), "f4")), "80 channels"),
    "terabytes": (_claims_terabytes, "GiB"),
    "huge cell": (_one_huge_cell, "too much"),
    "huge chunk": (_huge_chunk, "GiB"),
    "nan": (_not_a_number, "NaN"),
    "range": (lambda: _dataset(data=np.full((1, 4, 4, 2), 200, "f4")), "value_range"),
    "external link": (lambda: _link(h5py.ExternalLink("real.h5", "/stack")), "a link"),
    "missing external link": (lambda: _link(h5py.ExternalLink("none.h5", "/stack")), "a link"),
    "soft link": (lambda: _link(h5py.SoftLink("/elsewhere")), "a link"),
    "external storage": (_external_storage, "other files"),
    "virtual": (_virtual, "other files"),
}


def refused(arguments, capsys):
    before = set(Path().rglob("*"))
    assert visualize.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and captured.out == "" and "Traceback" not in captured.err
    assert set(Path().rglob("*")) == before                 # nothing was written
    return captured.err


@pytest.mark.parametrize("case", BAD)
def test_bad_files(case, capsys):
    build, remark = BAD[case]
    path = build()
    message = refused(["-i", path], capsys)
    assert remark in message and path in message


@pytest.mark.parametrize("options, remark", [
    (["--first", "3"], "cells 3 to 3"), (["-n", "4"], "it has 3"), (["--first", "-1"], "counted from 0"),
    (["-n", "0"], "1 to"), (["--pixel_size", "nan"], "µm"), (["--pixel_size", "-1"], "µm"),
    (["-o", "a.txt"], ".png"), (["-o", "folder.png"], "a folder"), (["-o", "stack7.h5/a.png"], "a file stands")])
def test_bad_options(options, remark, capsys):
    write_stack()
    os.mkdir("folder.png")
    assert remark in refused(["-i", "stack7.h5", *options], capsys)


def test_options_of_stacks_on_an_image_and_the_input_as_output(capsys):
    picture("RG").save("cell.png")
    assert "one cell" in refused(["-i", "cell.png", "-n", "2"], capsys)
    assert "input file" in refused(["-i", "cell.png", "-o", "cell.png"], capsys)


@pytest.mark.parametrize("arguments", [[], ["-i"], ["-i", "a", "-n", "many"], ["-i", "a", "--palette", "blue"]])
def test_wrong_command_lines(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        visualize.main(arguments)
    captured = capsys.readouterr()
    assert ended.value.code == 2 and captured.err.count("\n") == 1 and "visualize.py" in captured.err


def test_the_parser_imports_no_libraries():
    code = ("import sys; from biogans.core import visualize; visualize.parser(); "
            "sys.exit(bool({'keras', 'h5py', 'matplotlib', 'PIL'} & set(sys.modules)))")
    assert subprocess.run([sys.executable, "-c", code], env=os.environ | TEST_MODULES).returncode == 0


def test_the_pixel_size_of_an_image_file(tmp_path):
    """The PNGs of the sample data state it as their resolution; a printer's 300 dots per inch are ignored."""
    pixels = np.zeros((48, 80, 3), np.uint8)
    pixels[10:30, 10:60, :2] = 200
    for per_inch, expected in ((25400 / 0.19, pytest.approx(0.19, rel=1e-3)), (300, None)):
        Image.fromarray(pixels).save(tmp_path / "cell.png", dpi=(per_inch, per_inch))
        assert drawings.read_drawing(tmp_path / "cell.png").pixel_size_um == expected
