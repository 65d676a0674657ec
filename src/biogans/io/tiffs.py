"""TIFF in its dialects: ImageJ, OME, LSM, STK, BigTIFF, and files that state nothing."""

import math
import os
import re
import warnings

import numpy as np

from ..system.errors import InputError
from . import planes
from .pictures import is_gray_palette, size_of_inch_parts

LARGEST_BOMB = 2 ** 28          # bytes that the pages of a TIFF may have if the file has less than a hundredth of them
FEW = 4                         # planes without a stated meaning that are taken as channels
UNKNOWN = "QIRBA"               # axes without a stated meaning


class Tiff(planes.ImageFile):
    """A TIFF: the largest series of its images, and those of the same shape."""

    def __init__(self, path, axes, as_frames):
        import tifffile

        self.path = path
        self.file = tifffile.TiffFile(path)
        try:
            _require_members(path, self.file.ome_metadata or "" if self.file.is_ome else "")
            self._open(axes, as_frames)
        except BaseException:
            self.file.close()
            raise

    def _open(self, axes, as_frames):
        self.series, shape, stated = _largest_series(self.file)
        others = [series for series in self.file.series if series not in self.series and not _is_preview(series)]
        if others:
            self.notes += (f"{len(others)} smaller or different images in the file are left out",)
            self.left_out = 0 if self.file.is_ome else len(others)
        self.keyframe = self.series[0].keyframe
        self.whole = None
        members = sorted({page.parent.filename for series in self.series for page in series.pages if page})
        if len(members) > 1:
            self.members = tuple(members)
            self.notes += (f"{len(self.members)} files are one OME-TIFF set, read through {self.members[0]}",)
        letters = planes.check_axes(self.path, axes, shape) if axes else self._deduced(stated, shape, as_frames)
        self.axes, self.shape = letters, shape
        self.dtype = np.dtype(self.keyframe.dtype)
        self._check_size()
        self._order_pages()
        self._resolve_colours()
        self.pixel_size_um = _pixel_size_um(self.file)
        self.lossy = "JPEG" in self.keyframe.compression.name

    def _deduced(self, axes, shape, as_frames):
        """Letters of the axes: as stated, or by a rule that `notes` tell."""
        if "Y" not in axes or "X" not in axes:
            raise InputError(f"{self.path}: its axes are {axes}, without Y and X: give --axes, {planes.AXES_HELP}")
        size = dict(zip(axes, shape, strict=True))
        unknown = [axis for axis in axes if axis in UNKNOWN]
        few = [axis for axis in unknown if size[axis] <= FEW]
        if not unknown or "S" in axes or "C" in axes:
            return axes
        if size["X"] <= FEW and axes[-2:] == "YX":
            letters = axes[:-3] + "YXC"
            self.notes += (f"an array of {'x'.join(map(str, shape))} looks like channels last: --axes "
                           f"{_sayable(letters)} is assumed",)
            return letters
        if len(few) == 1 and not as_frames:
            letters, count = axes.replace(few[0], "C"), size[few[0]]
            self.notes += (f"{count} planes without a stated meaning are taken as {count} channels: --axes "
                           f"{_sayable(letters)} is assumed; --axes {_sayable(axes)} reads {count} images",)
            return letters
        return axes

    def _check_size(self):
        size = math.prod(self.shape) * self.dtype.itemsize
        if size > LARGEST_BOMB and size > 100 * self.path.stat().st_size and not self.members:
            raise InputError(f"{self.path}: {math.prod(map(self.size, self.outer))} pages that claim "
                             f"{size / 2**30:.1f} GiB, far more than the file has: replace or remove it")

    def _order_pages(self):
        """Read the array as a whole, Y and X last, if a page is not a plane of the image or in another file."""
        inner, pages = self.axes[-len(self.keyframe.shape):], len(self.series) * len(self.series[0].pages)
        outer = math.prod(self.shape[:len(self.axes) - len(inner)])
        if {"Y", "X"} <= {*inner} and pages == outer and not self.members or not math.prod(self.shape):
            return
        stored, order = self.shape, sorted(range(len(self.axes)), key=lambda k: "CYXS".find(self.axes[k]))

        def load():
            array = np.stack([series.asarray() for series in self.series])
            return array.reshape(stored).transpose(order)
        self.axes, self.shape = "".join(self.axes[k] for k in order), tuple(self.shape[k] for k in order)
        self.whole = planes.ArrayFile(self.path, self.axes, planes.Lazy(self.shape, self.dtype, load))

    def _resolve_colours(self):
        """Set shape and type to those of the colours that a viewer shows. Raises InputError for unknown ones."""
        self.decode = colour_decoder(self.path, self.keyframe)
        if self.whole:
            self.decode = None
            return
        turned = self.keyframe.tags.valueof(274, 1)
        self.turned = turned if turned in planes.FLIPS or turned == 5 else 1
        sizes = dict(zip(self.axes, self.shape, strict=True))
        if self.turned > 4:
            sizes["Y"], sizes["X"] = sizes["X"], sizes["Y"]
        if self.decode:
            sample = self.decode(np.zeros((self.colours, 1, 1), self.dtype))
            self.dtype = sample.dtype
            sizes.pop("S", None)
            sizes |= {"S": 3} if len(sample) == 3 else {}
        self.stored_axes = self.axes
        self.axes, self.shape = "".join(sizes), tuple(sizes.values())

    def plane(self, at):
        if self.whole:
            return self.whole.plane(at)
        inside = len(self.keyframe.shape)
        outer, inner = self.stored_axes[:-inside], self.stored_axes[-inside:]
        sizes = [self.size(axis) for axis in outer]
        number = int(np.ravel_multi_index([at.get(axis, 0) for axis in outer], sizes)) if outer else 0
        series, page = divmod(number, len(self.series[0].pages))
        found = self.series[series].pages[page]
        if found is None:
            raise InputError(f"{self.path}: plane {number + 1} is missing: copy the file, or all files of its set, "
                             f"again, or remove it")
        pixels = found.asarray().reshape(self.keyframe.shape)
        pixels = pixels[tuple(slice(None) if axis in "SYX" else at.get(axis, 0) for axis in inner)]
        pixels = planes.upright(pixels, [axis for axis in inner if axis in "SYX"])
        pixels = self.decode(pixels) if self.decode else pixels
        return planes.turn(pixels, self.turned)

    def close(self):
        self.file.close()


def _largest_series(file):
    """(all series of the shape of the largest one, their joint shape, their axes)."""
    found = [series for series in file.series if math.prod(series.shape)]
    if not found:
        raise ValueError("no images")

    def pixels(series):
        return math.prod(size for axis, size in zip(series.axes, series.shape, strict=True) if axis in "YX")
    largest = max(found, key=pixels)
    alike = [series for series in found
             if (series.shape, series.axes, series.dtype) == (largest.shape, largest.axes, largest.dtype)]
    axes, shape = _without_single(largest)
    return (alike, (len(alike), *shape), "P" + axes) if len(alike) > 1 else (alike, shape, axes)


def _is_preview(series):
    """Whether a series is a smaller copy of another image, as its pages state."""
    return bool(series.keyframe.is_reduced) or series.kind == "lsm" or not math.prod(series.shape)


def _without_single(series):
    """(axes, shape) of a series without axes of size 1, except those of a plane; no letter is there twice."""
    kept = [(axis, size) for axis, size in zip(series.axes, series.shape, strict=True) if size > 1 or axis in "YX"]
    letters, unused = "", [axis for axis in UNKNOWN if axis not in series.axes]
    for axis, _ in kept:
        letters += unused.pop() if axis in letters else axis
    return letters, tuple(size for _, size in kept)


def _sayable(axes):
    """Axes as the user may give them: unknown ones by letters that nothing else has."""
    unused = [axis for axis in "ZPT" if axis not in axes]
    return "".join(unused.pop() if axis in UNKNOWN else axis for axis in axes)


def _require_members(path, xml):
    """Raise InputError if a file of the set that OME-XML describes is missing or in another folder."""
    own = re.search(r'<OME[^>]*\bUUID="([^"]*)"', xml)
    for name, uuid in re.findall(r'<UUID[^>]*FileName="([^"]*)"[^>]*>([^<]*)<', xml):
        if own and uuid.strip() == own[1]:
            continue
        if os.path.basename(name) != name:
            raise InputError(f"{path}: names a file in another folder as a part of its set: save it again as a single "
                             f"OME-TIFF")
        if not (path.parent / name).is_file():
            raise InputError(f"{path}: {name}, a file of the same OME-TIFF set, is missing: copy it here too")


def colour_decoder(path, page):
    """None for intensities, or a function from a stored plane (samples, height, width) to what a viewer shows."""
    kind, bits = page.photometric.name, page.bitspersample
    bits = bits[0] if isinstance(bits, tuple) else bits
    if kind == "MINISWHITE":
        return lambda plane: _inverted(plane, bits)
    if kind == "PALETTE" and page.colormap is not None:
        colours = (np.asarray(page.colormap) >> 8).astype(np.uint8)
        if is_gray_palette(colours.T):
            colours = colours[:1]
        return lambda plane: colours[:, plane[0]]
    if kind == "SEPARATED":
        return _of_ink
    if kind == "YCBCR" and page.compression.name == "NONE":
        return _of_luma
    if kind in ("CIELAB", "ICCLAB"):
        return lambda plane: _of_lab(plane, kind)
    if kind in ("MINISBLACK", "RGB", "YCBCR", "MASK", "PALETTE"):
        return None
    raise InputError(f"{path}: its colours are {kind}: save it as gray or RGB")


def _inverted(plane, bits):
    if plane.dtype.kind == "b":
        return ~plane
    return (2 ** bits - 1 - plane).astype(plane.dtype) if plane.dtype.kind == "u" else -plane


def _of_ink(plane):
    """RGB of cyan, magenta, yellow and black, which absorb light independently."""
    most = np.iinfo(plane.dtype).max
    ink = plane[:4].astype(float) / most
    return np.rint(most * (1 - ink[:3]) * (1 - ink[3:4])).astype(plane.dtype)


def _of_luma(plane):
    """RGB of 8-bit luma and chroma (ITU-R BT.601)."""
    luma, blue, red = plane[:3].astype(float) - np.array([0, 128, 128])[:, None, None]
    rgb = np.stack([luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue])
    return np.clip(np.rint(rgb), 0, 255).astype(np.uint8)


def _of_lab(plane, kind):
    """8-bit sRGB of CIE L*a*b*: a and b are signed in CIELAB and have an offset of half the range in ICCLAB."""
    from skimage.color import lab2rgb

    scale = np.iinfo(plane.dtype).max / 255
    lightness, *chroma = plane[:3].astype(float) / scale
    half = 128 if kind == "ICCLAB" else 0
    chroma = [each - half if half else np.where(each > 127, each - 256, each) for each in chroma]
    with warnings.catch_warnings(action="ignore"):          # of colours that no screen can show
        rgb = lab2rgb(np.stack([lightness * 100 / 255, *chroma], axis=-1))
    return np.rint(255 * np.moveaxis(rgb, -1, 0)).astype(np.uint8)


def _pixel_size_um(file):
    """Side of a pixel in micrometres as stated by OME-XML, LSM, STK, ImageJ or the resolution, or None."""
    if file.is_ome:
        return _ome_size(file.ome_metadata or "")
    if file.is_lsm:
        return planes.microscopic(1e6 * (file.lsm_metadata or {}).get("VoxelSizeX", 0))
    if file.is_stk:
        return planes.microscopic((file.stk_metadata or {}).get("XCalibration", 0))
    tags = file.pages[0].tags
    numerator, denominator = tags.valueof("XResolution", (0, 1))
    if not numerator:
        return None
    if file.is_imagej:
        unit = str((file.imagej_metadata or {}).get("unit", "none"))
        return planes.microscopic(denominator / numerator * planes.MICROMETRES.get(unit, 0))
    per_inch = numerator / denominator * {3: 2.54}.get(int(tags.valueof("ResolutionUnit", 2)), 1) if denominator else 0
    return size_of_inch_parts((per_inch,))


def _ome_size(xml):
    found = re.search(r'PhysicalSizeX="([\d.eE+-]+)"', xml)
    unit = re.search(r'PhysicalSizeXUnit="([^"]*)"', xml)
    return planes.microscopic(float(found[1]) * planes.MICROMETRES.get(unit[1] if unit else "", 0)) if found else None
