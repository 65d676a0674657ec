"""Damaged and hostile files, and a supervised worker process that reads them."""

import contextlib
import io
import json
import multiprocessing
import os
import struct
import sys
import tempfile
import zlib

import h5py
import numpy as np
import tifffile
from PIL import Image

from biogans.system.seal import MARK

LIMIT_S = 5             # seconds of CPU time; no file takes longer to be read or refused
LONGEST_S = 60          # seconds by the clock, on a busy machine


# ---------------------------------------------------------------------------------------------- damage

def flip_bits(content, rng):
    for _ in range(rng.integers(1, 9)):
        content[rng.integers(len(content))] ^= 1 << rng.integers(8)
    return content


def flip_bits_at_the_start(content, rng):
    """Where the structures of most formats are."""
    for _ in range(rng.integers(1, 5)):
        content[rng.integers(min(2048, len(content)))] ^= 1 << rng.integers(8)
    return content


def truncate(content, rng):
    return content[:rng.integers(len(content))]


def zero_a_range(content, rng):
    start = rng.integers(len(content))
    length = min(int(rng.integers(1, 4096)), len(content) - start)
    content[start:start + length] = bytes(length)
    return content


def overwrite_a_range(content, rng):
    start = rng.integers(len(content))
    length = min(int(rng.integers(1, 256)), len(content) - start)
    content[start:start + length] = rng.bytes(length)
    return content


def repeat_a_range(content, rng):
    """The rest moves, as in a copy that went wrong."""
    start = rng.integers(len(content))
    return content[:start] + content[max(0, start - int(rng.integers(1, 512))):]


DAMAGES = (flip_bits, flip_bits_at_the_start, truncate, zero_a_range, overwrite_a_range, repeat_a_range)


def damaged(content, number):
    """The mutant of a file's content with this number; it always differs from the content."""
    rng = np.random.default_rng(number)
    while True:
        mutant = DAMAGES[number // 2 % len(DAMAGES)](bytearray(content), rng)
        if mutant != content:
            return bytes(mutant)


def damaged_hdf5(path, target, number):
    """Write a mutant of the HDF5 file `path`: in every seventh two datasets are swapped, every second has no seal."""
    content = path.read_bytes()
    if number % 2:
        content = content.rsplit(MARK)[0]
    if number % 7:
        target.write_bytes(damaged(content, number))
        return
    target.write_bytes(content)
    with h5py.File(target, "r+") as file:
        arrays = []
        file.visititems(lambda name, thing: arrays.append(thing) if isinstance(thing, h5py.Dataset) else None)
        arrays = [array for array in arrays if array.size > 1]
        order = np.random.default_rng(number).permutation(len(arrays))
        for k, first in enumerate(order):
            for second in order[k + 1:]:
                one, other = arrays[first], arrays[second]
                if one.shape == other.shape and not np.array_equal(one[()], other[()]):
                    one[...], other[...] = other[()], one[()]
                    return
        arrays[0][...] = arrays[0][()][::-1] + 1


def base_images(folder):
    """Write one image of each kind: [path]."""
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (16, 24, 3), np.uint8) // np.uint8((1, 2, 255))
    folder.mkdir()
    Image.fromarray(rgb).save(folder / "rgb.png")
    Image.fromarray(rgb[..., 0]).save(folder / "gray.png")
    Image.fromarray(rgb[..., 0].astype(np.uint16) * 100).save(folder / "deep.png")
    Image.fromarray(rgb).quantize(16).save(folder / "palette.png")
    tifffile.imwrite(folder / "rgb.tif", rgb, photometric="rgb")
    tifffile.imwrite(folder / "compressed.tif", rgb, photometric="rgb", compression="zlib")
    tifffile.imwrite(folder / "pages.tif", rgb.transpose(2, 0, 1)[:2], photometric="minisblack")
    tifffile.imwrite(folder / "imagej.tif", rgb.transpose(2, 0, 1)[:2].astype(np.uint16), imagej=True,
                     metadata={"axes": "CYX"})
    return sorted(folder.iterdir())


# ---------------------------------------------------------------------------------------------- hostility

LAMBDA = ('{"class_name": "Functional", "config": {"name": "m", "layers": [{"class_name": "Lambda", "name": "l", '
          '"config": {"name": "l", "function": {"class_name": "__lambda__", "config": {"code": "%s", "defaults": null, '
          '"closure": null}}}, "inbound_nodes": []}], "input_layers": [], "output_layers": []}}')


def _lambda_layer(file):
    import base64
    import marshal
    code = marshal.dumps(compile("open('executed', 'w')", "evil", "exec"))
    file.attrs["model_config"] = LAMBDA % base64.b64encode(code).decode()


def _pickle(file):
    import pickle

    class Evil:
        def __reduce__(self):
            return eval, ("open('executed', 'w')",)
    content = np.void(pickle.dumps(Evil()))
    file.attrs["training_config"] = content
    file["pickled"] = content


def _external_link(file):
    file["linked"] = h5py.ExternalLink("/etc/passwd", "/")


def _link_loop(file):
    file["a"], file["b"] = h5py.SoftLink("/b"), h5py.SoftLink("/a")
    group = file.create_group("round")
    group["round"] = group                  # a hard link to itself


def _shape_bomb(file):
    file.create_dataset("bomb", (10**13 // 4,), "float32", chunks=(1024,))


def _compressed_bomb(file):
    file.create_dataset("bomb", data=np.zeros(2**28, np.uint8), chunks=(2**24,), compression="gzip",
                        compression_opts=9)


def _overflowing_shape(file):
    file.create_dataset("bomb", (2**33, 2**33), "float32", chunks=(1, 1024))


def _deep(file):
    group = file
    for _ in range(20000):
        group = group.create_group("g")


def _many(file):
    for k in range(70000):
        file.create_group(f"many/{k}")


def _huge_attribute(file):
    file.create_dataset("odd", data=[1.0]).attrs["text"] = "x" * 50000
    file.attrs["biogans"] = "x" * 20_000_000


def _variable_length(file):
    data = file.create_dataset("bomb", (1000,), h5py.vlen_dtype(np.float32))
    for k in range(1000):
        data[k] = np.zeros(10000, np.float32)


def _references(file):
    file.create_dataset("references", (10,), h5py.ref_dtype)


def _virtual(file):
    layout = h5py.VirtualLayout((10**6, 10**6), "float32")
    layout[:] = h5py.VirtualSource("elsewhere.h5", "x", (10**6, 10**6))
    file.create_virtual_dataset("bomb", layout)


def _other_file(file):
    file.create_dataset("passwords", (100,), "uint8", external=[("/etc/passwd", 0, 100)])


HOSTILE = (_lambda_layer, _pickle, _external_link, _link_loop, _shape_bomb, _compressed_bomb, _overflowing_shape, _deep,
           _many, _huge_attribute, _variable_length, _references, _virtual, _other_file)


def hostile_weights(path, target, plant):
    """Write a weights file with something planted in it; its digests are right if that is possible."""
    from biogans.system import hdf5
    target.write_bytes(path.read_bytes().rsplit(MARK)[0])
    with h5py.File(target, "r+") as file:
        plant(file)
        if plant in (_lambda_layer, _external_link):
            hdf5.describe(file, json.loads(file.attrs["biogans"]))


def hostile_stack(path, target, plant):
    """Write a stack with something planted in its place, or beside it."""
    target.write_bytes(path.read_bytes())
    with h5py.File(target, "r+") as file:
        plant(file)
        if "bomb" in file and h5py.is_hdf5(target):
            del file["stack"]
            file.move("bomb", "stack")


def hostile_stacks(folder):
    """Write stacks of four dimensions that claim far more than they hold: [path]."""
    def bomb(name, **settings):
        with h5py.File(folder / name, "w") as file:
            file.create_dataset("stack", **settings)
    folder.mkdir(exist_ok=True)
    bomb("claim.h5", shape=(1, 10**6, 10**6, 2), dtype="float32", chunks=(1, 64, 64, 2))
    bomb("cells.h5", shape=(10**13, 16, 24, 2), dtype="float32", chunks=(1, 16, 24, 2))
    bomb("chunk.h5", shape=(1, 30000, 30000, 2), dtype="uint8", chunks=(1, 30000, 30000, 2), compression="gzip")
    bomb("gzip.h5", data=np.zeros((1, 8000, 8000, 2), np.uint8), chunks=(1, 8000, 8000, 2), compression="gzip")
    bomb("overflow.h5", shape=(2**16, 2**16, 2**16, 2**16), dtype="float32", chunks=(1, 1, 1, 1))
    return sorted(folder.iterdir())


def _chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def image_bombs(folder):
    """Write images of a few bytes that claim gigabytes: [path]."""
    folder.mkdir(exist_ok=True)
    signature = b"\x89PNG\r\n\x1a\n"
    for name, width, height in (("wide", 100000, 100000), ("line", 2**31 - 1, 1), ("fits", 4096, 4096)):
        header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 6, 0, 0, 0))
        data = _chunk(b"IDAT", zlib.compress(bytes(10000)))
        (folder / f"{name}.png").write_bytes(signature + header + data + _chunk(b"IEND", b""))
    text = _chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(2**28), 9))
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", 24, 16, 8, 2, 0, 0, 0))
    data = _chunk(b"IDAT", zlib.compress(bytes(16 * 73)))
    (folder / "text.png").write_bytes(signature + header + text + data + _chunk(b"IEND", b""))
    small = io.BytesIO()
    tifffile.imwrite(small, np.zeros((16, 24), np.uint8))
    tags = {"wide": {256: 100000, 257: 100000}, "samples": {277: 60000}, "rows": {257: 2**31 - 1}}
    for name, changes in tags.items():
        small.seek(0)
        with tifffile.TiffFile(small) as file:
            places = {tag.code: (tag.valueoffset, tag.dtype) for tag in file.pages[0].tags}
        content = bytearray(small.getvalue())
        for code, value in changes.items():
            offset, kind = places[code]
            struct.pack_into("<H" if kind == 3 else "<I", content, offset, value)
        (folder / f"{name}.tif").write_bytes(content)
    page = np.zeros((512, 512), np.uint8)
    tifffile.imwrite(folder / "stack.tif", (page for _ in range(8000)), shape=(8000, 512, 512), dtype=np.uint8,
                     compression="zlib", photometric="minisblack")
    tifffile.imwrite(folder / "deflated.tif", np.zeros((8000, 8000), np.uint8), compression="zlib")
    return sorted(folder.iterdir())


def plain_image(path):
    """Write an ordinary image as large as the largest that visualize.py draws; returns the path."""
    tifffile.imwrite(path, np.random.default_rng(0).integers(0, 256, (8000, 8000), np.uint8))
    return path


# ---------------------------------------------------------------------------------------------- a supervised worker

def quiet(main, arguments):
    """Call a command's main function: (exit status or the exception's name, standard output, standard error)."""
    out, saved = io.StringIO(), os.dup(2)
    with tempfile.TemporaryFile("w+") as err, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        os.dup2(err.fileno(), 2)                # libraries in C write there too
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as end:
            status = end.code
        except BaseException as problem:
            status = f"{type(problem).__name__}: {problem}"
        finally:
            os.dup2(saved, 2)
            os.close(saved)
        err.seek(0)
        return status, out.getvalue(), err.read()


def is_refusal(status, err):
    """Whether a command refused a file correctly: with status 2 and one line."""
    return status == 2 and err.count("\n") == 1 and "Traceback" not in err


def supervised(check, cases, folder, *arguments):
    """[check(case, *arguments) of each case], called in a worker process in `folder`.

    A result is "crash" if the check killed that process, "hang" if it took longer than LIMIT_S. The first call may take
    longer, because it imports libraries.
    """
    results, spawn = {}, multiprocessing.get_context("spawn")
    cases = list(cases)
    while len(results) < len(cases):
        ours, theirs = spawn.Pipe()
        worker = spawn.Process(target=_work, args=(theirs, check, cases[len(results):], str(folder), arguments))
        worker.start()
        theirs.close()
        try:
            while len(results) < len(cases):
                if not ours.poll(LONGEST_S):
                    results[len(results)] = "hang"
                    break
                results[len(results)] = ours.recv()
        except EOFError:
            results[len(results)] = "crash"
        worker.kill()
        worker.join()
    return [results[k] for k in range(len(cases))]


def _work(pipe, check, cases, folder, arguments):
    os.chdir(folder)
    sys.stdin.close()
    for number, case in enumerate(cases):
        before = sum(os.times()[:4])            # including finished child processes
        result = check(case, *arguments)
        pipe.send("hang" if number and sum(os.times()[:4]) - before > LIMIT_S else result)
