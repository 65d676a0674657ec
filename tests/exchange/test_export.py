"""What biogans export writes draws what Keras draws, in the programs that it is for."""

import hashlib
import importlib
import io
import json
import sys
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from networks import images, settings, spec
from PIL import Image
from test_onnx_graph import trained

from biogans.core import checkpoint, models
from biogans.exchange import export, onnx_graph
from biogans.core.engine import generate, float32_generator
from biogans.system.lazy import keras, tensorflow

Z = np.random.default_rng(5).standard_normal((3, 6), np.float32)
SMALL = {"InfoGAN": {"categorical": (3,), "continuous": 1}}
INFO = 20                   # how the zoo's validator marks what is no fault
AUTHOR = ("--author", "First Author", "--github", "author", "--license", "CC-BY-4.0")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module", params=models.ARCHITECTURES)
def each(request, tmp_path_factory):
    """(architecture, the name of a weights file, the generator in it), for every architecture."""
    path = tmp_path_factory.mktemp("each") / "generator.h5"
    return request.param, path, model(request.param, path)[1]


def model(architecture="DCGAN", path="generator.h5", **changes):
    """(the name of a weights file, the generator in it)."""
    keras.utils.set_random_seed(0)
    network = spec(architecture, init="he", **(SMALL.get(architecture, {}) | changes))
    generator = trained(float32_generator(network))
    facts = checkpoint.about(network, settings(), images(channels=network.channels)) | {"iteration": 7, "position": 0}
    checkpoint.save_generator(path, generator, facts, with_architecture=False)
    return path, generator


def exported(capsys, *arguments):
    """What was written, and the line that tells how far it is from Keras."""
    assert export.main([*map(str, arguments)]) == 0
    lines = capsys.readouterr().out.splitlines()
    return lines[-1].split(": ")[1], lines[-2]


def refused(capsys, *arguments):
    assert export.main([*map(str, arguments)]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    return line


# ---------------------------------------------------------------------------------------------- ONNX, SavedModel

def test_onnx(each, capsys):
    """In float32, to the last digits, and the file says what its channels are."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="no onnxruntime: pip install 'biogans[test]'")
    architecture, path, generator = each
    target, line = exported(capsys, "-i", path)
    assert target.startswith(f"exports/generator.{architecture}.WGAN-GP.") and target.endswith(".onnx")
    assert line.startswith(f"16 cells drawn by ONNX Runtime {onnxruntime.__version__} differ from Keras's by at most ")
    assert float(line.split("at most ")[1].split()[0]) < 1e-5
    session = onnxruntime.InferenceSession(target)
    np.testing.assert_allclose(session.run(None, {"z": Z})[0], generate(generator, Z), atol=1e-5)
    known = session.get_modelmeta().custom_metadata_map
    assert json.loads(known["channel_names"]) == [*checkpoint.load_generator(path)[1].channel_names]
    assert json.loads(known["value_range"]) == [-1, 1] and known["iteration"] == "7"
    assert [code["name"] for code in json.loads(known["codes"])] == (["c0", "u0"] if architecture == "InfoGAN" else [])


def test_onnx_is_checked_without_its_runtime_too(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    path, generator = model()
    target, line = exported(capsys, "-i", path, "-o", "drawn.onnx")
    assert target == "drawn.onnx" and "drawn by ONNX's reference" in line


def test_what_draws_otherwise_is_not_written(capsys, monkeypatch, here):
    """As where somebody's translation of a layer is wrong."""
    monkeypatch.setitem(onnx_graph.LAYERS, "ReLU", lambda graph, layer, value: value)
    path, _ = model()
    assert "draws other pixels than Keras" in refused(capsys, "-i", path)
    assert not (here / "exports").exists()


def test_saved_model(each, capsys):
    _, path, generator = each
    target, line = exported(capsys, "-i", path, "-f", "savedmodel", "-o", "served/1")
    assert target == "served/1" and float(line.split("at most ")[1].split()[0]) < 1e-5
    loaded = tensorflow.saved_model.load("served/1")
    np.testing.assert_allclose(loaded.serve(Z).numpy(), generate(generator, Z), atol=1e-5)


def test_a_saved_model_replaces_one_and_nothing_else(capsys, here):
    path, _ = model()
    (here / "mine").mkdir()
    (here / "mine/notes.txt").write_text("mine")
    assert "mine is there and no SavedModel" in refused(capsys, "-i", path, "-f", "savedmodel", "-o", "mine")
    assert [entry.name for entry in (here / "mine").iterdir()] == ["notes.txt"]
    exported(capsys, "-i", path, "-f", "savedmodel", "-o", "served/1")
    path, generator = model("DCGAN-separable")
    exported(capsys, "-i", path, "-f", "savedmodel", "-o", "served/1")
    loaded = tensorflow.saved_model.load("served/1")
    np.testing.assert_allclose(loaded.serve(Z), generate(generator, Z), atol=1e-5)
    assert [entry.name for entry in (here / "served").iterdir()] == ["1"]


# ---------------------------------------------------------------------------------------------- packages

def content(target):
    """{name: bytes} of a zip file."""
    with zipfile.ZipFile(target) as package:
        return {name: package.read(name) for name in package.namelist()}


def test_package(capsys, here):
    """Every file's digest is right; both networks draw its test; Keras needs no code of ours for that."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="no onnxruntime: pip install 'biogans[test]'")
    path, generator = model("DCGAN-starshaped")
    target, line = exported(capsys, "-i", path, "-f", "bioimageio", "--name", "Two factors", *AUTHOR)
    assert target == "exports/generator.DCGAN-starshaped.WGAN-GP.2.bioimageio.zip"
    files = content(target)
    described = json.loads(files["rdf.yaml"])
    assert described["name"] == "Two factors" and described["license"] == "CC-BY-4.0"
    for file in (described["inputs"][0]["test_tensor"], described["outputs"][0]["test_tensor"],
                 *described["weights"].values()):
        assert hashlib.sha256(files[file["source"]]).hexdigest() == file["sha256"]
    z, cells = (np.load(io.BytesIO(files[name])) for name in ("z.npy", "cells.npy"))
    np.testing.assert_allclose(generate(generator, z), cells, atol=1e-6)
    (here / "keras.h5").write_bytes(files["generator.h5"])
    loaded = keras.models.load_model("keras.h5", compile=False)
    np.testing.assert_allclose(loaded.predict(z, verbose=0), cells, atol=1e-6)
    session = onnxruntime.InferenceSession(files["generator.onnx"])
    np.testing.assert_allclose(session.run(None, {"z": z})[0], cells, atol=1e-5)
    assert described["outputs"][0]["axes"][-1]["channel_names"] == ["red", "Alp14", "Tea1"]
    assert Image.open(io.BytesIO(files["cover.png"])).size == (1000, 500)
    text = files["README.md"].decode()
    assert "# Two factors" in text and "## Validation" in text and "| 2 | Tea1 |" in text


def test_the_file_of_a_package_is_one_of_ours(capsys, here):
    """predict.py and others take it."""
    path, generator = model()
    target, _ = exported(capsys, "-i", path, "-f", "bioimageio")
    (here / "unpacked.h5").write_bytes(content(target)["generator.h5"])
    loaded, _, facts = checkpoint.load_generator("unpacked.h5")
    np.testing.assert_array_equal(generate(loaded, Z), generate(generator, Z))
    assert facts["iteration"] == 7


def test_codes_are_described_where_there_are_some(capsys):
    path, _ = model("InfoGAN")
    target, _ = exported(capsys, "-i", path, "-f", "bioimageio")
    files = content(target)
    text = files["README.md"].decode()
    assert "c0 is z[2:5], categorical (one of them is 1, the others 0); u0 is z[5:6], continuous" in text
    z = np.load(io.BytesIO(files["z.npy"]))
    np.testing.assert_array_equal(np.sort(z[:, 2:5]), np.tile([0, 0, 1], (len(z), 1)))


@pytest.fixture
def validated(monkeypatch):
    """A function that returns what the zoo's validator, which can't ask the network, says of a package."""
    core = pytest.importorskip("bioimageio.core", reason="no validator: pip install 'biogans[zoo]'")
    httpx = importlib.import_module("httpx")

    def nowhere(method, address, **unused):
        raise httpx.ConnectError("no network", request=httpx.Request(method, address))
    monkeypatch.setattr(httpx, "request", nowhere)
    monkeypatch.setattr(httpx, "get", lambda *unused, **too: SimpleNamespace(status_code=200))      # GitHub's user
    return lambda target: core.test_description(target)


@pytest.mark.slow
def test_the_zoo_accepts_it(each, validated, capsys, here):
    """A valid description without remarks, and both networks draw the test cells, in batches of any size."""
    target, _ = exported(capsys, "-i", each[1], "-f", "bioimageio", *AUTHOR)
    found = validated(here / target)
    assert found.status == "passed" and not [entry for entry in found.warnings if entry.severity > INFO], found.format()
    assert {detail.loc for detail in found.details if detail.status == "passed"} >= {
        ("weights", "onnx"), ("weights", "keras_hdf5")}


@pytest.mark.parametrize("changes", [
    {"factors": ("2nd factor", "class", "Pom 1/a")}, pytest.param({"channels": 1}, marks=pytest.mark.slow),
    pytest.param({"channels": 3}, marks=pytest.mark.slow)])
def test_the_zoo_accepts_other_channels_and_names(changes, validated, capsys, here):
    path, _ = model("DCGAN-starshaped" if "factors" in changes else "DCGAN", **changes)
    target, _ = exported(capsys, "-i", path, "-f", "bioimageio")
    found = validated(here / target)
    assert found.status == "passed", found.format()


@pytest.mark.parametrize("arguments, words", [
    (("--author", "Author"), "give --format bioimageio"),
    (("--license", "MIT", "-f", "savedmodel"), "give --format bioimageio"),
    (("-i", "missing.h5"), "missing.h5: no such file")])
def test_mistakes(arguments, words, capsys):
    path, _ = model()
    assert words in refused(capsys, "-i", path, *arguments)


def test_names_that_the_zoo_does_not_allow(capsys):
    with pytest.raises(SystemExit) as end:
        export.parser().parse_args(["-i", "generator.h5", "-f", "bioimageio", "--name", "Ö"])
    assert end.value.code == 2 and "letters, digits" in capsys.readouterr().err


@pytest.mark.parametrize("written", ["savedmodel", "bioimageio"])
def test_what_tensorflow_writes_is_refused_on_jax(written, capsys, monkeypatch):
    path, _ = model()
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setattr(export.lazy, "backend", lambda: "jax")
    assert "is written by TensorFlow: unset KERAS_BACKEND" in refused(capsys, "-i", path, "-f", written)
