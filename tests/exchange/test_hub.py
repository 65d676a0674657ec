"""A folder for the Hugging Face Hub, and its way back: from a folder, from a server, from the cache."""

import json
import os

import h5py
import numpy as np
import pytest

from biogans.core import trained
from biogans.exchange import export
from biogans.io import download, hub
from biogans.system.errors import InputError
from server import serving
from test_export import AUTHOR, model

COMMITS = "1" * 40, "2" * 40


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(download, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(hub, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path


def published(server, commit, path, revision="main"):
    """Publish the file of a generator as a commit of you/cells, to which the revision points."""
    server.files[f"api/models/you/cells/revision/{revision}"] = json.dumps({"id": "you/cells", "sha": commit}).encode()
    server.files[f"you/cells/resolve/{commit}/generator.h5"] = path.read_bytes()


@pytest.fixture
def server(monkeypatch, here):
    path, generator = model("DCGAN-starshaped", here / "generator.h5")
    with serving({}) as server:
        published(server, COMMITS[0], path)
        monkeypatch.setenv("HF_ENDPOINT", server.url + "/")
        yield server


def refused(address):
    with pytest.raises(InputError) as refusal:
        trained.load_generator(address)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def test_the_folder(here, capsys):
    """A card with metadata, the weights, a package for the zoo; -i takes the folder; it is replaced, others are not."""
    path, generator = model("DCGAN-starshaped")
    (here / "other").mkdir()
    for _ in range(2):
        assert export.main(["-i", path, "-f", "hub", "-o", "mine", *AUTHOR]) == 0
    assert export.main(["-i", path, "-f", "hub", "-o", "other"]) == 2
    assert "other exists and is no folder for the Hub" in capsys.readouterr().err
    assert {file.name for file in (here / "mine").iterdir()} == {
        "README.md", "rdf.yaml", "generator.h5", "generator.onnx", "cover.png", "z.npy", "cells.npy", "z.tif",
        "cells.tif"}
    start, metadata, text = (here / "mine/README.md").read_text().split("---\n", 2)
    known = json.loads(metadata)
    assert start == "" and known["license"] == "cc-by-4.0" and known["library_name"] == "keras"
    assert "No microscope saw these cells" in text and "(cover.png)" in text
    assert [known["tags"], "README.md"] == [json.loads((here / "mine/rdf.yaml").read_text())[name]
                                            for name in ("tags", "documentation")]
    z, cells = np.load("mine/z.npy"), np.load("mine/cells.npy")
    np.testing.assert_allclose(trained.load_generator("mine").generate(z), cells, atol=1e-5)
    assert not [name for name in here.iterdir() if name.name.startswith(".")]


def test_commands_take_an_address(server, here, run):
    """predict.py, in a process of its own, downloads the file and generates what the file here does."""
    environment = os.environ | {"HF_ENDPOINT": server.url, "XDG_CACHE_HOME": str(here / "cache")}
    for source in ("hf://you/cells", "generator.h5"):
        done = run("predict.py", "-i", source, "-n", "3", "-s", "1", cwd=here, env=environment)
        assert done.returncode == 0, done.stderr
        with h5py.File("images/stack3.DCGAN-starshaped.WGAN-GP.h5") as file:
            cells = file["stack"][()]
        if source.startswith("hf"):
            from_the_hub = cells
    assert np.array_equal(cells, from_the_hub)


def test_a_version_is_downloaded_once_and_a_new_one_is_noticed(server, here):
    path = hub.fetch("hf://you/cells")
    assert path.read_bytes() == (here / "generator.h5").read_bytes()
    assert hub.fetch("hf://you/cells") == path and hub.fetch(f"hf://you/cells@{COMMITS[0]}") == path
    assert [name for name, _ in server.asked].count(f"you/cells/resolve/{COMMITS[0]}/generator.h5") == 1
    newer, _ = model("DCGAN", here / "newer.h5")
    published(server, COMMITS[1], newer)
    assert trained.load_generator("hf://you/cells").spec.architecture == "DCGAN"
    assert trained.load_generator(f"hf://you/cells@{COMMITS[0]}").spec.architecture == "DCGAN-starshaped"


def test_without_a_network_the_last_version_serves(server, here, monkeypatch, capsys):
    newer, _ = model("DCGAN", here / "newer.h5")
    published(server, COMMITS[1], newer, "v2")
    main, second = hub.fetch("hf://you/cells"), hub.fetch("hf://you/cells@v2")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert (hub.fetch("hf://you/cells"), hub.fetch("hf://you/cells@v2")) == (main, second)
    assert "is not reached: using" in capsys.readouterr().err
    assert "not reached" in refused("hf://you/others") and "not reached" in refused("hf://you/cells@v3")


@pytest.mark.parametrize("address", ["hf://you", "hf://../cells", "hf://you/..", "hf://you/cells@../x", "hf://a/b/c",
                                     "hf://you/cells@", "hf://you/a b"])
def test_other_addresses_are_refused(server, address):
    assert "no address of the Hub" in refused(address) and not server.asked


@pytest.mark.parametrize("answer", [b"no JSON", b"[]", b'{"sha": 1}', b'{"sha": "../../x"}', b"[" * 10**6, b"\xff"])
def test_an_answer_without_a_commit(server, here, answer):
    server.files["api/models/you/cells/revision/main"] = answer
    assert "names no commit" in refused("hf://you/cells") and not (here / "cache").exists()


def test_missing_repositories_and_files(server):
    assert "answers 404" in refused("hf://you/other") and "whether it is public" in refused("hf://you/other")
    del server.files[f"you/cells/resolve/{COMMITS[0]}/generator.h5"]
    assert "as biogans export --format hub writes it" in refused("hf://you/cells")


def test_what_the_server_sends_is_not_trusted(server):
    """A damaged file, and one of another kind, are refused like any file of a stranger."""
    name = f"you/cells/resolve/{COMMITS[0]}/generator.h5"
    content = bytearray(server.files[name])
    content[len(content) // 2] ^= 1
    server.files[name] = bytes(content)
    assert "damaged" in refused("hf://you/cells") or "changed" in refused("hf://you/cells")
    published_elsewhere = "3" * 40
    server.files[f"you/cells/resolve/{published_elsewhere}/generator.h5"] = b"PK\x03\x04 an archive"
    assert refused(f"hf://you/cells@{published_elsewhere}")
