"""Small stand-ins for public files, as idx files and an archive like that of LIN, and get_data as a function."""

import gzip
import io
import struct
import zipfile

import numpy as np
from PIL import Image

from biogans.data import get_data


def run(*arguments):
    """Exit status of biogans get_data with these arguments."""
    return get_data.main([*map(str, arguments)])


def write_idx(path, array, head=None):
    """Write an idx file, with another head if given, compressed if its name ends in .gz."""
    head = head or struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    with (gzip.open if path.suffix == ".gz" else open)(path, "wb") as file:
        file.write(head + array.tobytes())


def write_mnist(folder):
    """Write 40 images of 12x16 pixels of the labels 0 to 3, whose first pixel is their position: (folder, pixels)."""
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 12, 16), np.uint8)
    pixels[:, 0, 0] = range(40)
    write_idx(folder / "t10k-images-idx3-ubyte.gz", pixels)
    write_idx(folder / "t10k-labels-idx1-ubyte.gz", np.arange(40, dtype=np.uint8) % 4)
    return folder, pixels


def png(value):
    """A uniform PNG image, as bytes."""
    file = io.BytesIO()
    Image.fromarray(np.full((48, 80, 3), (value, value // 2, 0), np.uint8)).save(file, "png")
    return file.getvalue()


def write_lin(folder):
    """Write an archive like that of LIN, with 3 training and 2 test images of each of 8 factors; return its path."""
    path = folder / "LIN_Normalized_WT_size-48-80.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for k, factor in enumerate((*get_data.FACTORS, "Fim1", "Tea4")):
            for split, number in (("train", 3), ("test", 2)):
                for n in range(number):
                    archive.writestr(f"LIN_Normalized_WT_size-48-80_{split}/{factor}/cell{n}.png", png(10 * k + n))
        archive.writestr("__MACOSX/LIN_Normalized_WT_size-48-80_train/Alp14/._cell0.txt", b"no image")
    return path
