"""Import a generator trained with the paper's PyTorch code."""

import dataclasses
import hashlib
import importlib.util
import os
import pickle
import re
import sys
import warnings
from pathlib import Path

import numpy as np

from ..core import checkpoint, dataloader, models, options as command_line
from ..io.image_sets import ReadSettings
from ..system import arguments, launch
from ..system.errors import InputError
from ..system.files import make_writable
from ..system.lazy import without_values

PAPER_FACTORS = ("Alp14", "Arp3", "Cki2", "Mkh1", "Sid2", "Tea1")
OLDEST_TORCH = (2, 10)          # in earlier versions even arrays could run code: CVE-2025-32434, CVE-2026-24747
FOLDERS = {"gan": "GAN", "wgan": "WGAN", "wgangp": "WGAN-GP"}       # size-48-80_6class_wgangp-star-shaped-adam
# Names of the kernels that read all features: they identify the architecture, and a number in them the factor.
KERNELS = {
    "DCGAN": r"main\.(?:initial|pyramid|final)\.\d+-\d+\.convt\.weight",
    "DCGAN-separable": r"main\.(?:initial|pyramid|final)\.\d+-\d+\.convt-sep\.convt_all\.weight",
    "DCGAN-starshaped": r"main\.\d+\.convt_green\.(\d+)\.weight",
    "DCGAN-independent": r"main\.(\d+)\.main\.(?:initial|pyramid|final)\.\d+-\d+\.convt\.weight",
    "DCGAN-separable-independent":
        r"main\.(\d+)\.main\.(?:initial|pyramid|final)\.\d+-\d+\.convt-sep\.convt_all\.weight",
}
CRITIC = r"main\.(?:\d+\.main\.)?(?:initial|pyramid|final)\.\d+-\d+\.conv\.weight"
NORMALIZATION = ("weight", "bias", "running_mean", "running_var")       # in the order of Keras


def parser():
    """The command line."""
    p = arguments.Parser(prog="biogans import_torch", description=__doc__, epilog=(
        "The files are those of https://github.com/aosokin/biogans: DCGAN, separable, star-shaped, independent and\n"
        "multichannel generators. All other commands accept the result. A .pth file holds no algorithm, iteration or\n"
        "names of factors: they come from its path, from the options and from the paper. PyTorch 2.10 or later is\n"
        "needed: pip install 'biogans[torch]'.\n\n"
        "examples:\n"
        "  biogans import_torch -i size-48-80_6class_wgangp-star-shaped-adam/netG_iter_50000.pth\n"
        "      checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.6.h5, then for example\n"
        "  predict.py -i checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.6.h5\n"
        "  biogans import_torch -i netG_iter_2000.pth -a GAN -p Pom1,Tea1,Tea4\n"
        "      from your own training with that code, with other factors"))
    p.add_argument("-i", "--input_file", metavar="FILE.pth", required=True,
                   help="generator of the PyTorch code, required")
    p.add_argument("-a", "--gan_algorithm", type=arguments.one_of(FOLDERS.values()), default=None, metavar="NAME",
                   help="training algorithm: GAN | WGAN | WGAN-GP; default: as in the name of the file's folder")
    p.add_argument("-p", "--polarity_factors", type=arguments.comma_separated, default=(), metavar="A,B",
                   help="names of its factors, in the alphabetical order of the folders; default: those of the paper")
    command_line.add_checkpoints_dir(p)
    return p


def import_torch(options):
    """Write weights files as the parsed `options` say. Raises InputError for a user error."""
    launch.announce()
    path = Path(options.input_file)
    arrays = read_state_dict(path)
    spec = recognise_network(path, arrays, options.polarity_factors)
    settings = paper_settings(path, options.gan_algorithm)
    generator = rebuild_generator(path, spec, arrays)
    metadata = imported_metadata(path, spec, settings)
    paths = checkpoint.RunPaths(options.checkpoints_dir, spec, settings.algorithm)
    make_writable(paths.folder)
    with paths.locked():
        if aside := paths.set_aside():
            print(f"moved the files of an earlier {paths.name} to {aside}")
        checkpoint.save_generator(paths.model, generator, metadata)
        checkpoint.save_generator(paths.generator, generator, metadata, with_architecture=False)
    assumed = "" if options.polarity_factors else " (those of the paper: give -p if they were others)"
    print(f"{spec.architecture}, {settings.algorithm}, iteration {metadata.iteration}: {spec.height}x{spec.width} "
          f"pixels, nz {spec.nz}, ngf {spec.ngf}; factors: {', '.join(spec.factors)}{assumed}\n"
          f"Output weights to file: {paths.generator}\nOutput model to file: {paths.model}")


# ---------------------------------------------------------------------------------------------- the file

def read_state_dict(path):
    """{name: float32 array} of a PyTorch file that holds the state_dict of a network. Raises InputError.

    Files of any age are read (zip, or the pickles of 2017). Only arrays, numbers and names are built from them.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file: give -i a netG_iter_….pth file of the paper's code")
    torch = _torch()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")         # about unusual pickles
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as problem:
        code = re.search(r"(?:GLOBAL|global:?|class:?)\s+`?([\w.]+\.\w+)", str(problem))
        if not code:
            raise InputError(_unreadable(path)) from None
        raise InputError(f"{path} contains code to be run ({code[1]}), and only arrays are read: ask its authors to "
                         f"save netG.state_dict()") from None
    except Exception:           # a damaged file can raise anything
        raise InputError(_unreadable(path)) from None
    if not isinstance(state, dict) or not state or not all(
            isinstance(name, str) and _is_plain(torch, array) for name, array in state.items()):
        raise InputError(f"{path} does not hold the named arrays of one network: ask its authors to save "
                         f"netG.state_dict()")
    if sum(array.numel() * array.element_size() for array in state.values()) > path.stat().st_size:
        raise InputError(f"{path}: its arrays claim more bytes than the file has: download it again")
    return {name: array.detach().float().numpy() for name, array in state.items()
            if not name.endswith(".num_batches_tracked")}


def _is_plain(torch, array):
    """Whether `array` is a dense array of numbers in memory; others have no equivalent in NumPy."""
    return (isinstance(array, torch.Tensor) and array.layout == torch.strided and array.device.type == "cpu"
            and (array.is_floating_point() or array.dtype == torch.int64))


def _unreadable(path):
    return f"{path} is not a complete PyTorch weights file: download it again, or give another one with -i"


def _torch():
    """The module torch, of a version that reads arrays without running code. Raises InputError."""
    remedy = "install it (pip install 'biogans[torch]')"
    if importlib.util.find_spec("torch") is None:
        raise InputError(f"{sys.executable} has no PyTorch, which is needed to read such files: {remedy}")
    import torch

    if tuple(map(int, re.findall(r"\d+", torch.__version__)[:2])) < OLDEST_TORCH:
        raise InputError(f"PyTorch {torch.__version__} can be made to run code by a weights file: {remedy}")
    return torch


# ---------------------------------------------------------------------------------------------- the network

def recognise_network(path, arrays, factors):
    """The NetworkSpec of the generator that has these `arrays`. Raises InputError.

    factors   names, in the order of the folders of the training; empty for those of the paper
    """
    if any(re.fullmatch(CRITIC, name) for name in arrays):
        raise InputError(f"{path} holds a critic, which generates nothing: give the netG file of the same iteration")
    architecture, kernels = _kernels(path, arrays)
    towers = {match[1] if match.groups() else "0" for match in kernels.values()}
    shapes = [arrays[name].shape for name, match in kernels.items() if not match.groups() or match[1] == "0"]
    stages = len(shapes) - 1
    if stages < 2 or any(len(shape) != 4 for shape in shapes):
        raise InputError(_unknown(path, list(kernels)))
    (nz, _, height, width), (ngf, outputs, _, _) = shapes[0], shapes[-1]
    channels, count = outputs + (architecture not in ("DCGAN", "DCGAN-independent")), len(towers)
    if channels > 2 and not towers - {"0"} and architecture in ("DCGAN", "DCGAN-separable"):
        architecture, channels, count = f"{architecture}-multichannel", 2, channels - 1
    spec = models.NetworkSpec(architecture, height << stages, width << stages, channels, factors or PAPER_FACTORS,
                              nz=nz, ngf=ngf)
    widths = [nz, *(ngf << level for level in reversed(range(stages)))]
    if spec.halvings != (height, width, stages) or [shape[0] for shape in shapes] != widths:
        raise InputError(_unknown(path, list(kernels)))
    known = models.ARCHITECTURES[architecture]
    if (known.per_factor or known.composites) and len(spec.factors) != count:
        raise InputError(f"{path} generates {count} factors: name them with -p, in the alphabetical order of the "
                         f"folders of the training")
    spec.check()
    return spec


def _kernels(path, arrays):
    """(architecture, {name: match}) of the arrays whose names are those of the KERNELS of one architecture."""
    for architecture, pattern in KERNELS.items():
        kernels = {name: match for name in arrays if (match := re.fullmatch(pattern, name))}
        if kernels:
            return architecture, kernels
    raise InputError(_unknown(path, list(arrays)))


def rebuild_generator(path, spec, arrays):
    """The generator of `spec` (Keras) with the weights in `arrays`. Raises InputError if they don't fit."""
    from ..core.engine import float32_generator

    with without_values():
        generator = float32_generator(spec)
        weights = _weights_of_layers(path, spec, arrays, generator)
    for name, own in weights.items():
        generator.get_layer(name).set_weights(own)
    return generator


def _weights_of_layers(path, spec, arrays, generator):
    """{layer of our generator: its weights} from the `arrays`. Raises InputError if they don't fit."""
    found, unused = {}, set(arrays)
    for layer_name, module, features in counterparts(spec):
        layer = generator.get_layer(layer_name)
        names = [f"{module}.{array}" for array in (NORMALIZATION if "normalization" in layer_name else ["weight"])]
        if missing := [name for name in names if name not in arrays]:
            raise InputError(_unknown(path, missing, "has no"))
        unused -= set(names)
        found[layer_name] = [_keras_array(layer, arrays[name])[..., features] for name in names]
        for name, array, variable in zip(names, found[layer_name], layer.weights):
            if array.shape != tuple(variable.shape):
                raise InputError(f"{path}: {name} has the shape {arrays[name].shape}, which does not occur in a "
                                 f"{spec.architecture}: only the --red_portion of the paper, a half or one channel's "
                                 f"share, can be read")
    if unused:
        raise InputError(_unknown(path, sorted(unused)))
    return found


def counterparts(spec):
    """Yield (layer of our generator, module of the original, slice of its features) of all layers with weights."""
    known = models.ARCHITECTURES[spec.architecture]
    separable = known.generator in (models.dcgan_starshaped, models.dcgan_separable_independent)
    if spec.architecture == "DCGAN-starshaped":
        yield from _of_star(spec)
    elif known.own_reds:
        for k in range(spec.num_critics):
            yield from _of_sequence(spec, f"main.{k}.main.", [f"red{k}", f"green{k}"] if separable else [f"factor{k}"])
    else:
        yield from _of_sequence(spec, "main.", ["red", "green0"] if separable else ["all"])


def _of_star(spec):
    """Numbered modules; each has a red part, and a green part for each factor."""
    towers = {"red": "red"} | {f"green{k}": f"green.{k}" for k in range(spec.num_critics)}
    for level in range(spec.halvings[2] + 1):
        for tower, theirs in towers.items():
            convolution, normalization = _layers(spec, tower, level)
            yield convolution, f"main.{level}.convt_{theirs}", slice(None)
            if normalization:
                yield normalization, f"main.{level}.batchnorm_{theirs}", slice(None)


def _of_sequence(spec, prefix, towers):
    """Modules named after their numbers of features; the first part of a normalisation belongs to red.

    towers   names of ours: one, or those of red and green
    """
    stages = spec.halvings[2]
    widths = [spec.nz, *(spec.ngf << level for level in reversed(range(stages))), spec.critic_channels]
    parts = [".convt"] if len(towers) == 1 else [".convt-sep.convt_half", ".convt-sep.convt_all"]
    for level in range(stages + 1):
        stage = prefix + ("initial" if level == 0 else "final" if level == stages else "pyramid")
        red = spec.red_part(widths[level + 1])
        halves = [slice(None)] if len(towers) == 1 else [slice(red), slice(red, None)]
        for tower, part, half in zip(towers, parts, halves):
            convolution, normalization = _layers(spec, tower, level)
            yield convolution, f"{stage}.{widths[level]}-{widths[level + 1]}{part}", slice(None)
            if normalization:
                yield normalization, f"{stage}.{widths[level + 1]}.batchnorm", half


def _layers(spec, tower, level):
    """Names of our convolution and normalisation (None for the image) in a tower at this level."""
    if level == spec.halvings[2]:
        return f"{tower}_image_convolution", None
    return f"{tower}_{level}_{'convolution' if level else 'projection'}", f"{tower}_{level}_normalization"


def _keras_array(layer, array):
    """An array in the layout of Keras: the kernel of a transposed convolution is (in, out, height, width) in PyTorch.

    It is not flipped: both frameworks slide the same kernel. The first one covers one pixel and is a dense layer here.
    """
    if array.ndim != 4:
        return array
    if "projection" in layer.name:
        return array.transpose(0, 2, 3, 1).reshape(len(array), -1)
    return array.transpose(2, 3, 1, 0)


def _unknown(path, names, verb="holds"):
    return (f"{path} {verb} {', '.join(names[:3])}{', …' if len(names) > 3 else ''}: only generators of the paper's "
            f"code, whose arrays have other names, can be read")


# ---------------------------------------------------------------------------------------------- metadata

def paper_settings(path, algorithm):
    """The TrainingSettings of the paper's scripts; the algorithm is that of the folder's name if it is None.

    Raises InputError if the name has none.
    """
    named = re.search(r"_(gan|wgan|wgangp)-", path.absolute().parent.name)
    if not algorithm and not named:
        raise InputError(f"{path} does not name the algorithm that trained it: give -a GAN, -a WGAN or -a WGAN-GP")
    defaults = command_line.default_settings(algorithm or FOLDERS[named[1]])
    return dataclasses.replace(defaults, lrG=defaults.lrD, average=0.0)


def imported_metadata(path, spec, settings):
    """The Metadata of the generator in the file `path`, which itself names only the iteration."""
    unseen = dataloader.Images(np.zeros((0, spec.height, spec.width, spec.channels), np.uint8), np.zeros(0, int),
                               spec.factors, ReadSettings(tuple(range(1, spec.channels + 1))))
    named = re.search(r"_iter_(\d+)", path.name)
    return dataclasses.replace(
        checkpoint.run_metadata(spec, settings, unseen), iteration=int(named[1]) if named else 0,
        imported={"file": os.fspath(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()})


def main(arguments=None):
    return launch.run(import_torch, parser().parse_args(arguments))
