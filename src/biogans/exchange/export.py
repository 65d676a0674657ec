"""Export a generator to ONNX, SavedModel or the BioImage Model Zoo."""

import datetime
import hashlib
import importlib.util
import io
import json
import keyword
import os
import re
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..core import checkpoint, codes, models, options as command_line, predict
from ..system import launch
from . import onnx_graph
from ..system import lazy
from ..system.errors import InputError
from ..system.files import replacing, write

EXPORTS = Path("exports")
CELLS = 16                  # that are drawn by Keras and by what was written
TOLERANCE = 1e-4            # of their pixels, which are in [-1, 1]
TEST_CELLS = 4              # of these, that a package holds as its test
COVER = (1000, 500)         # pixels: the zoo wants 2:1
PAPER = "https://arxiv.org/abs/1708.04692"
FORMAT_VERSION = "0.5.3"    # of the zoo's descriptions


class Trained(NamedTuple):
    """A generator (Keras), its NetworkSpec and facts, the file `path` that it is from, and cells that Keras draws.

    z (CELLS, nz)    cells (CELLS, height, width, channels) in [-1, 1]
    """

    path: Path
    generator: object
    spec: models.NetworkSpec
    facts: dict
    z: np.ndarray
    cells: np.ndarray

    @property
    def name(self):
        return f"{self.spec.architecture}.{self.facts['training']['algorithm']}.{self.spec.greens}"


def export(options):
    """Write a generator as the parsed `options` say. Raises InputError for a user's mistake."""
    launch.announce()
    if options.format != "bioimageio" and (options.name or options.author or options.github or options.license):
        raise InputError("--name, --author, --github and --license are of a package: give --format bioimageio too")
    if options.format != "onnx" and lazy.backend() != "tensorflow":
        raise InputError(f"--format {options.format} is written by TensorFlow: unset KERAS_BACKEND")
    trained = load(checkpoint.find(options.input_file, options.checkpoints_dir))
    write_it, ending = FORMATS[options.format]
    target = Path(options.output) if options.output else EXPORTS / f"generator.{trained.name}{ending}"
    difference, program = write_it(target, trained, options)
    print(f"{CELLS} cells drawn by {program} differ from Keras's by at most {difference:.2g} (pixels are in [-1, 1])\n"
          f"Output {options.format} to file: {target}")


def load(path):
    """The Trained of a weights file. Raises InputError."""
    from ..core.engine import generate

    generator, spec, facts = checkpoint.load_generator(path)
    z = codes.from_normal(next(predict.latents(CELLS, spec.nz, 0, CELLS)), spec.codes)
    return Trained(path, generator, spec, facts, z, generate(generator, z))


def difference(trained, drawn, program):
    """The largest difference of pixels that another program has `drawn`. Raises InputError if it is large."""
    largest = np.abs(drawn - trained.cells).max()
    if not largest <= TOLERANCE:
        raise InputError(f"{trained.path}: {program} draws other pixels than Keras, by up to {largest:.2g}, so nothing "
                         f"was written: if you changed models.py, see what onnx_graph.py makes of its layers")
    return largest


# ---------------------------------------------------------------------------------------------- ONNX, SavedModel

def write_onnx(target, trained, options):
    """Write an ONNX file; returns (largest difference from Keras, the program that drew)."""
    content, *found = onnx_of(trained)
    write(target, content)
    return found


def onnx_of(trained):
    """(the bytes of an ONNX file in float32, channels last, largest difference from Keras, the program that drew)."""
    import onnx
    import onnx.reference

    known = predict.stack_attributes(trained.path, trained.spec, trained.facts, range(len(trained.spec.channel_names)))
    properties = known | {"value_range": [-1.0, 1.0], "codes": codes.layout(trained.spec.codes)}
    content = onnx_graph.serialize(trained.generator, half=False, channels_last=True, properties={
        name: value if isinstance(value, str) else json.dumps(value) for name, value in properties.items()})
    if importlib.util.find_spec("onnxruntime"):
        import onnxruntime
        session, program = onnxruntime.InferenceSession(content), f"ONNX Runtime {onnxruntime.__version__}"
    else:
        session, program = onnx.reference.ReferenceEvaluator(onnx.load_from_string(content)), "ONNX's reference"
    return content, difference(trained, session.run(None, {"z": trained.z})[0], program), program


def write_saved_model(target, trained, options):
    """Write a SavedModel, a folder; returns (largest difference from Keras, the program that drew)."""
    if target.exists() and not (target / "saved_model.pb").is_file():
        raise InputError(f"{target} is there and no SavedModel: give another name with -o")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.", suffix=".partial") as temporary:
        new, old = Path(temporary, "new"), Path(temporary, "old")
        trained.generator.export(new, verbose=False)
        loaded = lazy.tensorflow.saved_model.load(str(new))
        program = f"TensorFlow {lazy.tensorflow.__version__}"
        found = difference(trained, loaded.serve(trained.z).numpy(), program)
        if target.exists():
            os.replace(target, old)
        os.replace(new, target)
    return found, program


# ---------------------------------------------------------------------------------------------- a package for the zoo

def write_package(target, trained, options):
    """Write a zip file for bioimage.io; returns (largest difference from Keras, the program that drew)."""
    onnx, *found = onnx_of(trained)
    with tempfile.TemporaryDirectory() as temporary:
        network = Path(temporary, "generator.h5")
        checkpoint.save_generator(network, trained.generator, trained.facts | {"holds": "generator"})
        files = {"generator.h5": network.read_bytes(), "generator.onnx": onnx, "z.npy": npy(trained.z[:TEST_CELLS]),
                 "cells.npy": npy(trained.cells[:TEST_CELLS]), "z.tif": tif(trained.z[:TEST_CELLS]),
                 "cells.tif": tif(trained.cells[:TEST_CELLS]), "cover.png": cover(trained),
                 "README.md": readme(trained, options).encode()}
    files["rdf.yaml"] = json.dumps(description(trained, options, files), indent=1).encode()     # JSON is YAML
    with replacing(target, sum(map(len, files.values()))) as temporary:
        with zipfile.ZipFile(temporary, "w") as package:
            for name, content in files.items():
                member = zipfile.ZipInfo(name)
                member.external_attr = 0o644 << 16          # else only its owner could read what is unpacked
                package.writestr(member, content, zipfile.ZIP_DEFLATED)
    return found


def description(trained, options, files):
    """What rdf.yaml says: https://github.com/bioimage-io/spec-bioimage-io, descriptions of models."""
    spec, facts = trained.spec, trained.facts
    side = {"scale": facts["pixel_size_um"], "unit": "micrometer"} if facts["pixel_size_um"] else {}
    z = [{"type": "batch"}, {"type": "index", "size": spec.nz}]
    cells = [{"type": "batch"}, {"type": "space", "id": "y", "size": spec.height} | side,
             {"type": "space", "id": "x", "size": spec.width} | side,
             {"type": "channel", "channel_names": [identifier(name) for name in spec.channel_names]}]
    codes_too = "standard normal numbers" + ("; those at the end are codes, see README.md" if spec.codes else "")

    def file(name):
        return {"source": name, "sha256": hashlib.sha256(files[name]).hexdigest()}
    return {
        "format_version": FORMAT_VERSION, "type": "model", "name": title(trained, options),
        "description": summary(trained),
        "authors": [{"name": name} for name in options.author],
        "maintainers": [{"github_user": options.github}] if options.github else [],
        "cite": [{"text": "Osokin, Chessel, Carazo Salas, Vaggi: GANs for Biological Image Synthesis. ICCV 2017",
                  "url": PAPER}],
        "tags": ["generative-adversarial-network", "image-synthesis", "fluorescence-light-microscopy", "cells", "2d",
                 "tensorflow", "biogans"],
        "timestamp": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "documentation": "README.md", "covers": ["cover.png"],
        "inputs": [{"id": "z", "description": codes_too, "axes": z, "data": {"type": "float32"},
                    "test_tensor": file("z.npy"), "sample_tensor": file("z.tif")}],
        "outputs": [{"id": "cells", "description": "synthetic images", "axes": cells,
                     "data": {"type": "float32", "range": [-1, 1]},
                     "test_tensor": file("cells.npy"), "sample_tensor": file("cells.tif")}],
        "weights": {
            "keras_hdf5": file("generator.h5") | {"tensorflow_version": lazy.tensorflow.__version__},
            "onnx": file("generator.onnx") | {"opset_version": onnx_graph.OPSET, "parent": "keras_hdf5"}},
    } | ({"license": options.license} if options.license else {})


def title(trained, options):
    """The model's name, of at least 5 of the characters that the zoo allows."""
    return options.name or f"BioGANs {trained.name.replace('.', ' ')}"


def summary(trained):
    """Two sentences."""
    spec = trained.spec
    return (f"Draws synthetic images of {spec.height}x{spec.width} pixels ({', '.join(spec.channel_names)}) from "
            f"{spec.nz} random numbers. A {spec.architecture} network, trained by "
            f"{trained.facts['training']['algorithm']} for {trained.facts['iteration']} iterations.")[:512]


def readme(trained, options):
    """The package's README.md."""
    spec, facts = trained.spec, trained.facts
    source = (f"Imported from PyTorch ({facts['imported']['file']}); the settings are the paper's."
              if "imported" in facts else
              f"{facts['images']['number']} images, SHA-256 of their pixels `{facts['images']['sha256']}`.")
    training = "\n".join(f"| {name} | {value} |" for name, value in facts["training"].items())
    names = "\n".join(f"| {k} | {name} |" for k, name in enumerate(spec.channel_names))
    channels = len(spec.channel_names)
    drawn = ("The numbers of z are independent and standard normal." if not spec.codes else
             "The numbers of z are independent and standard normal, but for the codes: "
             + "; ".join(f"{code['name']} is z[{code['indices'][0]}:{code['indices'][-1] + 1}], {code['kind']}"
                         + (" (one of them is 1, the others 0)" if code["kind"] == "categorical" else " (from -1 to 1)")
                         for code in codes.layout(spec.codes)) + ".")
    return f"""# {title(trained, options)}

{summary(trained)} **No microscope saw these cells.**

{drawn} Pixels are from -1 (black) to 1; `(cells + 1) / 2` is what the images of the training were, divided by 255.

| channel | |
|---|---|
{names}

```python
import numpy, onnxruntime
session = onnxruntime.InferenceSession("generator.onnx")
z = numpy.load("z.npy")                                 # (cells, {spec.nz}), float32
cells = session.run(None, {{"z": z}})[0]                  # (cells, {spec.height}, {spec.width}, {channels})
```

`keras.models.load_model("generator.h5")` draws the same, and BioGANs' commands take the file as it is.

## Validation

How far the cells are from real ones is measured by a classifier's two-sample test, Fréchet distances and others:
`biogans evaluate -i generator.h5 -d FOLDER`, where FOLDER holds images that the training did not see. That they look right
is no such measure: the network may draw what no cell has, and leave out what cells have.

## Training

{source} {facts['iteration']} iterations; weights: {facts.get('weights', 'moving average')}; BioGANs {facts['biogans']}.

| setting | |
|---|---|
{training}

Osokin, Chessel, Carazo Salas, Vaggi: *GANs for Biological Image Synthesis*, ICCV 2017, <{PAPER}>
"""


def cover(trained):
    """A PNG, as bytes, of some cells: all channels of each where they are many."""
    from PIL import Image, ImageOps
    from ..core import figures

    spec = trained.spec
    channels = spec.cell_channels if len(spec.cell_channels) == len(spec.channel_names) else spec.factor_channels[0]
    names = [spec.channel_names[k] for k in channels[1:]] if len(channels) > 2 else []
    picture = figures.sample_picture(trained.cells[:6 if names else CELLS][..., channels], names, columns=4)
    file = io.BytesIO()
    ImageOps.pad(Image.fromarray(picture), COVER, color=figures.PAPER).save(file, "PNG")
    return file.getvalue()


def npy(array):
    """The bytes of a .npy file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def tif(array):
    """The bytes of a TIFF, which the zoo shows to people."""
    import tifffile

    file = io.BytesIO()
    tifffile.imwrite(file, array, photometric="minisblack")
    return file.getvalue()


def identifier(name):
    """A name as the zoo wants those of channels: an identifier of Python's."""
    word = re.sub(r"\W", "_", name)
    return word if word.isidentifier() and not keyword.iskeyword(word) else f"_{word}"


FORMATS = {"onnx": (write_onnx, ".onnx"), "savedmodel": (write_saved_model, ".savedmodel"),
           "bioimageio": (write_package, ".bioimageio.zip")}


def parser():
    """The command line."""
    p = command_line.Parser(prog="biogans export", description=__doc__, epilog=(
        "All draw what Keras draws, float32 (cells, height, width, channels) in [-1, 1], of z (cells, nz): cells are\n"
        "drawn both ways and compared, and what differs is not written.\n\n"
        "examples:\n"
        "  biogans export -i checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.6.h5\n"
        "      exports/generator.DCGAN-starshaped.WGAN-GP.6.onnx\n"
        "  biogans export -i FILE --format savedmodel -o served/1\n"
        "      a folder for TensorFlow Serving and others\n"
        "  biogans export -i FILE --format bioimageio --author 'Your Name' --github you --license CC-BY-4.0\n"
        "      a package for the BioImage Model Zoo (bioimage.io); bioimageio test exports/….zip checks it"))
    what = p.add_argument_group("what")
    command_line._add_generator(what)
    what.add_argument("-f", "--format", type=command_line._one_of(FORMATS), default="onnx", metavar="NAME",
                      help=f"{' | '.join(FORMATS)}; default=onnx")
    what.add_argument("-o", "--output", metavar="FILE",
                      help="the file, or the folder of a SavedModel; default: exports/generator.…")
    command_line._add_checkpoints_dir(what)
    package = p.add_argument_group("the package for the BioImage Model Zoo")
    package.add_argument("--name", type=_title, metavar="NAME", help="of the model; default: BioGANs and architecture")
    package.add_argument("--author", action="append", default=[], metavar="NAME", help="repeat it for several")
    package.add_argument("--github", metavar="USER", help="who keeps it, a user of GitHub")
    package.add_argument("--license", metavar="ID", help="SPDX's name of the licence, such as CC-BY-4.0")
    return p


_title = command_line._number(str, lambda text: re.fullmatch(r"[A-Za-z0-9_+\- ()]{5,128}", text),
                              "a name of 5 to 128 letters, digits, spaces, _, +, -, ( and )")


def main(arguments=None):
    return launch.run(export, parser().parse_args(arguments))
