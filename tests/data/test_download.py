"""Downloads: cached, verified, resumed after an interruption; failures are reported in one line."""

import hashlib

import numpy as np
import pytest

from biogans.data import download, public_data
from biogans.io import download as transfer
from biogans.system.errors import InputError
from biogans.system.files import Lock
from server import serving

CONTENT = np.random.default_rng(0).bytes(300_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch):
    """Serve one file as the public data set "cells", with a published digest."""
    with serving({"cells/all.bin": CONTENT}) as server:
        monkeypatch.setitem(public_data.PUBLIC, "cells",
                            public_data.Public(server.url + "/cells", {"all.bin": DIGEST}, "cells"))
        yield server


def unknown_digest(server):
    public_data.PUBLIC["cells"] = public_data.Public(server.url + "/cells", {"all.bin": None}, "cells")


def mistake(cache, **arguments):
    with pytest.raises(InputError) as refusal:
        download.fetch("cells", cache, **arguments)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def test_a_file_is_requested_once(server, tmp_path, capsys):
    for _ in range(2):
        folder = download.fetch("cells", tmp_path)
        assert (folder / "all.bin").read_bytes() == CONTENT
    assert server.asked == [("cells/all.bin", None)]
    assert [path.name for path in folder.iterdir()] == ["all.bin"]          # no parts, no locks
    assert "0.3 MB" in capsys.readouterr().out


def test_colleagues_may_read_the_cache(server, tmp_path):
    (tmp_path / "as usual").touch()
    path = download.fetch("cells", tmp_path / "cache") / "all.bin"
    assert path.stat().st_mode == (tmp_path / "as usual").stat().st_mode


def test_an_interrupted_download_resumes(server, tmp_path, capsys):
    """The last block, up to 64 kB, may be lost with the connection."""
    sizes = []
    for server.breaks_at in (100_000, 250_000):
        message = mistake(tmp_path)
        sizes.append((tmp_path / "cells/all.bin.part").stat().st_size)
        assert f"interrupted after {sizes[-1]:,} of 300,000 bytes" in message and message.endswith("to resume")
        assert server.breaks_at - (1 << 16) < sizes[-1] <= server.breaks_at
        assert not (tmp_path / "cells/all.bin").exists()
    server.breaks_at = None
    assert (download.fetch("cells", tmp_path) / "all.bin").read_bytes() == CONTENT
    assert [asked for _, asked in server.asked] == [None, f"bytes={sizes[0]}-", f"bytes={sizes[1]}-"]
    assert "resuming after 0.2 MB" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize("known", [True, False], ids=["digest known", "unknown"])
def test_parts_of_two_versions_are_never_joined(server, tmp_path, known):
    known or unknown_digest(server)
    server.files["cells/all.bin"], server.breaks_at = CONTENT[::-1], 100_000
    mistake(tmp_path)
    server.files["cells/all.bin"], server.breaks_at, server.version = CONTENT, None, '"2"'
    assert (download.fetch("cells", tmp_path) / "all.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("version", [None, 'W/"1"'])
def test_without_support_for_resuming_a_download_starts_again(server, tmp_path, version):
    server.version, server.breaks_at = version, 100_000
    assert "start again" in mistake(tmp_path)
    server.breaks_at = None
    assert (download.fetch("cells", tmp_path) / "all.bin").read_bytes() == CONTENT
    assert [asked for _, asked in server.asked] == [None, None]


@pytest.mark.parametrize("size", [len(CONTENT), len(CONTENT) + 5])
def test_a_part_with_nothing_left_to_request(server, tmp_path, size):
    """As left by a process that was killed after the last byte."""
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells/all.bin.part").write_bytes(bytes(size))
    (tmp_path / "cells/all.bin.part.version").write_text('"1"')
    assert (download.fetch("cells", tmp_path) / "all.bin").read_bytes() == CONTENT


def test_a_wrong_digest_keeps_nothing(server, tmp_path):
    server.files["cells/all.bin"] = CONTENT[:-1] + b"?"
    message = mistake(tmp_path)
    assert "not the expected file" in message and DIGEST in message
    assert not list((tmp_path / "cells").iterdir())
    server.files["cells/all.bin"] = CONTENT
    assert (download.fetch("cells", tmp_path) / "all.bin").read_bytes() == CONTENT


def test_a_damaged_file_in_the_cache_is_downloaded_again(server, tmp_path):
    path = download.fetch("cells", tmp_path) / "all.bin"
    path.write_bytes(CONTENT[:1000])
    download.fetch("cells", tmp_path)
    assert path.read_bytes() == CONTENT and len(server.asked) == 2


@pytest.mark.parametrize("announced", [True, False])
def test_a_download_has_a_limit(server, tmp_path, monkeypatch, announced):
    server.announces = announced
    monkeypatch.setattr(transfer, "LARGEST", 100_000)
    assert "more than 0.0 GB" in mistake(tmp_path)
    assert not list((tmp_path / "cells").iterdir())


def test_an_unknown_digest_is_printed(server, tmp_path, capsys):
    unknown_digest(server)
    download.fetch("cells", tmp_path)
    assert DIGEST in capsys.readouterr().out


def test_a_missing_file(server, tmp_path):
    message = mistake(tmp_path, url=server.url + "/elsewhere")
    assert message.startswith(f"{server.url}/elsewhere/all.bin: the server answers 404") and "--from" in message


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "cells", "gopher://127.0.0.1"])
def test_an_address_that_does_not_answer(server, tmp_path, url):
    message = mistake(tmp_path, url=url)
    assert message.startswith(url) and "not reached" in message and "--from" in message


def test_two_processes_do_not_write_the_same_file(server, tmp_path, monkeypatch):
    monkeypatch.setattr(Lock, "take", lambda lock: False)
    assert "another process is downloading" in mistake(tmp_path) and server.asked == []
