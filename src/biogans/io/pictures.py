"""PNG, JPEG and other pictures, with the colours of a viewer."""

import warnings

import numpy as np

from . import planes

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM")  # not EPS: Pillow would run Ghostscript on it
HEADER = 26         # bytes at the start of a PNG up to its bit depth and colour type
TRANSPARENT = ("LA", "RGBA")
PAINTED = ("CMYK", "YCbCr", "LAB", "HSV")

warnings.filterwarnings("ignore", module=r"PIL\.")        # about unusual metadata


class Picture(planes.ImageFile):
    """A file that Pillow reads: one image, upright as its EXIF orientation says."""

    def __init__(self, path, start):
        from PIL import Image

        Image.MAX_IMAGE_PIXELS = None           # callers check sides, without an additional warning
        self.path = path
        self.file = Image.open(path, formats=FORMATS)
        self.lossy = self.file.format in ("JPEG", "MPO")
        self.pixel_size_um = size_of_inch_parts(self.file.info.get("dpi"))
        self.orientation = self.file.getexif().get(0x112, 1) if "exif" in self.file.info else 1
        # Of 16 bits of colours Pillow would drop 8.
        self.deep = self.file.format == "PNG" and start[24:25] == b"\x10" and start[25] in (2, 4, 6)
        width, height = self.file.size[::-1] if self.orientation > 4 else self.file.size
        samples = _number_of_samples(self.file)
        self.axes, self.shape = ("YX", (height, width)) if samples == 1 else ("YXS", (height, width, samples))
        self.dtype = np.dtype(np.uint16 if self.deep or self.file.mode.startswith("I;16") else
                              {"I": np.int32, "F": np.float32}.get(self.file.mode, np.uint8))

    def plane(self, at):
        if self.deep:
            import imagecodecs

            pixels = imagecodecs.png_decode(self.path.read_bytes())
        else:
            pixels = np.asarray(_with_plain_colours(self.file))
        return planes.turn(planes.upright(pixels, self.axes), self.orientation)

    def images(self):
        image = self.image({})
        if self.file.mode in TRANSPARENT and np.ptp(image[..., -1]):
            last = image.shape[-1]
            self.notes = (f"transparency is read as channel {last} (--channels "
                          f"{','.join(map(str, range(1, last)))} leaves it out)",)
        return image[np.newaxis]

    def close(self):
        self.file.close()


def _number_of_samples(file):
    """How many samples of a pixel the plain colours have."""
    if file.mode == "P" and _is_gray(file):
        return 1
    return 3 if file.mode in (*PAINTED, "P", "PA") else len(file.getbands())


def size_of_inch_parts(per_inch):
    """Size of a pixel in micrometres from (horizontal, vertical) pixels per inch; None unless it suits a microscope."""
    try:
        dots = float(per_inch[0])
    except (TypeError, ValueError, IndexError, ZeroDivisionError):
        return None
    return planes.microscopic(25400.0 / dots if dots > 0 else None)


def _with_plain_colours(file):
    if file.mode == "1":
        return file.convert("L")
    if file.mode in ("P", "PA"):
        file.info.pop("transparency", None)
        return file.convert("L" if file.mode == "P" and _is_gray(file) else "RGB")
    return file.convert("RGB") if file.mode in PAINTED else file


def _is_gray(file):
    """Whether the palette has only shades of gray."""
    return is_gray_palette(np.array(file.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3))


def is_gray_palette(colours):
    """Whether colours (colours, 3) are shades of gray."""
    return bool((colours == colours[:, :1]).all())
