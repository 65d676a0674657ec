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
from ..system import launch
from ..system.errors import InputError
from ..system.files import make_writable

PAPER_FACTORS = ("Alp14", "Arp3", "Cki2", "Mkh1", "Sid2", "Tea1")
OLDEST_TORCH = (2, 10)          # before it arrays alone could run code, too: CVE-2025-32434, CVE-2026-24747
FOLDERS = {"gan": "GAN", "wgan": "WGAN", "wgangp": "WGAN-GP"}       # size-48-80_6class_wgangp-star-shaped-adam
# Which kernels, those that read all features, are an architecture's; the number, if there is one, is the factor's.
KERNELS = {
    "DCGAN": r"main\.(?:initial|pyramid|final)\.\d+-\d+\.convt\.weight",
    "DCGAN-separable": r"main\.(?:initial|pyramid|final)\.\d+-\d+\.convt-sep\.convt_all\.weight",
    "DCGAN-starshaped": r"main\.\d+\.convt_green\.(\d+)\.weight",
    "DCGAN-independent": r"main\.(\d+)\.main\.(?:initial|pyramid|final)\.\d+-\d+\.convt\.weight",
    "DCGAN-separable-independent":
        r"main\.(\d+)\.main\.(?:initial|pyramid|final)\.\d+-\d+\.convt-sep\.convt_all\.weight",
}
CRITIC = r"main\.(?:\d+\.main\.)?(?:initial|pyramid|final)\.\d+-\d+\.conv\.weight"
NORMALIZATION = ("weight", "bias", "running_mean", "running_var")       # in the order of Keras's


def import_torch(options):
    """Write weights files as the parsed `options` say. Raises InputError for a user's mistake."""
    launch.announce()
    path = Path(options.input_file)
    arrays = read(path)
    spec = network_of(path, arrays, options.polarity_factors)
    settings = training(path, options.gan_algorithm)
    generator = build(path, spec, arrays)
    files = checkpoint.Files(options.checkpoints_dir, spec, settings.algorithm)
    make_writable(files.folder)
    with files.locked():
        if aside := files.set_aside():
            print(f"moved the files of an earlier {files.run} to {aside}")
        facts = about(path, spec, settings)
        checkpoint.save_generator(files.model, generator, facts)
        checkpoint.save_generator(files.generator, generator, facts, with_architecture=False)
    supposed = "" if options.polarity_factors else " (those of the paper: give -p if they were others)"
    print(f"{spec.architecture}, {settings.algorithm}, iteration {facts['iteration']}: {spec.height}x{spec.width} "
          f"pixels, nz {spec.nz}, ngf {spec.ngf}; factors: {', '.join(spec.factors)}{supposed}\n"
          f"Output weights to file: {files.generator}\nOutput model to file: {files.model}")


# ---------------------------------------------------------------------------------------------- the file

def read(path):
    """{name: float32 array} of a file of PyTorch's, a network's state_dict. Raises InputError.

    Whatever its age (zip, or the pickles of 2017): nothing but arrays, numbers and names are built from it.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file: give -i a netG_iter_….pth file of the paper's code")
    torch = _torch()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")         # remarks on odd pickles
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as problem:
        code = re.search(r"(?:GLOBAL|global:?|class:?)\s+`?([\w.]+\.\w+)", str(problem))
        if not code:
            raise InputError(_unreadable(path)) from None
        raise InputError(f"{path} names code to be run ({code[1]}), and only arrays are read: let its authors save "
                         f"netG.state_dict()") from None
    except Exception:           # of any kind, where a file is damaged
        raise InputError(_unreadable(path)) from None
    if not isinstance(state, dict) or not state or not all(
            isinstance(name, str) and _is_plain(torch, array) for name, array in state.items()):
        raise InputError(f"{path} holds something else than the named arrays of one network: let its authors save "
                         f"netG.state_dict()")
    if sum(array.numel() * array.element_size() for array in state.values()) > path.stat().st_size:
        raise InputError(f"{path}: its arrays claim more bytes than the file has: get it again")
    return {name: array.detach().float().numpy() for name, array in state.items()
            if not name.endswith(".num_batches_tracked")}


def _is_plain(torch, array):
    """Whether it is an array of numbers one after another; others have no equal in NumPy."""
    return (isinstance(array, torch.Tensor) and array.layout == torch.strided and array.device.type == "cpu"
            and (array.is_floating_point() or array.dtype == torch.int64))


def _unreadable(path):
    return f"{path} is not a weights file of PyTorch's, or not a whole one: get it again, or give another one with -i"


def _torch():
    """The module torch, of a version whose reading of arrays alone can be trusted. Raises InputError."""
    remedy = "install it (pip install 'biogans[torch]')"
    if importlib.util.find_spec("torch") is None:
        raise InputError(f"{sys.executable} has no PyTorch, which reads such files: {remedy}")
    import torch

    if tuple(map(int, re.findall(r"\d+", torch.__version__)[:2])) < OLDEST_TORCH:
        raise InputError(f"PyTorch {torch.__version__} can be made to run code by a weights file: {remedy}")
    return torch


# ---------------------------------------------------------------------------------------------- the network

def network_of(path, arrays, factors):
    """The NetworkSpec of the generator whose `arrays` these are. Raises InputError.

    factors   their names, in the order of the training's folders; none for those of the paper
    """
    if any(re.fullmatch(CRITIC, name) for name in arrays):
        raise InputError(f"{path} holds a critic, which draws nothing: give the netG file of the same iteration")
    architecture, kernels = _kernels(path, arrays)
    towers = {match[1] if match.groups() else "0" for match in kernels.values()}
    shapes = [arrays[name].shape for name, match in kernels.items() if not match.groups() or match[1] == "0"]
    stages = len(shapes) - 1
    if stages < 2 or any(len(shape) != 4 for shape in shapes):
        raise InputError(_unknown(path, list(kernels)))
    (nz, _, height, width), (ngf, drawn, _, _) = shapes[0], shapes[-1]
    channels, count = drawn + (architecture not in ("DCGAN", "DCGAN-independent")), len(towers)
    if channels > 2 and not towers - {"0"} and architecture in ("DCGAN", "DCGAN-separable"):
        architecture, channels, count = f"{architecture}-multichannel", 2, channels - 1
    spec = models.NetworkSpec(architecture, height << stages, width << stages, channels, factors or PAPER_FACTORS,
                              nz=nz, ngf=ngf)
    widths = [nz, *(ngf << level for level in reversed(range(stages)))]
    if spec.halvings != (height, width, stages) or [shape[0] for shape in shapes] != widths:
        raise InputError(_unknown(path, list(kernels)))
    known = models.ARCHITECTURES[architecture]
    if (known.per_factor or known.composites) and len(spec.factors) != count:
        raise InputError(f"{path} draws {count} factors: name them with -p, in the alphabetical order of the folders "
                         f"that they were trained on")
    spec.check()
    return spec


def _kernels(path, arrays):
    """(architecture, {name: match}) of the arrays that are called like the KERNELS of one architecture."""
    for architecture, pattern in KERNELS.items():
        kernels = {name: match for name in arrays if (match := re.fullmatch(pattern, name))}
        if kernels:
            return architecture, kernels
    raise InputError(_unknown(path, list(arrays)))


def build(path, spec, arrays):
    """The generator of `spec` (Keras) with the weights of these `arrays`. Raises InputError if they are not its."""
    from ..core.engine import float32_generator

    generator = float32_generator(spec)
    unused = set(arrays)
    for name, module, features in counterparts(spec):
        layer = generator.get_layer(name)
        names = [f"{module}.{array}" for array in (NORMALIZATION if "normalization" in name else ["weight"])]
        if missing := [name for name in names if name not in arrays]:
            raise InputError(_unknown(path, missing, "has no"))
        unused -= set(names)
        weights = [_turned(layer, arrays[name])[..., features] for name in names]
        for name, array, variable in zip(names, weights, layer.weights):
            if array.shape != tuple(variable.shape):
                raise InputError(f"{path}: {name} has the shape {arrays[name].shape}, which a {spec.architecture} has "
                                 f"not: only the paper's --red_portion, a half or a channel's share, can be read")
        layer.set_weights(weights)
    if unused:
        raise InputError(_unknown(path, sorted(unused)))
    return generator


def counterparts(spec):
    """Yield (layer of our generator, the original's module, the part of its features) of all that have weights."""
    known = models.ARCHITECTURES[spec.architecture]
    apart = known.generator in (models.dcgan_starshaped, models.dcgan_separable_independent)
    if spec.architecture == "DCGAN-starshaped":
        yield from _of_star(spec)
    elif known.own_reds:
        for k in range(spec.num_critics):
            yield from _of_sequence(spec, f"main.{k}.main.", [f"red{k}", f"green{k}"] if apart else [f"factor{k}"])
    else:
        yield from _of_sequence(spec, "main.", ["red", "green0"] if apart else ["all"])


def _of_star(spec):
    """The original's modules are numbered, and each has a red part and a green one for each factor."""
    towers = {"red": "red"} | {f"green{k}": f"green.{k}" for k in range(spec.num_critics)}
    for level in range(spec.halvings[2] + 1):
        for tower, theirs in towers.items():
            convolution, normalization = _layers(spec, tower, level)
            yield convolution, f"main.{level}.convt_{theirs}", slice(None)
            if normalization:
                yield normalization, f"main.{level}.batchnorm_{theirs}", slice(None)


def _of_sequence(spec, prefix, towers):
    """The original's modules are named after their features; red's are the first half of a normalisation's.

    towers   ours: one, or red's and green's
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
    """Names of our convolution and our normalisation (none before the image) of a tower at this level."""
    if level == spec.halvings[2]:
        return f"{tower}_image_convolution", None
    return f"{tower}_{level}_{'convolution' if level else 'projection'}", f"{tower}_{level}_normalization"


def _turned(layer, array):
    """An array as Keras has it: the kernel of a transposed convolution is (in, out, height, width) in PyTorch.

    There is no flip: both slide the same kernel. The first one covers one pixel and is a dense layer here.
    """
    if array.ndim != 4:
        return array
    if "projection" in layer.name:
        return array.transpose(0, 2, 3, 1).reshape(len(array), -1)
    return array.transpose(2, 3, 1, 0)


def _unknown(path, names, verb="holds"):
    return (f"{path} {verb} {', '.join(names[:3])}{', …' if len(names) > 3 else ''}: only generators of the paper's "
            f"code, whose arrays have other names, can be read")


# ---------------------------------------------------------------------------------------------- what is known of it

def training(path, algorithm):
    """The Training of the paper's scripts; without `algorithm`, of that in the folder's name. Raises InputError."""
    named = re.search(r"_(gan|wgan|wgangp)-", path.absolute().parent.name)
    if not algorithm and not named:
        raise InputError(f"{path} does not tell which algorithm trained it: give -a GAN, -a WGAN or -a WGAN-GP")
    algorithm = algorithm or FOLDERS[named[1]]
    defaults = command_line.training(command_line.train_parser().parse_args(["-d", "data", "-a", algorithm]))
    return dataclasses.replace(defaults, lrG=defaults.lrD, average=0.0)


def about(path, spec, settings):
    """What our files say of themselves. The settings are those of the paper: the original's file tells none."""
    unseen = dataloader.Images(np.zeros((0, spec.height, spec.width, spec.channels), np.uint8), np.zeros(0, int),
                               spec.factors, tuple(range(1, spec.channels + 1)))
    named = re.search(r"_iter_(\d+)", path.name)
    return checkpoint.about(spec, settings, unseen) | {
        "iteration": int(named[1]) if named else 0, "position": 0,
        "imported": {"file": os.fspath(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}}


def parser():
    """The command line."""
    p = command_line.Parser(prog="biogans import_torch", description=__doc__, epilog=(
        "The files are those of https://github.com/aosokin/biogans: DCGAN, separable, star-shaped, independent and\n"
        "multichannel generators. All other commands then take the result. What the .pth file does not hold is taken\n"
        "from its name and from the paper: algorithm, iteration, names of the factors. PyTorch is needed, 2.10 or\n"
        "later: pip install 'biogans[torch]'.\n\n"
        "examples:\n"
        "  biogans import_torch -i size-48-80_6class_wgangp-star-shaped-adam/netG_iter_50000.pth\n"
        "      checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.6.h5, then for example\n"
        "  predict.py -i checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.6.h5\n"
        "  biogans import_torch -i netG_iter_2000.pth -a GAN -p Pom1,Tea1,Tea4\n"
        "      of one's own training of that code, with other factors"))
    p.add_argument("-i", "--input_file", metavar="FILE.pth", required=True, help="the original's generator, required")
    p.add_argument("-a", "--gan_algorithm", type=command_line._one_of(FOLDERS.values()), default=None, metavar="NAME",
                   help="what it was trained by: GAN | WGAN | WGAN-GP; default: what the name of its folder says")
    p.add_argument("-p", "--polarity_factors", type=command_line._names, default=(), metavar="A,B",
                   help="names of its factors, in the alphabetical order of the folders; default: those of the paper")
    command_line._add_checkpoints_dir(p)
    return p


def main(arguments=None):
    return launch.run(import_torch, parser().parse_args(arguments))
