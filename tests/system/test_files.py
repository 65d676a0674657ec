"""Atomic writing, full disks, links and locks."""

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from biogans.system import files
from biogans.system.errors import InputError
from biogans.system.files import Lock, NoRoom, link, make_writable, remove_leftovers, replacing, shared_lock, write
from private_mounts import unshared


def test_the_new_content_replaces_the_old(tmp_path):
    target = tmp_path / "folder" / "picture.png"
    for content in ("first", "second"):
        with replacing(target) as temporary:
            assert temporary.suffix == ".png" and temporary.parent == target.parent
            temporary.write_text(content)
            assert not target.exists() or target.read_text() == "first"
        assert target.read_text() == content
    assert os.listdir(target.parent) == ["picture.png"]
    assert target.stat().st_mode & 0o044 == 0o044 & ~current_umask()


def current_umask():
    umask = os.umask(0)
    os.umask(umask)
    return umask


def test_a_failure_leaves_the_old_content(tmp_path):
    target = tmp_path / "picture.png"
    target.write_text("old")
    with pytest.raises(RuntimeError), replacing(target) as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError("the disk is full")
    assert target.read_text() == "old" and os.listdir(tmp_path) == ["picture.png"]


def test_a_folder_that_cannot_be_created(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError):
        make_writable(tmp_path / "file" / "checkpoints")


# ---------------------------------------------------------------------------------------------- full disks

def test_a_file_larger_than_the_disk_is_refused(tmp_path):
    """Before anything is written."""
    target = tmp_path / "weights.h5"
    target.write_text("old")
    message = r"weights.h5 .* needs 1,152,921,504,606,846,976 bytes, and [\d,]+ bytes are free"
    with pytest.raises(InputError, match=message), replacing(target, 2**60):
        raise AssertionError("nothing must be written")
    assert target.read_text() == "old" and os.listdir(tmp_path) == ["weights.h5"]


@pytest.mark.parametrize("number, words", [(errno.ENOSPC, "bytes are free"), (errno.EDQUOT, "your quota is used up")])
def test_a_disk_that_becomes_full(tmp_path, monkeypatch, number, words):
    """While the bytes are flushed to the disk, which is when a quota is checked."""
    target = tmp_path / "weights.h5"
    target.write_text("old")

    def fsync(handle):
        raise OSError(number, os.strerror(number))
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(NoRoom, match=f"weights.h5.*it needs 7 bytes, and .*{words}.*-w"):
        write(target, b"new", b"ones")
    assert target.read_text() == "old" and os.listdir(tmp_path) == ["weights.h5"]


def test_other_disk_errors_are_not_reported_as_a_full_disk(tmp_path):
    with pytest.raises(OSError) as problem, replacing(tmp_path / "x"):
        raise OSError(errno.EIO, "broken")
    assert problem.value.errno == errno.EIO


# ---------------------------------------------------------------------------------------------- links

@pytest.mark.parametrize("links", [True, False])
def test_a_second_name(tmp_path, monkeypatch, links):
    """The old content keeps its second name when the first name gets new content; also without hard links."""
    if not links:
        def refuse(*names):
            raise OSError(errno.EPERM, "no hard links here")
        monkeypatch.setattr(os, "link", refuse)
    first, second = tmp_path / "newest", tmp_path / "previous"
    first.write_text("1")
    second.write_text("0")
    for _ in range(2):              # repeating it is harmless
        link(first, second)
    write(first, b"2")
    assert (first.read_text(), second.read_text()) == ("2", "1") and len(os.listdir(tmp_path)) == 2


# ---------------------------------------------------------------------------------------------- locks

HOLDER = """
import sys, time
from pathlib import Path
from biogans.system.files import Lock, shared_lock
if sys.argv[2] == "alone":
    lock = Lock(sys.argv[1])
    assert lock.take()
    print("locked", flush=True)
    time.sleep(60)
with shared_lock(Path(sys.argv[1]).parent, "DCGAN.GAN.1"):
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A function that starts a process which holds the lock of a folder."""
    processes = []

    def start(how="alone", **environment):
        process = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path / ".lock.DCGAN.GAN.1", how], text=True,
                                   stdout=subprocess.PIPE, env={**os.environ, **environment})
        assert process.stdout.readline() == "locked\n"
        processes.append(process)
        return process
    yield start
    for process in processes:
        process.kill()
        process.wait()


def test_a_lock_names_its_holder_and_ends_with_it(tmp_path, holder):
    process, lock = holder(SLURM_JOB_ID="4711"), Lock(tmp_path / ".lock.DCGAN.GAN.1")
    assert not lock.take()
    assert f"host {os.uname().nodename}, process {process.pid}, job 4711" in lock.holder
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert lock.path.exists() and lock.take()       # the file is left, the lock is not
    lock.release()
    assert not lock.path.exists()


def test_leftovers_in_a_folder_without_other_processes_are_removed(tmp_path, holder):
    leftover, other = tmp_path / ".grid.DCGAN.GAN.1.x.partial.png", tmp_path / ".grid.DCGAN.GAN.2.x.partial.png"
    complete = tmp_path / "grid.DCGAN.GAN.1.png"
    for path in (leftover, other, complete):
        path.touch()
    process = holder("together")
    assert not leftover.exists() and other.exists() and complete.exists()
    leftover.touch()
    with shared_lock(tmp_path, "DCGAN.GAN.1"):           # beside the other process
        assert leftover.exists()
    assert (tmp_path / ".lock.DCGAN.GAN.1").exists()
    process.kill()
    process.wait()
    with shared_lock(tmp_path, "DCGAN.GAN.1"):
        assert not leftover.exists() and other.exists() and complete.exists()
    assert not (tmp_path / ".lock.DCGAN.GAN.1").exists()


def test_a_file_system_without_locks_causes_a_warning(tmp_path, monkeypatch, capsys):
    def lockf(*arguments):
        raise OSError(errno.ENOSYS, "not here")
    monkeypatch.setattr(fcntl, "lockf", lockf)
    lock, leftover = Lock(tmp_path / "lock"), tmp_path / ".a.DCGAN.GAN.1.x.partial.h5"
    leftover.touch()
    assert lock.take() and not lock.works
    lock.release()
    with shared_lock(tmp_path, "DCGAN.GAN.1"):
        pass
    assert leftover.exists() and "no locks" in capsys.readouterr().err
    remove_leftovers(tmp_path, "DCGAN.GAN.1")
    assert not leftover.exists()


# ---------------------------------------------------------------------------------------------- files of others

OPENING = ["Lock(sys.argv[1]).take()", "open_own(sys.argv[1], 'a').write('more')",
           "open_own(sys.argv[1], 'w').write('other')"]


def refusal(code, path, uid=0):
    """The message with which code refuses a path, or "" if it does not; run as user `uid`, by default this one."""
    program = (f"import os, sys\nfrom biogans.system.files import InputError, Lock, open_own\n"
               f"if {uid}: os.setgid({uid}); os.setuid({uid})\n"
               f"try: {code}\nexcept InputError as problem: print(problem)")
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def plant_link(path, victim):
    os.symlink(victim, path)


def plant_broken_link(path, victim):
    os.symlink(victim.with_name("new"), path)


def plant_hard_link(path, victim):
    os.link(victim, path)


def plant_pipe(path, victim):
    os.mkfifo(path)


def plant_folder(path, victim):
    path.mkdir()


@pytest.mark.parametrize("code", OPENING)
@pytest.mark.parametrize("plant, word", [(plant_link, "a link"), (plant_broken_link, "a link"),
                                         (plant_hard_link, "another name"), (plant_pipe, "a named pipe"),
                                         (plant_folder, "a folder")])
def test_nothing_is_written_through_planted_files(tmp_path, code, plant, word):
    """Neither content nor length of the victim's file changes, no file appears elsewhere, and no pipe is waited for."""
    victim, path = tmp_path / "victim.conf", tmp_path / ".lock.DCGAN.GAN.1"
    victim.write_text("important")
    plant(path, victim)
    message = refusal(code, path)
    assert message.startswith(f"{path}: this ") and word in message and "remove it" in message
    assert victim.read_text() == "important" and not (tmp_path / "new").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can act as two other users")
@pytest.mark.parametrize("code", OPENING)
def test_files_of_another_user_stay_as_they_are(code):
    """Although everybody may write to them; one's own are opened. Also by root."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))     # users can't enter pytest's folders
    try:
        folder.chmod(0o777)
        path = folder / ".lock"
        path.write_text("theirs")
        os.chown(path, 2001, 2001)
        path.chmod(0o666)
        for uid in (3001, 0):
            assert "belongs to another user (2001)" in refusal(code, path, uid) and path.read_text() == "theirs"
        assert refusal(code, path, 2001) == "" and path.read_text() != "theirs"
    finally:
        shutil.rmtree(folder)


def test_a_temporary_file_that_was_replaced_by_a_link(tmp_path):
    """The permissions of the linked file stay as they are."""
    victim = tmp_path / "victim.conf"
    victim.write_text("important")
    victim.chmod(0o600)
    with pytest.raises(OSError), replacing(tmp_path / "picture.png") as temporary:
        temporary.unlink()
        temporary.symlink_to(victim)
    assert victim.stat().st_mode & 0o777 == 0o600 and not (tmp_path / "picture.png").exists()


# ---------------------------------------------------------------------------------------------- kinds of files

def test_only_ordinary_files_are_opened(tmp_path):
    (tmp_path / "file").write_text("content")
    os.mkfifo(tmp_path / "pipe")
    for name, target in (("link", "file"), ("linked_pipe", "pipe"), ("device", "/dev/zero"), ("broken", "nowhere")):
        os.symlink(target, tmp_path / name)
    for name in ("file", "link"):
        files.require_regular(tmp_path / name)
    for name, word in (("pipe", "a named pipe"), ("linked_pipe", "a named pipe"), ("device", "a device"),
                       ("", "a folder"), ("broken", "No such file"), ("missing", "No such file")):
        with pytest.raises(InputError, match=f"{name}: .*{word}.*: give another"):
            files.require_regular(tmp_path / name, "give another")


def test_one_file_under_two_names(tmp_path):
    first, other = tmp_path / "first", tmp_path / "other"
    for folder in (first, other):
        folder.mkdir()
        (folder / "a").write_text("the same content")
    os.symlink(first, tmp_path / "link")
    os.link(first / "a", tmp_path / "hard")
    assert files.same_twice([first, other, first / "a", other / "a", tmp_path / "missing"]) is None
    assert files.same_twice([other, first, tmp_path / "link"]) == (first, tmp_path / "link")
    assert files.same_twice([other / "a", tmp_path / "hard", first / "a"]) == (tmp_path / "hard", first / "a")


def test_reserved_bytes_are_there_or_refused(tmp_path):
    """Where a disk is full, a file that is mapped into memory would end the process (SIGBUS)."""
    path = tmp_path / "cells"
    path.write_bytes(b"head")
    files.reserve(path, 100_000)
    assert path.stat().st_size == 100_000 and path.stat().st_blocks * 512 >= 100_000
    code = ("import sys; from biogans.system.files import reserve\n"
            "open(sys.argv[1], 'w').close()\n"
            "try: reserve(sys.argv[1], 100_000)\n"
            "except OSError as problem: print(problem.errno)")
    done = subprocess.run([*unshared(f"mount -t tmpfs -o size=64k none {tmp_path}"), sys.executable, "-c", code, path],
                          capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == str(errno.ENOSPC), done.stderr
