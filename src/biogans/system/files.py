"""Writing files so that a reader never sees half of one, and so that two jobs don't write the same ones."""

import contextlib
import datetime
import errno
import fcntl
import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path

from .errors import InputError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)      # NFS without its lock service, Lustre without -o flock
NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EMLINK)


class NoRoom(InputError):
    """The disk is full, or the quota used up. Nothing that was there before is lost."""


@contextlib.contextmanager
def replacing(target, size=0):
    """Yield the path of a temporary file beside `target`; on success flush it to the disk and rename it to `target`.

    On any exception the temporary file is removed and an earlier `target` stays as it was. The temporary name
    keeps the target's suffix, because many libraries choose the format by it. Raises NoRoom if the disk is full, or
    has fewer than `size` bytes left.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    check_room(target, size)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.stem}.", suffix=f".partial{target.suffix}")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)     # mkstemp gives 0600: colleagues could not read the results
        os.replace(temporary, target)
        _flush_folder(target.parent)
    except OSError as problem:
        if problem.errno not in NO_ROOM:
            raise
        temporary.unlink(missing_ok=True)       # so that what it took counts as free
        raise NoRoom(_no_room(target, size, problem.errno)) from None
    finally:
        temporary.unlink(missing_ok=True)


def write(target, *parts):
    """Write the bytes `parts`, one after the other, to `target`, whole or not at all. Raises NoRoom."""
    with replacing(target, sum(map(len, parts))) as temporary, open(temporary, "wb") as file:
        for part in parts:
            file.write(part)


def link(source, target):
    """Give the content of `source` the name `target` too, which is replaced; a copy where there are no hard links."""
    with replacing(target) as temporary:
        temporary.unlink()
        try:
            os.link(source, temporary)
        except OSError as problem:
            if problem.errno not in NO_LINKS:
                raise
            shutil.copyfile(source, temporary)


@contextlib.contextmanager
def noticing_a_full_disk(path):
    """Raise NoRoom where what is done to `path` within fails for lack of room."""
    try:
        yield
    except OSError as problem:
        if problem.errno not in NO_ROOM:
            raise
        raise NoRoom(_no_room(path, 0, problem.errno)) from None


def check_room(path, size):
    """Raise NoRoom if the disk on which the folder of `path` lies has fewer than `size` bytes left."""
    if size > _free(path):
        raise NoRoom(_no_room(path, size, errno.ENOSPC))


def _free(path):
    room = os.statvfs(Path(path).parent)
    return room.f_bavail * room.f_frsize


def _no_room(path, size, number):
    needed = f"it needs {size:,} bytes, and " if size else ""
    room = "your quota is used up" if number == errno.EDQUOT else f"{_free(path):,} bytes are free on its disk"
    return (f"{path} can't be written: {needed}{room}: make room and repeat the command, with -w to go on with a "
            f"training; what was there before is kept")


class Lock:
    """A lock of the operating system on a file: it ends with its process, however that ends, and at a reboot.

    fcntl's locks work on NFS too. What the file says (host, process, job) is for people only.

    holder      who has it, in words, where it could not be taken
    works       False where the file system has no locks
    """

    def __init__(self, path):
        self.path, self.file, self.holder, self.works = Path(path), None, "", True

    def take(self):
        """Take the lock for this process alone; False if another one has it."""
        try:
            self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.file.seek(0)
            self.holder = " ".join(self.file.read(1000).split()) or "it has not said who it is"
            self.file.close()
            return False
        with contextlib.suppress(OSError):      # a full disk: the lock holds without a word
            os.truncate(self.path, 0)
            os.write(self.file.fileno(), whoami().encode())
        return True

    def share(self):
        """Take the lock together with others, or let others share it: nobody can then take it for himself alone."""
        if self.file is None or self.file.closed:
            self._lock(fcntl.LOCK_SH)
        elif self.works:
            fcntl.lockf(self.file, fcntl.LOCK_SH)

    def release(self):
        """Let go of the lock, and remove its file if nobody shares it."""
        with contextlib.suppress(OSError):
            fcntl.lockf(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.path.unlink(missing_ok=True)
        self.file.close()

    def _lock(self, operation):
        while True:
            self.file = open(self.path, "a+")
            try:
                fcntl.lockf(self.file, operation)
                if os.path.samestat(os.fstat(self.file.fileno()), os.stat(self.path)):
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
                print(f"warning: {self.path.parent}: this file system has no locks: see to it that no second job "
                      f"writes here", file=sys.stderr)
                return


@contextlib.contextmanager
def shared_lock(folder, run):
    """While other jobs may write to `folder` too: first remove what killed jobs of this name left, if none is at work."""
    lock = Lock(folder / f".lock.{run}")
    if lock.take() and lock.works:
        remove_leftovers(folder, run)
    lock.share()
    try:
        yield
    finally:
        lock.release()


def whoami():
    """Host, process and job of this run, in words."""
    job = os.environ.get("SLURM_JOB_ID") or os.environ.get("PBS_JOBID") or os.environ.get("JOB_ID")
    return (f"host {socket.gethostname()}, process {os.getpid()}, " + (f"job {job}, " if job else "") +
            f"since {datetime.datetime.now():%Y-%m-%d %H:%M}")


def remove_leftovers(folder, run):
    """Remove what killed writers of the files *.`run`.* left half-written in `folder`; none may be at work."""
    for path in Path(folder).glob(f".*.{run}.*partial*"):
        path.unlink(missing_ok=True)


def make_writable(*folders):
    """Create the folders where they are missing. Raises OSError now, rather than at the end, if one can't be written."""
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()


def _flush_folder(folder):
    """Make a rename in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
