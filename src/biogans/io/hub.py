"""Generators on the Hugging Face Hub: hf://user/name, or hf://user/name@revision."""

import contextlib
import os
import re
import sys
from pathlib import Path

from ..system.errors import InputError
from ..system.files import write
from ..system.json_text import parse_json
from .download import SECONDS, cache_folder, retrieve

SCHEME = "hf://"
FILE = "generator.h5"                   # of `biogans export --format hub`
ADDRESS = re.compile(r"hf://(?P<repository>[\w-][\w.-]*/[\w-][\w.-]*)(@(?P<revision>[\w-][\w.-]*))?")
COMMIT = re.compile(r"[0-9a-f]{40}")
LARGEST_ANSWER = 1 << 22                # bytes of the description of a repository


def fetch(address: str) -> Path:
    """The file generator.h5 of a repository, downloaded into the user's cache unless it is there.

    The server is HF_ENDPOINT, by default https://huggingface.co. Without a network the version downloaded last serves.
    Raises InputError for an invalid address, or if the file is nowhere.
    """
    found = ADDRESS.fullmatch(address)
    if not found:
        raise InputError(f"{address}: this is no address of the Hub: give hf://user/name, or hf://user/name@revision")
    server = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    repository, revision = found["repository"], found["revision"] or "main"
    folder = cache_folder() / "hub" / repository
    commit = _commit(server, repository, revision, folder)
    path = folder / commit / FILE
    if not path.exists():
        retrieve(f"{server}/{repository}/resolve/{commit}/{FILE}", path, None,
                 f"check that {server}/{repository} has a {FILE}, as biogans export --format hub writes it")
    return path


def _commit(server, repository, revision, folder):
    """The commit of a revision, as the server knows it now; without a network as it knew it last."""
    import requests

    if COMMIT.fullmatch(revision):
        return revision
    last = folder / "revisions" / revision
    url = f"{server}/api/models/{repository}/revision/{revision}"
    try:
        with requests.get(url, stream=True, timeout=SECONDS) as response:
            response.raise_for_status()
            answer = parse_json(response.raw.read(LARGEST_ANSWER, decode_content=True))
            commit = answer.get("sha") if isinstance(answer, dict) else None
    except requests.HTTPError as problem:
        raise InputError(f"{server}/{repository}: the server answers {problem.response.status_code} "
                         f"{problem.response.reason} for {revision}: check the name of the repository, and whether it "
                         f"is public") from None
    except requests.RequestException as problem:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            commit = last.read_text()
            if COMMIT.fullmatch(commit) and (folder / commit / FILE).exists():
                print(f"{server} is not reached: using {folder / commit / FILE}, downloaded earlier", file=sys.stderr)
                return commit
        raise InputError(f"{server}/{repository}: not reached ({type(problem).__name__}): repeat the command when the "
                         f"network is available") from None
    except ValueError:
        commit = None
    if not isinstance(commit, str) or not COMMIT.fullmatch(commit):
        raise InputError(f"{url}: the server names no commit: is {server} a Hub?")
    write(last, commit.encode())
    return commit
