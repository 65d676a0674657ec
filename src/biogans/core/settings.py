"""The settings of a run, resolved once from the options, the preset, the algorithm and the images.

The paper's defaults are part of each algorithm (gan.py); the presets below replace some of them.
"""

import argparse
import contextlib
import dataclasses
import json
import math
import re
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from ..io.image_files import LARGEST_SIDE
from ..io.image_sets import LARGEST, ReadSettings
from ..system.errors import InputError
from ..system.lazy import keras
from ..system.pixels import to_signed
from . import codes, layers, models
from .gan import ALGORITHMS, pair_variance

if TYPE_CHECKING:               # it imports Pillow, which no parser needs
    from .dataloader import Images

# Cells with recognisable factors within minutes on a few CPU cores; the evidence is in docs/training.md.
FAST: dict[str, Any] = {"ngf": 16, "ndf": 16, "batch_size": 8, "num_D_iters": 2, "lrD": 1e-3, "lrG": 1e-3, "init": "he"}
# The same for a plain GAN: its discriminator would win at once if it learnt as fast as the generator.
FAST_GAN: dict[str, Any] = {"ngf": 16, "ndf": 16, "batch_size": 8, "lrG": 1e-3, "init": "he", "average": 0.998,
                            "augment": ("affine",)}
# Meaningful codes, on small images, within minutes on one CPU core; the evidence is in docs/infogan.md.
INFOGAN: dict[str, Any] = {"ngf": 32, "ndf": 32, "lrG": 1e-3, "average": 0.998, "augment": ("affine",)}
PRESETS: dict[str, dict[str, Any]] = {"paper": {}, "fast": FAST, "infogan": INFOGAN}
PRECISIONS = ("float32", "tf32", "bfloat16")
SAMPLE, CANDIDATES = 256, 4096  # images whose neighbours in red are sought, and images that can be neighbours
OWN_PART = 0.8                  # of the variance among neighbours; their reds differ a little, which adds the rest
FORMAT = 1                      # version of the metadata in weights files
SHAPING = ("network_model", "ngf", "ndf", "nz", "init", "categorical", "continuous",
           "noise", "red_ngf")   # options that shape networks
LARGEST_NUMBER = 1 << 16        # filters or latent variables that a file may ask for


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """The settings that determine a run, together with the networks and the images. Stored with its checkpoints.

    algorithm                 a name in gan.ALGORITHMS
    optimizer                 "adam" or "rmsprop"
    lrD, lrG                  learning rates of discriminator/critic and generator
    beta_1, beta_2            decay rates of Adam
    batch_size                images in a batch, over all devices
    num_D_iters, num_G_iters  updates of each network in one iteration
    critic_bursts             WGAN: 100 updates of the critic in some iterations (gan.WGAN.critic_updates)
    wgan_clip_value           WGAN: bound of the critic's weights
    wgangp_lambda             WGAN-GP: weight of the gradient penalty
    average                   decay of the moving average of the generator's weights, 0 for none
    variety                   weight of gan.variety_loss, for networks that separate red
    green_variance            variance of each green that it asks for
    average_window            the same as a part of the iterations so far, instead of `average`; 0: constant decay
    lr_schedule               a name in FADES: how the learning rates end
    lr_hold                   part of the horizon during which they are constant
    horizon                   iterations after which they, and the algorithm's fade, have become 0
    seed                      of everything random
    precision                 a name in PRECISIONS
    augment                   names in augment.POLICIES
    augment_target            critic_overfitting at which their strength is steered; 0: every image is augmented
    r1_gamma                  R1, RpGAN: weight of the gradient penalty; None: gan.default_gamma
    r1_gamma_last             its value when the learning rates have become 0; None: r1_gamma
    flips                     whether images are mirrored at random
    categorical_weight,
    continuous_weight         InfoGAN: lambda of each kind of code
    """

    algorithm: str
    optimizer: str
    lrD: float
    lrG: float
    beta_1: float
    beta_2: float
    batch_size: int
    num_D_iters: int
    num_G_iters: int
    wgan_clip_value: float
    wgangp_lambda: float
    average: float
    seed: int
    precision: str
    # Older checkpoints lack the settings with a default and were trained with it.
    augment: tuple[str, ...] = ()
    r1_gamma: float | None = 10.0
    r1_gamma_last: float | None = None
    flips: bool = True
    categorical_weight: float = 1.0
    continuous_weight: float = 0.5
    critic_bursts: bool = True
    lr_schedule: str = "constant"
    lr_hold: float = 0.5
    horizon: int = 0
    average_window: float = 0.0
    variety: float = 0.0
    green_variance: tuple[float, ...] = ()
    augment_target: float = 0.0

    @property
    def averages(self) -> bool:
        """Whether the stored generator is a moving average."""
        return bool(self.average or self.average_window)


# Learning rates as functions of the part of a run that has passed since they began to fall.
FADES: dict[str, Callable[[float], float]] = {
    "constant": lambda part: 1.0,
    "linear": lambda part: 1 - part,
    "cosine": lambda part: (1 + math.cos(math.pi * part)) / 2,
}


def fade(settings: TrainingSettings, iteration: int) -> float:
    """Factor of the learning rates in an iteration, counted from 0: 1 at first, and 0 from the horizon on.

    It depends on nothing else, so a resumed run continues exactly. The cosine is that of Loshchilov & Hutter (2017,
    eq. 5).
    """
    start = settings.lr_hold * settings.horizon
    part = min(max(0.0, iteration - start) / max(settings.horizon - start, 1), 1.0)
    return FADES[settings.lr_schedule](part)


def average_decay(settings: TrainingSettings, iteration: int) -> float:
    """Decay of the moving average of the generator's weights in an iteration, counted from 0.

    It is constant after some start, or keeps a window of the same part of the iterations so far, as in the averages of
    Karras et al. (2024, sec. 3.1), so that it may grow with the run: early weights are forgotten, late ones averaged.
    """
    if settings.average_window:
        window = settings.average_window * (1 + iteration)
        return window / (1 + window)
    return min(settings.average, (1 + iteration) / (10 + iteration)) if settings.average else 0.0


@dataclasses.dataclass(frozen=True)
class Schedule:
    """When a run ends, and what it reports and saves on the way. None of this affects what it learns.

    iterations      generator updates in total
    picture_every   iterations between two pictures of samples
    save_minutes    minutes between two checkpoints
    save_every      checkpoints after multiples of this number of iterations are kept for good; 0 for none
    """

    iterations: int
    picture_every: int
    save_minutes: float
    save_every: int = 0


@dataclasses.dataclass(frozen=True)
class Metadata:
    """The description of a weights file, which it contains as JSON in its attribute `biogans`.

    network              the shape of the networks
    training             the settings of the run
    images               {"number": …, "sha256": …} of the training images, and read_settings as a dict
    pixel_size_um        side of a pixel in micrometres, None if unknown
    iteration, position  generator updates, and batches of real images, so far
    planned              generator updates that the run is to have in total; None in older files
    holds                "generator", "critic 0", "recognizer"; "" for the whole training state
    weights              of a generator: "moving average" or "as trained"
    made                 {"command", "machine", "versions"} of the run, {} in older files
    held_out_distance    only in the file of the best generator
    imported             {"file": …} if the weights come from another program
    biogans              version that wrote the file
    """

    network: models.NetworkSpec
    training: TrainingSettings
    images: dict[str, Any]
    pixel_size_um: float | None = None
    iteration: int = 0
    position: int = 0
    planned: int | None = None
    holds: str = ""
    weights: str = ""
    made: dict[str, Any] = dataclasses.field(default_factory=dict)
    held_out_distance: float | None = None
    imported: dict[str, Any] = dataclasses.field(default_factory=dict)
    biogans: str = __version__

    @property
    def read_settings(self) -> ReadSettings:
        """How the training images were read."""
        return ReadSettings.from_json(self.images)

    def to_json(self) -> dict[str, Any]:
        """The dict that files store, with dataclasses as dicts and without empty optional entries."""
        stored = {"format": FORMAT} | dataclasses.asdict(self)
        optional = ("planned", "holds", "weights", "made", "held_out_distance", "imported")
        stored = {name: value for name, value in stored.items() if name not in optional or value not in ("", None, {})}
        return stored | ({"codes": codes.code_layout(self.network.codes)} if self.network.codes else {})

    @classmethod
    def from_json(cls, path: str | Path, stored: dict[str, Any]) -> "Metadata":
        """The validated Metadata of the file `path`. Raises InputError if this version can't interpret it."""
        network: Any = stored.get("network")
        training: Any = stored.get("training")
        images: Any = stored.get("images")
        valid = (all(isinstance(part, dict) for part in (network, training, images))
                 and all(_is_of(stored.get(name), int) and stored[name] >= 0 for name in ("iteration", "position"))
                 and all(_is_of(stored.get(name), float | None)
                         for name in ("pixel_size_um", "planned", "held_out_distance"))
                 and (stored.get("pixel_size_um") or 1) > 0
                 and all(_is_of(stored.get(name, ""), str) for name in ("holds", "weights", "biogans"))
                 and _is_of(images.get("number", 0), int) and _is_of(images.get("sha256", ""), str)
                 and training.get("algorithm") in list(ALGORITHMS)
                 and training.get("lr_schedule", "constant") in list(FADES))
        settings = None
        with contextlib.suppress(TypeError, ValueError):
            if valid and ReadSettings.from_json(images):
                lists = {name: tuple(training.get(name, ())) for name in ("augment", "green_variance")}
                settings = TrainingSettings(**training | lists)
        if settings is None or not _fits(settings):
            raise InputError(f"{path} describes a training unknown to this version: use the version that wrote it")
        names = {field.name for field in dataclasses.fields(cls)} - {"network", "training"}
        return cls(stored_network(path, network), settings,
                   **{name: value for name, value in stored.items() if name in names})

    def differences(self, wanted: "Metadata") -> list[str]:
        """Differences to `wanted` that prevent resuming a run, one line each: "network nz: 100 there, 50 here"."""
        lines = []
        for part in ("network", "training", "images"):
            here, there = (json.loads(json.dumps(each.to_json()[part])) for each in (self, wanted))
            lines += [f"{part} {name}: {here.get(name)} there, {there.get(name)} here"
                      for name in sorted(here.keys() | there.keys()) if here.get(name) != there.get(name)]
        return [line if len(line) < 160 else line.split(":")[0] + ": not the same" for line in lines]


def _fits(settings):        # whether all values of a dataclass have the types that it states
    return all(_is_of(getattr(settings, field.name), field.type) for field in dataclasses.fields(settings))


def _is_of(value, kind):
    """Whether a value from JSON is of this type: whole numbers of 64 bits, finite ones, and texts in UTF-8."""
    if isinstance(kind, types.UnionType):
        return any(_is_of(value, each) for each in kind.__args__)
    if isinstance(kind, types.GenericAlias):
        return isinstance(value, tuple) and all(_is_of(each, kind.__args__[0]) for each in value)
    if kind is float:
        return type(value) in (int, float) and abs(value) < LARGEST
    if kind is int:
        return type(value) is int and abs(value) < 1 << 63
    return type(value) is kind and not (kind is str and re.search("[\ud800-\udfff]", value))


def stored_network(path: str | Path, stored: dict[str, Any]) -> models.NetworkSpec:
    """The validated NetworkSpec that the file `path` describes. Raises InputError."""
    try:
        lists = {name: tuple(stored.get(name, ())) for name in ("factors", "categorical")}
        spec = models.NetworkSpec(**stored | lists)
        numbers = (spec.height, spec.width, spec.channels, spec.nz - spec.noise_size, spec.ngf, spec.ndf,
                   spec.red_ngf or 1)
        valid = (_fits(spec) and all(0 < number <= LARGEST_NUMBER for number in numbers)
                 and max(spec.height, spec.width) <= LARGEST_SIDE and spec.noise_size <= models.LARGEST_NOISE
                 and spec.channels <= 4 and 0 < len(spec.factors) <= 1000
                 and all(1 < size <= LARGEST_NUMBER for size in spec.categorical)
                 and 0 <= spec.continuous <= LARGEST_NUMBER
                 and spec.architecture in models.ARCHITECTURES and spec.init in layers.INITIALIZERS)
    except (KeyError, TypeError):
        valid = False
    if not valid:
        raise InputError(f"{path} describes a network that this version can't build: use the version that wrote it")
    spec.check()
    return spec


# ---------------------------------------------------------------------------------------------- from options

def resolve_settings(options: argparse.Namespace) -> TrainingSettings:
    """The TrainingSettings of train.py's options: as given, else from the preset, else the algorithm's defaults.

    Raises InputError for options that contradict each other.
    """
    algorithm = options.gan_algorithm or "WGAN-GP"
    defaults = ALGORITHMS[algorithm].defaults
    optimizer = defaults.optimizer if options.optimizer in (None, "default") else options.optimizer
    schedule = preset_value(options, "lr_schedule", "constant")
    horizon = 0 if schedule == "constant" else options.horizon or options.epochs
    if not horizon and (options.horizon or options.r1_gamma_last):
        raise InputError("--horizon and --r1_gamma_last belong to a schedule: add --lr_schedule cosine, or leave them "
                         "out")
    if horizon and options.epochs > horizon:
        raise InputError(f"-e {options.epochs}: the learning rates become 0 after {horizon} iterations (--horizon), "
                         f"and nothing is learnt after that: leave out -e, or begin a new run, with --start_from "
                         f"FILE for this generator")
    if options.augment_target and not preset_value(options, "augment", ()):
        raise InputError("--augment_target steers the augmentation: name it, for example --augment affine,color")
    if {"average", "average_window"} <= options.given:
        raise InputError("--average_window takes the place of --average: leave out one of them")
    if options.variety and not models.ARCHITECTURES[options.network_model].separates_red:
        raise InputError(f"--variety: {options.network_model} generates red and green together: leave it out, or use "
                         f"-m DCGAN-separable or DCGAN-starshaped")
    lr_d = defaults.lr_d if optimizer == defaults.optimizer else {"adam": 1e-4, "rmsprop": 5e-5}[optimizer]
    return TrainingSettings(
        algorithm=algorithm, optimizer=optimizer, beta_1=defaults.beta_1, beta_2=defaults.beta_2,
        lrD=preset_value(options, "lrD", lr_d), lrG=preset_value(options, "lrG", 2e-4),
        batch_size=preset_value(options, "batch_size", 64),
        num_D_iters=preset_value(options, "num_D_iters", defaults.critic_updates), num_G_iters=options.num_G_iters,
        wgan_clip_value=options.wgan_clip_value, wgangp_lambda=options.wgangp_lambda,
        average=preset_value(options, "average", 0.99), seed=options.seed, precision=options.precision,
        lr_schedule=schedule, lr_hold=preset_value(options, "lr_hold", 0.5), horizon=horizon,
        average_window=preset_value(options, "average_window", 0.0),
        variety=options.variety or 0.0,
        r1_gamma=options.r1_gamma, r1_gamma_last=options.r1_gamma_last,
        augment=preset_value(options, "augment", ()), augment_target=options.augment_target or 0.0,
        flips=not options.no_flips,
        categorical_weight=options.categorical_weight, continuous_weight=options.continuous_weight,
        critic_bursts=options.num_D_iters is None if options.critic_bursts is None else options.critic_bursts)


def resolve_network(options: argparse.Namespace, images: "Images") -> models.NetworkSpec:
    """The NetworkSpec of train.py's options for these images. Raises InputError if such networks can't be built."""
    _, height, width, channels = images.pixels.shape
    has_codes = models.ARCHITECTURES[options.network_model].has_codes
    algorithm = ALGORITHMS[options.gan_algorithm or "WGAN-GP"]
    spec = models.NetworkSpec(
        options.network_model, height, width, channels, images.factors,
        categorical=(10,) * has_codes if options.categorical is None else options.categorical,
        continuous=2 * has_codes if options.continuous is None else options.continuous,
        critic_batch_norm=algorithm.defaults.critic_batch_norm, init=preset_value(options, "init", "paper"),
        noise=bool(options.noise), red_ngf=options.red_ngf)
    sizes = resolve_sizes(options, spec.critic_channels / channels)
    sizes["nz"] += spec.noise_size
    spec = dataclasses.replace(spec, **sizes)
    spec.check()
    return spec


def resolve_sizes(options: argparse.Namespace, widening: float) -> dict[str, Any]:
    """{nz, ngf, ndf} of the networks: as given, else `widening` times the value of the preset or the default."""
    return {name: getattr(options, name) or round(widening * preset_value(options, name, default))
            for name, default in (("nz", 100), ("ngf", 64), ("ndf", 64))}


def with_variances(settings: TrainingSettings, spec: models.NetworkSpec, images: "Images") -> TrainingSettings:
    """The settings with the green_variance that --variety asks for, from the training images.

    Raises InputError if the greens of some factor are all the same.
    """
    if not settings.variety:
        return settings
    groups = [images.pixels[images.labels == images.factors.index(name)] for name in spec.separate_factors]
    variances = [variance for pixels in groups or [images.pixels] for variance in variances_of_neighbours(pixels)]
    if not all(variances):
        raise InputError("--variety: among training cells of similar red, the greens of a factor do not vary: leave it "
                         "out")
    # Few digits, because the settings of a resumed run must be the same on every machine.
    return dataclasses.replace(settings, green_variance=tuple(float(f"{each:.3g}") for each in variances))


def variances_of_neighbours(pixels: np.ndarray) -> np.ndarray:
    """How much the greens of cells of similar red vary: OWN_PART of gan.pair_variance (greens,).

    pixels   uint8 (images, height, width, channels), of which up to SAMPLE are compared with the nearest in red (L2)
    """
    candidates = pixels[np.linspace(0, len(pixels), min(CANDIDATES, len(pixels)), endpoint=False).astype(int)]
    own = np.linspace(0, len(candidates), min(SAMPLE, len(candidates)), endpoint=False).astype(int)
    red = candidates[..., 0].reshape(len(candidates), -1).astype(np.float64)
    distance = np.square(red).sum(axis=1) - 2 * red[own] @ red.T        # minus the square that is constant in a row
    distance[np.arange(len(own)), own] = np.inf
    nearest = candidates[np.argmin(distance, axis=1)]
    return OWN_PART * keras.ops.convert_to_numpy(pair_variance(to_signed(candidates[own]), to_signed(nearest)))[1:]


def resolve_schedule(options: argparse.Namespace) -> Schedule:
    """The Schedule of train.py's options."""
    return Schedule(options.epochs, options.monitor_progress, options.save_minutes, options.keep_every or 0)


# ---------------------------------------------------------------------------------------------- from a file

def stored_read_options(stored: ReadSettings) -> dict[str, Any]:
    """{option of train.py: its value} that reads files in the same way."""
    pairs = zip(stored.intensities.black, stored.intensities.white, strict=True) if stored.intensities else ()
    return {"channels": stored.channels, "axes": stored.axes, "nan": "background" if stored.nan_is_background else None,
            "range": tuple(value for pair in pairs for value in pair)}


def stored_options(metadata: Metadata) -> dict[str, Any]:
    """{option of train.py: its value} of the run that a weights file describes."""
    spec, training = metadata.network, dataclasses.asdict(metadata.training)
    network = {name: getattr(spec, name) for name in SHAPING if name not in ("network_model", "nz")}
    network["nz"] = spec.nz - spec.noise_size
    options = {"network_model": spec.architecture, "gan_algorithm": training.pop("algorithm"),
               "no_flips": not training.pop("flips"), "polarity_factors": tuple(sorted(spec.factors)),
               **stored_read_options(metadata.read_settings)}
    return options | network | {name: value for name, value in training.items()
                                if name not in ("beta_1", "beta_2", "green_variance")}


def completed(options: argparse.Namespace, path: str | Path, stored: Metadata) -> argparse.Namespace:
    """Options of train.py, with those that are not given taken from a file: all of a run to resume, or only SHAPING.

    path, stored   the checkpoint of -w, or the generator of --start_from, and its metadata

    Raises InputError if given options contradict the file.
    """
    resumes, values = options.use_pretrained_weights, stored_options(stored)
    if not resumes:
        values = {name: values[name] for name in SHAPING}
    different = contradictions(options, values, preset_of(options) if resumes and "preset" in options.given else {})
    if different:
        remedy = "leave these options out" + ", or start a new run without -w" * resumes
        raise InputError(f"{path} was trained differently: {', '.join(different)}: {remedy}")
    if resumes and stored.planned:
        values["epochs"] = stored.planned
    missing = {name: value for name, value in values.items() if name not in options.given}
    return argparse.Namespace(**vars(options) | missing)


def contradictions(options: argparse.Namespace, stored: dict[str, Any], preset: Mapping[str, Any]) -> list[str]:
    """Options that differ from the `stored` ones, "--ngf 16 (not 32)": the given ones, and those of a given preset."""
    multiplied = ("ngf", "ndf")         # by multichannel networks
    given = {name: value for name, value in preset.items() if name not in multiplied}
    given |= {name: getattr(options, name) for name in options.given & stored.keys()}
    if "polarity_factors" in given:
        given["polarity_factors"] = tuple(sorted(given["polarity_factors"]))
    return [f"--{name} {_as_typed(value)} (not {_as_typed(stored[name])})" for name, value in given.items()
            if name in stored and value not in (stored[name], "default", ())]


def _as_typed(value):
    """The value of an option as a user types it."""
    return ",".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


def preset_of(options: argparse.Namespace) -> dict[str, Any]:
    """The options of the chosen preset."""
    plain = options.gan_algorithm == "GAN" and options.preset == "fast"
    return FAST_GAN if plain else PRESETS[options.preset]


def preset_value(options: argparse.Namespace, name: str, default: Any) -> Any:
    """The value of option `name`: as given, else from the preset, else `default`."""
    given = getattr(options, name)
    return preset_of(options).get(name, default) if given is None else given
