"""image_sets: many images, read by processes or threads."""

import contextlib
import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from biogans.io import folders, image_sets
from biogans.system.errors import InputError
from biogans.system.lazy import keras
from conftest import ROOT, guarded
from private_mounts import unshared

READ = """
import hashlib, sys
from biogans.io import folders, image_sets
settings = image_sets.ReadSettings(skip_bad_images="skip" in sys.argv)
blocks = image_sets.Blocks(folders.find(sys.argv[1])["Alp14"], settings)
"""
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="images are read by threads here")


@pytest.fixture
def folder(data):
    return data / "LIN_train" / "Alp14"


def read(folder, skip=False):
    """(pixels of all images, positions of their files)."""
    blocks = list(image_sets.Blocks(folders.find(folder)["Alp14"], image_sets.ReadSettings(skip_bad_images=skip)))
    return np.concatenate([pixels for pixels, _ in blocks]), sum((positions for _, positions in blocks), [])


def refusal(folder):
    """The message of the InputError that reading raises."""
    with pytest.raises(InputError) as mistake, guarded():
        read(folder)
    assert "\n" not in str(mistake.value)
    return str(mistake.value)


def in_a_process(code, *arguments, before=()):
    """The CompletedProcess of Python code without TensorFlow, where processes read the images."""
    return subprocess.run([*before, sys.executable, "-c", READ + code, *map(str, arguments)], capture_output=True,
                          text=True, timeout=120)


def write_large_images(folder, number=400):
    """Files of one image of 480x800 pixels, which take a while to read."""
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (480, 800, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "0.png")
    for k in range(1, number):
        os.link(folder / "0.png", folder / f"{k}.png")
    return folder


def descendants(pid):
    """Numbers of the living processes that `pid` has started."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            words = status.read_text().rpartition(")")[2].split()
            if int(words[1]) == pid and words[0] != "Z":
                found += [int(status.parent.name), *descendants(int(status.parent.name))]
    return found


def is_alive(pid):
    """Whether a process runs; one that has ended but was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition, seconds=30):
    """Wait until condition() is true; returns its value."""
    end = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return value


# ---------------------------------------------------------------------------------------------- processes and threads

def test_processes_and_threads_read_the_same(folder):
    """Processes if TensorFlow was not imported, threads otherwise, as in the process of these tests."""
    (folder / "cell003.png").write_text("no image")
    code = ("digest = hashlib.sha256(b''.join(pixels.tobytes() for pixels, _ in blocks)).hexdigest()\n"
            "print(type(image_sets.readers()).__name__, digest)")
    done = in_a_process(code, folder, "skip")
    assert keras.config.backend() and type(image_sets.readers()).__name__ == "ThreadPoolExecutor"
    digest = hashlib.sha256(read(folder, skip=True)[0].tobytes()).hexdigest()
    name = "ProcessPoolExecutor" if sys.platform == "linux" else "ThreadPoolExecutor"
    assert done.stdout.split() == [name, digest], done.stderr
    done = in_a_process("try: list(blocks)\nexcept image_sets.InputError as mistake: print(mistake)", folder)
    assert done.stdout.strip() == refusal(folder)


@LINUX
def test_a_reader_that_dies_is_reported(folder):
    done = in_a_process("import os\n"
                        "def die(path, **settings): os._exit(1)\n"
                        "image_sets.image_files.read_or_error = die\n"
                        "try: list(blocks)\n"
                        "except image_sets.InputError as mistake: print(mistake)", folder)
    assert "Alp14: a process that read images died" in done.stdout, done.stderr


def test_small_blocks_of_files_are_read_in_order(folder, monkeypatch):
    """Also if there are more blocks than may be read ahead."""
    pixels, positions = read(folder)
    monkeypatch.setattr(image_sets.Blocks, "most_files", 1)
    monkeypatch.setattr(image_sets.Blocks, "ahead", 2)
    again = read(folder)
    assert (again[0] == pixels).all() and again[1] == positions == list(range(12))


@LINUX
@pytest.mark.parametrize("command", [("-c", READ + "for _ in blocks: print('reading', flush=True)"),
                                     (ROOT / "bin" / "train.py", "-d")])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_reader_survives_the_command(tmp_path, command, number):
    folder = write_large_images(tmp_path / "data" / "Alp14")
    words = [sys.executable, *map(str, command), str(folder)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path)
    readers = wait_until(lambda: len(found := descendants(process.pid)) >= 4 and found)
    try:
        assert readers
        process.send_signal(number)
        process.wait(60)
        assert wait_until(lambda: not any(map(is_alive, readers)))
    finally:
        process.kill()
        for pid in filter(is_alive, readers or ()):
            os.kill(pid, signal.SIGKILL)


# ---------------------------------------------------------------------------------------------- no shared memory

@LINUX
@pytest.mark.parametrize("mount", ["mount --bind {empty} /dev/shm; mount -o remount,ro,bind /dev/shm",
                                   "mount -t tmpfs -o size=4k none /dev/shm; head -c 4096 /dev/zero > /dev/shm/full"])
def test_threads_read_where_no_shared_memory_is_usable(folder, tmp_path, mount):
    (tmp_path / "empty").mkdir()
    code = "print(type(image_sets.readers()).__name__, sum(len(pixels) for pixels, _ in blocks))"
    done = in_a_process(code, folder, before=unshared(mount.format(empty=tmp_path / "empty")))
    assert done.stdout.split() == ["ThreadPoolExecutor", "12"], done.stderr


# ---------------------------------------------------------------------------------------------- other than files

def make_pipe(path):
    os.mkfifo(path)


def make_link_to_a_pipe(path):
    os.mkfifo(path.with_suffix(".pipe"))
    os.symlink(path.with_suffix(".pipe"), path)


def make_socket(path):
    with contextlib.chdir(path.parent), contextlib.closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind(path.name)


def make_link_to_a_device(path):
    os.symlink("/dev/zero", path)


def make_folder(path):
    path.mkdir()


def make_link_to_nothing(path):
    os.symlink("nowhere.png", path)


@pytest.mark.parametrize("make, word", [
    (make_pipe, "a named pipe"), (make_link_to_a_pipe, "a named pipe"), (make_socket, "a socket"),
    (make_link_to_a_device, "a device"), (make_folder, "a folder"), (make_link_to_nothing, "No such file")])
@pytest.mark.parametrize("name", ["a.png", "z.tif"])
def test_what_is_no_file_is_refused_or_skipped(folder, make, word, name):
    expected, _ = read(folder)
    make(folder / name)
    message = refusal(folder)
    assert f"{name}: " in message and word in message and "--skip_bad_images" in message
    with guarded():
        pixels, _ = read(folder, skip=True)
    assert (pixels == expected).all()
