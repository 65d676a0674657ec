"""What microscopes, Fiji and people write: each file is read as a viewer shows it, and every assumption is told."""

import os
import re

import numpy as np
import pytest
import tifffile
from PIL import Image

from biogans.core import dataloader
from biogans.io import image_files
from biogans.io.image_sets import ReadSettings
from biogans.system.errors import InputError
from conftest import ROOT, guarded, write_png

RNG = np.random.default_rng(0)
HEIGHT, WIDTH = 24, 40
GRAY = RNG.integers(0, 256, (HEIGHT, WIDTH), np.uint8)
RGB = np.stack([GRAY, GRAY[::-1], GRAY // 3], axis=-1)
RED_GREEN = RGB * np.uint8((1, 1, 0))
STACK = RNG.integers(0, 999, (3, HEIGHT, WIDTH)).astype(np.uint16)


def read(path, **settings):
    """The Reading of a file. Raises InputError."""
    result = image_files.read_or_error(path, **settings)
    if isinstance(result, InputError):
        raise result
    return result


def test_no_other_function_lets_a_file_choose_its_decoder():
    """Pillow runs Ghostscript on an EPS, whatever its name; modules that open our own pictures name their format."""
    calls = [line for path in (ROOT / "src").rglob("*.py") for line in path.read_text().splitlines()
             if re.search(r"Image\.open\(|imread|imageio\.v[23]\.(im|m|vol)", line)]
    assert len(calls) > 3 and all("formats=" in call for call in calls), calls


def write_png16(path, pixels):
    """A PNG of 16-bit colours (height, width, 3), which Pillow can't write."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    write_png(path, pixels.shape[1], pixels.shape[0], 16, 2, rows)


# ---------------------------------------------------------------------------------------------- compression

@pytest.mark.parametrize("compression", ["lzw", "zlib", "zstd", "lzma", "packbits", "jpeg2000", "deflate", "lerc"])
def test_compressed_tiffs(tmp_path, compression):
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb", compression=compression)
    assert (read(tmp_path / "a.tif").frames[0] == RGB).all()


def test_jpeg_in_a_tiff_is_nearly_the_image_and_known_to_be_lossy(tmp_path):
    smooth = np.linspace(0, 200, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint8)
    colours = np.stack([smooth, smooth[::-1], smooth // 2], axis=-1)
    tifffile.imwrite(tmp_path / "a.tif", colours, photometric="rgb", compression="jpeg", compressionargs={"level": 95})
    found = read(tmp_path / "a.tif")
    assert found.lossy and np.abs(found.frames[0].astype(int) - colours).mean() < 4


def test_bilevel_fax(tmp_path):
    Image.fromarray(GRAY > 99).save(tmp_path / "a.tif", compression="group4")
    assert (read(tmp_path / "a.tif").frames[0, ..., 0] == np.where(GRAY > 99, 255, 0)).all()


def test_png_of_16_bit_colours_keeps_all_bits(tmp_path):
    deep = RGB.astype(np.uint16) * 257 // 16
    write_png16(tmp_path / "a.png", deep)
    assert (read(tmp_path / "a.png").frames[0] == deep).all()


@pytest.mark.parametrize("suffix", [".btf", ".tf8", ".lsm", ".stk", ".TIFF", ".png"])
def test_a_tiff_is_known_by_its_content(tmp_path, suffix):
    tifffile.imwrite(tmp_path / "a.tif", GRAY, bigtiff=suffix == ".btf")
    (tmp_path / "a.tif").rename(tmp_path / f"a{suffix}")
    assert (read(tmp_path / f"a{suffix}").frames[0, ..., 0] == GRAY).all()


# ---------------------------------------------------------------------------------------------- colours

@pytest.mark.parametrize("pixels", [GRAY, STACK[0]])
def test_white_is_zero(tmp_path, pixels):
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="miniswhite")
    assert (read(tmp_path / "a.tif").frames[0, ..., 0] == np.iinfo(pixels.dtype).max - pixels).all()


@pytest.mark.parametrize("suffix", [".png", ".tif", ".gif"])
def test_a_palette_of_colours_is_rgb(tmp_path, suffix):
    colours = RNG.integers(0, 256, (7, 3), np.uint8)
    indices = RNG.integers(0, 7, (HEIGHT, WIDTH), np.uint8)
    picture = Image.fromarray(indices, "P")
    picture.putpalette(colours.tobytes())
    picture.save(tmp_path / f"a{suffix}")
    assert (read(tmp_path / f"a{suffix}").frames[0] == colours[indices]).all()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_palette_of_grays_is_gray(tmp_path, suffix):
    shades = np.repeat(np.arange(256, dtype=np.uint8)[::-1, None], 3, axis=1)
    picture = Image.fromarray(GRAY, "P")
    picture.putpalette(shades.tobytes())
    picture.save(tmp_path / f"a{suffix}")
    assert (read(tmp_path / f"a{suffix}").frames[0, ..., 0] == 255 - GRAY).all()


@pytest.mark.parametrize("mode, suffix, within", [("CMYK", ".tif", 1), ("CMYK", ".jpg", 60), ("LAB", ".tif", 6)])
def test_printed_colours_become_rgb(tmp_path, mode, suffix, within):
    picture = Image.fromarray(RED_GREEN)
    if mode == "LAB":
        from PIL import ImageCms
        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        picture = ImageCms.applyTransform(picture, ImageCms.buildTransform(srgb, lab, "RGB", "LAB"))
    else:
        picture = picture.convert(mode)
    picture.save(tmp_path / f"a{suffix}", **({"quality": 95} if suffix == ".jpg" else {}))
    found = read(tmp_path / f"a{suffix}").frames[0].astype(int)
    assert found.shape == RGB.shape and np.median(np.abs(found - RED_GREEN)) <= within
    assert np.abs(found.mean((0, 1)) - RED_GREEN.mean((0, 1))).max() < 12


def test_luma_and_chroma_become_rgb(tmp_path):
    luma = Image.fromarray(RGB).convert("YCbCr")
    tifffile.imwrite(tmp_path / "a.tif", np.asarray(luma), photometric="ycbcr", compression=None,
                     subsampling=(1, 1))
    assert np.abs(read(tmp_path / "a.tif").frames[0].astype(int) - RGB).max() <= 3


def test_unknown_colours_are_named(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GRAY, photometric="cfa", extratags=[(33421, 3, 2, (2, 2)),
                                                                          (33422, 1, 4, b"\x00\x01\x01\x02")])
    with pytest.raises(InputError, match="its colours are CFA: save it as gray or RGB"):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_images_are_upright(tmp_path, orientation):
    """TIFF 6.0, tag Orientation; Pillow turns the reference."""
    exif = Image.Exif()
    exif[0x112] = orientation
    Image.fromarray(RGB).save(tmp_path / "a.png", exif=exif)
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb", extratags=[(274, 3, 1, orientation)])
    turn = {1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: a.transpose(1, 0, 2),
            6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).transpose(1, 0, 2), 8: np.rot90}[orientation]
    for name in ("a.png", "a.tif"):
        assert (read(tmp_path / name).frames[0] == turn(RGB)).all(), name


# ---------------------------------------------------------------------------------------------- axes and series

def test_a_thumbnail_is_left_out(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(RGB[::4, ::4], photometric="rgb", subfiletype=1)
        file.write(RGB, photometric="rgb")
    found = read(tmp_path / "a.tif")
    assert (found.frames == RGB).all() and not found.notes


def test_all_series_of_the_largest_shape_are_read_and_others_told(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for pixels in (RGB, RGB[::-1], RGB[:12]):
            file.write(pixels, photometric="rgb")
    found = read(tmp_path / "a.tif")
    assert (found.frames == np.stack([RGB, RGB[::-1]])).all()
    assert found.notes == ("1 smaller or different images in the file are left out",)


AS_CHANNELS, AS_IMAGES = np.moveaxis(STACK, 0, -1)[None], STACK[..., None]


@pytest.mark.parametrize("axes, frames", [("", AS_CHANNELS), ("CYX", AS_CHANNELS), ("tyx", AS_IMAGES),
                                          ("ZYX", AS_IMAGES)])
def test_planes_without_meaning_are_channels_unless_axes_say_otherwise(tmp_path, axes, frames):
    tifffile.imwrite(tmp_path / "a.tif", STACK, photometric="minisblack")
    found = read(tmp_path / "a.tif", axes=axes)
    assert (found.frames == frames).all()
    assert bool(found.notes) == (not axes)
    if not axes:
        assert found.notes == ("3 planes without a stated meaning are taken as 3 channels: --axes CYX is assumed; "
                               "--axes TYX reads 3 images",)


@pytest.mark.parametrize("shape", [(HEIGHT, WIDTH, 2), (7, HEIGHT, WIDTH, 2)])
def test_channels_last_without_metadata(tmp_path, shape):
    pixels = RNG.integers(0, 255, shape).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack")
    found = read(tmp_path / "a.tif")
    assert (found.frames == pixels.reshape(-1, *shape[-3:])).all() and "looks like channels last" in found.notes[0]


def test_axes_that_do_not_fit(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK, photometric="minisblack")
    with pytest.raises(InputError, match="--axes YX does not fit an array of 3x24x40: give one of the letters"):
        read(tmp_path / "a.tif", axes="YX")


def write_ome_set(folder, number=5):
    """An OME-TIFF set: one time point in each file, and all metadata in each."""
    ids = [f"urn:uuid:00000000-0000-0000-0000-00000000000{k}" for k in range(number)]
    planes = "".join(f'<TiffData FirstT="{k}" FirstC="0" FirstZ="0" IFD="0" PlaneCount="1">'
                     f'<UUID FileName="t{k}.ome.tif">{ids[k]}</UUID></TiffData>' for k in range(number))
    pixels = RNG.integers(0, 999, (number, HEIGHT, WIDTH)).astype(np.uint16)
    folder.mkdir()
    for k in range(number):
        xml = (f'<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="{ids[k]}">'
               f'<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SizeX="{WIDTH}" '
               f'SizeY="{HEIGHT}" SizeC="1" SizeZ="1" SizeT="{number}"><Channel ID="C:0"/>{planes}</Pixels></Image>'
               f'</OME>')
        tifffile.imwrite(folder / f"t{k}.ome.tif", pixels[k], description=xml, metadata=None, photometric="minisblack")
    return pixels


def test_each_plane_of_an_ome_set_is_read_once(tmp_path, capsys):
    pixels = write_ome_set(tmp_path / "A")
    images = dataloader.load(tmp_path, settings=ReadSettings(percentiles=(0, 100)))
    expected = np.rint(255.0 * (pixels - pixels.min()) / (pixels.max() - pixels.min()))
    assert (images.pixels[..., 0] == expected).all()
    assert "5 files are one OME-TIFF set, read through t0.ome.tif" in capsys.readouterr().out


def test_a_missing_file_of_an_ome_set_is_named(tmp_path):
    write_ome_set(tmp_path / "A")
    (tmp_path / "A" / "t3.ome.tif").unlink()
    with pytest.raises(InputError, match="t3.ome.tif"):
        dataloader.load(tmp_path)


def test_an_ome_set_reaches_into_no_other_folder(tmp_path):
    write_ome_set(tmp_path / "A", 2)
    path = tmp_path / "A" / "t0.ome.tif"
    path.write_bytes(path.read_bytes().replace(b'"t1.ome.tif"', b'"../../.tif"'))
    with pytest.raises(InputError, match="names a file in another folder"):
        read(path)


# ---------------------------------------------------------------------------------------------- pixel size

@pytest.mark.parametrize("settings", [
    {"imagej": True, "metadata": {"axes": "CYX", "unit": "micron"}, "resolution": (10, 10)},
    {"imagej": True, "metadata": {"axes": "CYX", "unit": "nm"}, "resolution": (0.01, 0.01)},
    {"ome": True, "photometric": "minisblack", "metadata": {"axes": "CYX", "PhysicalSizeX": 0.1,
                                                            "PhysicalSizeXUnit": "µm"}},
    {"ome": True, "photometric": "minisblack", "metadata": {"axes": "CYX", "PhysicalSizeX": 100,
                                                            "PhysicalSizeXUnit": "nm"}},
    {"photometric": "minisblack", "resolution": (100000, 100000), "resolutionunit": "CENTIMETER"},
    {"photometric": "minisblack", "resolution": (254000, 254000), "resolutionunit": "INCH"}])
def test_pixel_size_of_tiffs(tmp_path, settings):
    tifffile.imwrite(tmp_path / "a.tif", STACK, **settings)
    assert read(tmp_path / "a.tif").pixel_size_um == pytest.approx(0.1)


@pytest.mark.parametrize("settings", [{}, {"resolution": (300, 300), "resolutionunit": "INCH"},
                                      {"imagej": True, "resolution": (300, 300), "metadata": {"axes": "CYX"}}])
def test_no_pixel_size_is_invented(tmp_path, settings):
    tifffile.imwrite(tmp_path / "a.tif", STACK, **{"photometric": "minisblack", **settings})
    assert read(tmp_path / "a.tif").pixel_size_um is None


# ---------------------------------------------------------------------------------------------- values

def test_complex_numbers_and_infinities_are_named(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GRAY.astype(np.complex64), photometric="minisblack")
    with pytest.raises(InputError, match="complex numbers: save their magnitude"):
        read(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "a.tif", np.where(GRAY > 250, np.inf, GRAY).astype(np.float32))
    with pytest.raises(InputError, match="infinite"):
        read(tmp_path / "a.tif", nan_is_background=True)


def test_nan_is_refused_or_background(tmp_path):
    border = np.where(np.arange(WIDTH) < 3, np.nan, 1000.0 + GRAY).astype(np.float32)
    (tmp_path / "A").mkdir()
    tifffile.imwrite(tmp_path / "A" / "a.tif", border)
    with pytest.raises(InputError, match="NaN: let them be background with --nan background"):
        dataloader.load(tmp_path)
    pixels = dataloader.load(tmp_path, settings=ReadSettings(nan_is_background=True)).pixels[0, ..., 0]
    assert not pixels[:, :3].any() and pixels[:, 3:].max() == 255 and np.median(pixels[:, 3:]) > 100


# ---------------------------------------------------------------------------------------------- channels of a set

def test_noise_of_jpeg_makes_no_channel(tmp_path, capsys):
    (tmp_path / "A").mkdir()
    Image.fromarray(RED_GREEN).save(tmp_path / "A" / "a.jpg", quality=75)
    assert dataloader.load(tmp_path).pixels.shape[-1] == 2
    assert "channel 3 is nearly empty and taken as noise of JPEG (--channels 1,2,3 keeps it)" in capsys.readouterr().out
    assert dataloader.load(tmp_path, settings=ReadSettings((1, 2, 3))).pixels.shape[-1] == 3


def test_three_equal_channels_are_one(tmp_path, capsys):
    (tmp_path / "A").mkdir()
    Image.fromarray(np.stack([GRAY] * 3, axis=-1)).save(tmp_path / "A" / "a.png")
    assert (dataloader.load(tmp_path).pixels[0, ..., 0] == GRAY).all()
    assert "the three channels are equal" in capsys.readouterr().out


def test_two_of_five_channels(tmp_path):
    """Of files with more channels than networks learn, some must be chosen."""
    (tmp_path / "A").mkdir()
    pixels = RNG.integers(0, 256, (5, HEIGHT, WIDTH)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "A" / "a.ome.tif", pixels, metadata={"axes": "CYX"})
    with pytest.raises(InputError, match="5 channels: choose those to use, at most 4, with --channels"):
        dataloader.load(tmp_path)
    with pytest.raises(InputError, match="choose at most 4"):
        dataloader.load(tmp_path, settings=ReadSettings((1, 2, 3, 4, 5)))
    found = dataloader.load(tmp_path, settings=ReadSettings((1, 5)))
    assert np.array_equal(found.pixels[0], np.moveaxis(pixels[[0, 4]], 0, -1)) and found.settings.channels == (1, 5)
    assert ReadSettings.from_json(found.settings.to_json()) == found.settings


@pytest.mark.parametrize("alpha, told", [(255, False), (None, True)])
def test_transparency_that_varies_is_a_channel_and_said_so(tmp_path, capsys, alpha, told):
    (tmp_path / "A").mkdir()
    pixels = np.dstack([RGB, np.full_like(GRAY, alpha) if alpha else GRAY.T.reshape(GRAY.shape)])
    Image.fromarray(pixels).save(tmp_path / "A" / "a.png")
    assert dataloader.load(tmp_path).pixels.shape[-1] == (4 if told else 3)
    assert ("transparency is read as channel 4 (--channels 1,2,3 leaves it out)" in capsys.readouterr().out) == told


def test_an_unknown_format_is_named(tmp_path):
    (tmp_path / "A").mkdir()
    for k in range(3):
        (tmp_path / "A" / f"{k}.oib").write_bytes(b"data")
    with pytest.raises(InputError, match="3 .oib files can't be read: if they are images, save them as OME-TIFF"):
        dataloader.load(tmp_path)


# ---------------------------------------------------------------------------------------------- containers

@pytest.mark.parametrize("suffix, library", [(".nd2", "nd2"), (".lif", "liffile"), (".czi", "pylibCZIrw")])
def test_files_of_microscope_makers_name_their_library_or_are_refused(tmp_path, suffix, library, monkeypatch):
    (tmp_path / "A").mkdir()
    path = tmp_path / "A" / f"a{suffix}"
    path.write_bytes(b"\xda\xce\xbe\x0a" + bytes(400))
    with pytest.raises(InputError, match=r"can't be read|\[microscopes\]"):
        dataloader.load(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, library, None)
    with pytest.raises(InputError, match=rf"{library}, which is missing: install biogans with \[microscopes\]"):
        read(path)


def test_zeiss_files(tmp_path):
    czi = pytest.importorskip("pylibCZIrw.czi", reason="writes the file of this test")
    with czi.create_czi(str(tmp_path / "a.czi")) as file:
        for channel in range(2):
            file.write(STACK[channel], plane={"C": channel, "T": 0, "Z": 0})
        file.write_metadata("cells", scale_x=1e-7, scale_y=1e-7)
    found = read(tmp_path / "a.czi")
    assert (found.frames[0] == np.moveaxis(STACK[:2], 0, -1)).all()
    assert found.pixel_size_um == pytest.approx(0.1)


def write_zarr(path, pixels, version, codecs=None):
    """An OME-Zarr image, (t, c, y, x), by its specification."""
    zarr = pytest.importorskip("zarr", reason="writes the folder of this test")
    group = zarr.create_group(str(path), zarr_format=2 if version == "0.4" else 3)
    group.create_array("0", data=pixels, chunks=(1, 1, *pixels.shape[2:]), **(codecs or {}))
    axes = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}] + [
        {"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    scale = [{"type": "scale", "scale": [1, 1, 0.1, 0.1]}]
    image = {"version": version, "axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
    group.attrs.update({"multiscales": [image]} if version == "0.4" else {"ome": {"version": version,
                                                                                  "multiscales": [image]}})


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr(tmp_path, version):
    pixels = RNG.integers(0, 999, (4, 2, HEIGHT, WIDTH)).astype(np.uint16)
    (tmp_path / "A").mkdir()
    write_zarr(tmp_path / "A" / "a.zarr", pixels, version)
    found = read(tmp_path / "A" / "a.zarr")
    assert (found.frames == np.moveaxis(pixels, 1, -1)).all() and found.pixel_size_um == pytest.approx(0.1)
    assert len(dataloader.load(tmp_path).pixels) == 4


def test_an_ome_zarr_with_a_codec_that_runs_code_is_refused(tmp_path):
    write_zarr(tmp_path / "a.zarr", np.zeros((1, 1, 4, 4), np.uint8), "0.4")
    metadata = tmp_path / "a.zarr" / "0" / ".zarray"
    pickled = metadata.read_text().replace('"filters": null', '"filters": [{"id": "pickle", "protocol": 5}]')
    assert "pickle" in pickled
    metadata.write_text(pickled)
    with pytest.raises(InputError, match="pickle"):
        read(tmp_path / "a.zarr")


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.nd2", "a.czi", "a.zarr"])
def test_a_pipe_of_any_name_is_refused(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with guarded(), pytest.raises(InputError, match="this is a named pipe"):
        read(tmp_path / name)
