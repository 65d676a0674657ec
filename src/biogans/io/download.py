"""Download files; interrupted downloads resume."""

import contextlib
import os
from pathlib import Path

from ..system.errors import InputError
from ..system.files import Lock, noticing_a_full_disk, open_own, require_regular, write

SECONDS = 30            # without a byte, after which a connection counts as broken
LARGEST = 2 ** 31       # bytes of a file: the largest of the public data has 1.3 GB


def cache_folder() -> Path:
    """The folder for downloads of this user (~/.cache/biogans)."""
    import pooch
    return Path(pooch.os_cache("biogans"))


def retrieve(url: str, path: Path, digest: str | None, elsewhere: str) -> None:
    """Download a file unless `path` exists with this SHA-256 (any if None); only one process at a time.

    elsewhere   what the user can do if this server lacks the file
    Raises InputError or NoRoom.
    """
    import pooch
    import requests
    pooch.get_logger().setLevel("ERROR")
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        for present in filter(os.path.lexists, (path, *_Resuming(path, elsewhere).files)):
            require_regular(present)        # a pipe would never end
        try:
            pooch.retrieve(url, digest, path.name, path.parent, downloader=_Resuming(path, elsewhere))
        except requests.HTTPError as problem:
            answer = f"{problem.response.status_code} {problem.response.reason}"
            raise InputError(f"{url}: the server answers {answer}: {elsewhere}") from None
        except requests.RequestException as problem:
            raise InputError(f"{url}: not reached ({type(problem).__name__}): repeat the command when the network is "
                             f"available, or {elsewhere}") from None
        except ValueError as problem:           # raised by pooch for a wrong digest
            reason = str(problem).split(". ")[0]
            raise InputError(f"{url}: not the expected file, therefore not kept ({reason}): repeat the command, or "
                             f"{elsewhere}") from None


@contextlib.contextmanager
def _locked(path):
    lock = Lock(path.with_name(f".lock.{path.name}"))
    if not lock.take():
        raise InputError(f"{path}: another process is downloading this file ({lock.holder}): wait until it finishes")
    try:
        yield
    finally:
        lock.release()


class _Resuming:
    """A downloader for pooch that resumes; pooch's own one always starts from the beginning.

    The part received so far is kept as <name>.part, with the server's identifier of this version of the file beside it:
    only the rest of the same version is requested (RFC 9110, 13.1.5 and 14.2).
    """

    def __init__(self, path, elsewhere):
        self.elsewhere = elsewhere
        self.files = path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.part.version")
        self.part, self.version = self.files

    def __call__(self, url, output_file, pooch):
        import requests
        done, headers = 0, {"Accept-Encoding": "identity"}
        if self.part.exists() and self.version.exists():
            done = self.part.stat().st_size
            headers |= {"Range": f"bytes={done}-", "If-Range": self.version.read_text()}
        with requests.get(url, headers=headers, stream=True, timeout=SECONDS) as response:
            if response.status_code == 416:         # there are no further bytes
                self.version.unlink()
                return self(url, output_file, pooch)
            response.raise_for_status()
            if not response.headers.get("Content-Range", "").startswith(f"bytes {done}-"):
                done = 0
                self._remember(response.headers)
            self._receive(response, done)
        self.part.replace(output_file)
        self.version.unlink(missing_ok=True)

    def _remember(self, headers):
        """Record the version of the file, unless the server gives no strong identifier."""
        self.version.unlink(missing_ok=True)
        tag = headers.get("ETag", "W/")
        version = headers.get("Last-Modified") if tag.startswith("W/") else tag
        if version:
            write(self.version, version.encode())

    def _refuse(self, url):
        """Remove what has been received, and raise InputError."""
        self.part.unlink()
        self.version.unlink(missing_ok=True)
        raise InputError(f"{url}: more than {LARGEST / 1e9:.1f} GB, which none of these files has: {self.elsewhere}")

    def _receive(self, response, done):
        """Append the body to the part, after its first `done` bytes. Raises InputError if the body ends early."""
        import requests
        from tqdm import tqdm
        total = done + int(response.headers.get("Content-Length", 0))
        so_far = f", resuming after {done / 1e6:.1f} MB" if done else ""
        print(f"{response.url}  {total / 1e6:.1f} MB{so_far}", flush=True)
        whole = True
        with (open_own(self.part, "ab" if done else "wb") as file, noticing_a_full_disk(self.part),
              tqdm(total=total or None, initial=done, unit="B", unit_scale=True, disable=None, leave=False) as bar):
            try:
                for block in response.iter_content(1 << 16):
                    if max(total, file.tell() + len(block)) > LARGEST:
                        self._refuse(response.url)
                    file.write(block)
                    bar.update(len(block))
            except requests.RequestException:
                whole = False
        here = self.part.stat().st_size
        if not whole or here < total:
            effect = "resume" if self.version.exists() else "start again, because this server does not support resuming"
            of = f"{here:,} of {total:,}" if total else f"{here:,}"
            raise InputError(f"{response.url}: interrupted after {of} bytes: repeat the command to {effect}")
