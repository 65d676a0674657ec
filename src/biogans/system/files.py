"""Atomic writes, so that readers never see an incomplete file, and locks, so that no two jobs write the same files."""

import contextlib
import datetime
import errno
import fcntl
import os
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from .errors import InputError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)      # NFS without its lock service, Lustre without -o flock
KINDS = {stat.S_IFLNK: "a link", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket",
         stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EMLINK)


def require_regular(path: str | Path, remedy: str = "replace or remove it") -> None:
    """Raise InputError, with this remedy, unless `path` is a file, or a link to one: to open a pipe can block for ever.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError as problem:
        raise InputError(f"{path}: can't be read ({problem.strerror}): {remedy}") from None
    if not stat.S_ISREG(mode):
        raise InputError(f"{path}: this is {KINDS.get(stat.S_IFMT(mode), 'something else')}, not an ordinary file: "
                         f"{remedy}")


def open_own(path: str | Path, mode: str, **options: Any) -> IO[Any]:
    """Open a file as `open` does, to write to it, unless others may have placed it there to have a file overwritten.

    Raises InputError for a link, a pipe or another user's file; nothing is truncated, and no pipe is waited for.
    """
    def opener(name, flags):
        with contextlib.suppress(FileExistsError):
            return os.open(name, flags | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            handle = os.open(name, flags & ~os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        except OSError:
            _require_own(path, os.lstat(path))      # else other users' permissions forbid it
            raise
        try:
            _require_own(path, os.fstat(handle))
            if flags & os.O_TRUNC:
                os.ftruncate(handle, 0)
            return handle
        except BaseException:
            os.close(handle)
            raise
    return open(path, mode, opener=opener, **options)


def _require_own(path, status):
    """Raise InputError unless it is the status of an ordinary file of this user, without other names."""
    if not stat.S_ISREG(status.st_mode):
        found = f"this is {KINDS.get(stat.S_IFMT(status.st_mode), 'something else')}, not an ordinary file"
    elif status.st_uid != os.geteuid():
        found = f"this file belongs to another user ({status.st_uid})"
    elif status.st_nlink > 1:
        found = "this file has another name elsewhere"
    else:
        return
    raise InputError(f"{path}: {found}: remove it, or work in a folder of your own")


def same_twice(paths: Iterable[Path]) -> tuple[Path, Path] | None:
    """Two of these paths that lead to one file or folder, through links; None if there are no such ones."""
    seen: dict[tuple[int, int], Path] = {}
    for path in paths:
        with contextlib.suppress(OSError):
            status = path.stat()
            other = seen.setdefault((status.st_dev, status.st_ino), path)
            if other is not path:
                return other, path
    return None


class NoRoom(InputError):
    """The disk is full or the quota is used up. Earlier files are intact."""


@contextlib.contextmanager
def replacing(target: str | Path, size: int = 0) -> Iterator[Path]:
    """Yield the path of a temporary file beside `target`; on success flush it to the disk and rename it to `target`.

    An exception removes the temporary file and leaves an earlier `target` as it was. The temporary name keeps the
    target's suffix, by which many libraries choose the format. Raises NoRoom if the disk is full, or has fewer than
    `size` bytes left.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    check_room(target, size)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.stem}.", suffix=f".partial{target.suffix}")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        handle = os.open(temporary, os.O_RDWR | os.O_NOFOLLOW)
        try:
            os.fsync(handle)
            umask = os.umask(0)
            os.umask(umask)
            os.fchmod(handle, 0o666 & ~umask)   # mkstemp gives 0600: colleagues could not read the results
        finally:
            os.close(handle)
        os.replace(temporary, target)
        _flush_folder(target.parent)
    except OSError as problem:
        if problem.errno not in NO_ROOM:
            raise
        temporary.unlink(missing_ok=True)       # so that its space counts as free in the message
        raise NoRoom(_no_room(target, size, problem.errno)) from None
    finally:
        temporary.unlink(missing_ok=True)


def write(target: str | Path, *parts: bytes) -> None:
    """Write the bytes `parts`, one after the other, to `target`, completely or not at all. Raises NoRoom."""
    with replacing(target, sum(map(len, parts))) as temporary, open(temporary, "wb") as file:
        for part in parts:
            file.write(part)


def link(source: str | Path, target: str | Path) -> None:
    """Make `target` a hard link to `source`, or a copy if the file system has no links. Replaces an earlier `target`.

    Raises NoRoom.
    """
    with replacing(target) as temporary:
        temporary.unlink()
        try:
            os.link(source, temporary)
        except OSError as problem:
            if problem.errno not in NO_LINKS:
                raise
            shutil.copyfile(source, temporary)


@contextlib.contextmanager
def noticing_a_full_disk(path: str | Path) -> Iterator[None]:
    """Raise NoRoom if writing to `path` in this block fails for lack of room."""
    try:
        yield
    except OSError as problem:
        if problem.errno not in NO_ROOM:
            raise
        raise NoRoom(_no_room(path, 0, problem.errno)) from None


def check_room(path: str | Path, size: int) -> None:
    """Raise NoRoom if the disk of the folder of `path` has fewer than `size` bytes left."""
    if size > _free(path):
        raise NoRoom(_no_room(path, size, errno.ENOSPC))


def reserve(path: str | Path, size: int) -> None:
    """Give the file `path` so many bytes of its disk. Raises OSError if they are not there.

    A file that is mapped into memory needs them: where a full disk lacks them, writing to that memory ends the process.
    """
    with open(path, "rb+") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:                           # macOS
            for start in range(0, size, 1 << 20):
                file.write(bytes(min(1 << 20, size - start)))


def _free(path):
    """Free bytes on the disk of the folder of `path`."""
    room = os.statvfs(Path(path).parent)
    return room.f_bavail * room.f_frsize


def _no_room(path, size, number):
    needed = f"it needs {size:,} bytes, and " if size else ""
    room = "your quota is used up" if number == errno.EDQUOT else f"{_free(path):,} bytes are free on its disk"
    return (f"{path} can't be written: {needed}{room}: make room and repeat the command, with -w to resume a training; "
            f"earlier files are kept")


class Lock:
    """A lock of the operating system on a file. It ends with its process, however that ends, and at a reboot.

    The locks of fcntl work on NFS too. The content of the file (host, process, job) is only for people. Methods raise
    InputError if the file is a link, or another user's.

    holder      the process that has the lock, in words, if it could not be taken
    works       False if the file system has no locks
    """

    def __init__(self, path: str | Path) -> None:
        self.path, self.holder, self.works = Path(path), "", True
        self.file: Any = None

    def take(self) -> bool:
        """Take the lock exclusively; returns False if another process has it."""
        try:
            self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.file.seek(0)
            self.holder = " ".join(self.file.read(1000).split()) or "an unknown process"
            self.file.close()
            return False
        with contextlib.suppress(OSError):      # a full disk: the lock works without content
            os.ftruncate(self.file.fileno(), 0)
            os.write(self.file.fileno(), whoami().encode())
        return True

    def share(self) -> None:
        """Share the lock with other processes. None of them can then take it exclusively."""
        if self.file is None or self.file.closed:
            self._lock(fcntl.LOCK_SH)
        elif self.works:
            fcntl.lockf(self.file, fcntl.LOCK_SH)

    def release(self) -> None:
        """Release the lock, and remove its file unless other processes share it."""
        with contextlib.suppress(OSError):
            fcntl.lockf(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.path.unlink(missing_ok=True)
        self.file.close()

    def _lock(self, operation):
        """Lock the file that has this name now. Raises BlockingIOError if another process has locked it."""
        while True:
            self.file = open_own(self.path, "a+")       # closed by release
            try:
                fcntl.lockf(self.file, operation)
                if os.path.samestat(os.fstat(self.file.fileno()), os.lstat(self.path)):
                    return
                self.file.close()
            except FileNotFoundError:           # the last holder removed it between our open and our lock
                self.file.close()
            except OSError as problem:
                if problem.errno in (errno.EACCES, errno.EAGAIN):
                    raise BlockingIOError(problem.errno, "locked") from None
                if problem.errno not in NO_LOCKS:
                    raise
                self.works = False
                print(f"warning: {self.path.parent}: this file system has no locks: make sure that no second job "
                      f"writes here", file=sys.stderr)
                return


@contextlib.contextmanager
def shared_lock(folder: Path, run: str) -> Iterator[None]:
    """Share `folder` with other jobs; first remove partial files of killed jobs of this `run` if none is running."""
    lock = Lock(folder / f".lock.{run}")
    if lock.take() and lock.works:
        remove_leftovers(folder, run)
    lock.share()
    try:
        yield
    finally:
        lock.release()


def whoami() -> str:
    """Host, process and job of this run, in words."""
    job = os.environ.get("SLURM_JOB_ID") or os.environ.get("PBS_JOBID") or os.environ.get("JOB_ID")
    return (f"host {socket.gethostname()}, process {os.getpid()}, " + (f"job {job}, " if job else "") +
            f"since {datetime.datetime.now():%Y-%m-%d %H:%M}")


def remove_leftovers(folder: str | Path, run: str) -> None:
    """Remove partial files *.`run`.* of killed jobs from `folder`; no such job may be running."""
    for path in Path(folder).glob(f".*.{run}.*partial*"):
        path.unlink(missing_ok=True)


def make_writable(*folders: Path) -> None:
    """Create missing folders. Raises OSError if one can't be written: better now than at the end of a training."""
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()


def _flush_folder(folder):
    """Flush a folder to the disk, so that a rename in it survives a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
