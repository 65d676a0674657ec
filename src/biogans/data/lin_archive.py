"""The zip archive of the LIN data set, from which images are extracted as they are."""

import errno
import stat
import struct
import zipfile
import zlib
from pathlib import PurePosixPath

from ..system.errors import InputError
from .data_folder import filling, print_numbers

MOST_FILES = 1 << 20
LARGEST_PNG = 1 << 22                               # bytes: images of LIN have some thousands


def extract(archive, output, factors):
    """Extract the images of `factors`, or of all for ("all",), into the folder `output`.

    Raises InputError, and writes nothing, if the archive has names that lead out of the folder, links, or sizes that
    no image of LIN has.
    """
    if not archive.is_file():
        raise InputError(f"{archive}: no such file: give the zip file with --from, or leave it out")
    try:
        with zipfile.ZipFile(archive) as file:
            images = _images_in(file, archive)
            present = sorted({path.parts[1] for path in images})
            wanted = present if factors == ("all",) else factors
            missing = [factor for factor in wanted if factor not in present]
            if missing or not wanted:
                raise InputError(f"{archive}: no images of {', '.join(missing) or 'any factor'} in this archive: it "
                                 f"has {', '.join(present) or 'no <name>_train/<factor>/*.png'}")
            chosen = {path: info for path, info in images.items() if path.parts[1] in wanted}
            with filling(output) as new:
                for path, info in chosen.items():
                    (new / path).parent.mkdir(parents=True, exist_ok=True)
                    (new / path).write_bytes(file.read(info))
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, struct.error, ValueError, OSError) as problem:
        if isinstance(problem, OSError) and problem.errno != errno.EINVAL:      # EINVAL: a seek to before the start
            raise
        raise InputError(f"{archive}: a damaged zip file ({problem}): remove it and repeat the command to download it "
                         f"again") from None
    training = sum(path.parts[0].endswith("_train") for path in chosen)
    print_numbers(training, len(chosen) - training, len(wanted), output)


def _images_in(file, archive):
    """{PurePosixPath(<name>_train or _test, <factor>, <file>.png): its entry}, after a check of all entries."""
    if len(file.infolist()) > MOST_FILES:
        raise InputError(f"{archive}: {len(file.infolist()):,} files, more than LIN has: give the right archive")
    images = {}
    for info in file.infolist():
        path = PurePosixPath(info.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in info.filename or stat.S_ISLNK(info.external_attr >> 16):
            raise InputError(f"{archive}: its entry {info.filename!r} leads out of its folder, so the archive is not "
                             f"from the authors of LIN: remove it")
        if path.suffix == ".png" and len(path.parts) > 2 and path.parts[-3].endswith(("_train", "_test")):
            if info.file_size > LARGEST_PNG:
                raise InputError(f"{archive}: its entry {info.filename!r} has {info.file_size:,} bytes, more than any "
                                 f"image of LIN: remove the archive")
            images[PurePosixPath(*path.parts[-3:])] = info
    return images
