"""Download public data into a cache."""

from pathlib import Path

from ..io.download import cache_folder, retrieve
from .public_data import PUBLIC

ELSEWHERE = "find a copy elsewhere, and give the address of its folder with --url or the downloaded file with --from"


def fetch(name, cache=None, url=None):
    """Download the files of PUBLIC[name] that the cache lacks; return their folder.

    cache   folder for all downloads; by default that of the user
    url     URL of a folder with copies of the files, to use instead of the published one

    Files with a published SHA-256 are verified; for others the digest is printed. Raises InputError or NoRoom.
    """
    import pooch

    public, folder = PUBLIC[name], Path(cache or cache_folder(), name).resolve()
    for file, digest in public.files.items():
        path = folder / file
        retrieve(f"{(url or public.address).rstrip('/')}/{file}", path, digest, ELSEWHERE)
        if digest is None:
            print(f"{path}: SHA-256 {pooch.file_hash(path)}, not verified because none is published")
    return folder
