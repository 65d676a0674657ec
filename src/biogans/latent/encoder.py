"""An encoder: from the red of a cell to the part of z from which a generator draws that red, in one pass.

The generator stays as it is. The encoder learns first from the generator's own reds, whose z are known, then from real
ones, whose generated counterparts shall differ little from them, with z near the middle of its distribution.
"""

import hashlib
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .. import __version__
from ..core import dataloader, trained
from ..core.models import NetworkSpec
from ..core.settings import FORMAT
from ..evaluation.features import training_batches
from ..system import hdf5
from ..system.errors import InputError
from ..system.lazy import Network, keras
from ..system.pixels import to_signed
from ..system.progress import reading
from .channels import restricted_to

GENERATED, REAL = 400, 800              # updates
BATCH, RATE, SEED = 64, 1e-3, 0
PRIOR = 0.01                            # weight of |z|² beside the squared error of an image's red


class Lesson(NamedTuple):
    """Updates of the encoder on one kind of reds.

    title     of the progress that is shown
    updates   how many
    weight    of the squared difference of z from its target, beside the squared error of red
    batches   yields (reds (batch, height, width, 1) in [-1, 1], target of z (batch, red_nz))
    """

    title: str
    updates: int
    weight: float
    batches: object


def build_encoder(height: int, width: int, red_nz: int) -> Network:
    """Reds (batch, height, width, 1) in [-1, 1] -> z (batch, red_nz)."""
    image = features = keras.Input((height, width, 1), name="red")
    for level, filters in enumerate((32, 64, 128)):
        features = keras.layers.Conv2D(filters, 4, strides=2, padding="same", name=f"{level}_convolution")(features)
        features = keras.layers.LeakyReLU(0.2, name=f"{level}_rectified")(features)
    features = keras.layers.Dense(256, name="hidden")(keras.layers.Flatten(name="flat")(features))
    features = keras.layers.LeakyReLU(0.2, name="rectified")(features)
    return keras.Model(image, keras.layers.Dense(red_nz, name="z")(features), name="encoder")


def train_encoder(generator: trained.TrainedGenerator, images: dataloader.Images, seed: int = SEED) -> Network:
    """An encoder for a generator that separates red from green, refined on the reds of real `images`."""
    spec = generator.spec
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    tower = restricted_to(generator.build(), [0])       # a second network: the first one's layers stay trainable
    tower.trainable = False
    encoder = build_encoder(spec.height, spec.width, spec.red_nz)
    z = encoder(encoder.input)
    red = tower(keras.ops.pad(z, ((0, 0), (0, spec.nz - spec.red_nz))))
    chain = keras.Model(encoder.input, [red, z])

    def of_generator():
        for latents in trained.normal_latents(GENERATED * BATCH, spec.nz, seed, BATCH):
            yield tower.predict_on_batch(latents), latents[:, :spec.red_nz]

    def of_images():
        for pixels, _ in training_batches(images, REAL, rng):
            yield to_signed(pixels[..., :1]), np.zeros((len(pixels), spec.red_nz), np.float32)

    for lesson in (Lesson("encoder: generated reds", GENERATED, 1.0, of_generator()),
                   Lesson("encoder: real reds", REAL, PRIOR, of_images())):
        rate = keras.optimizers.schedules.CosineDecay(RATE, lesson.updates)
        # Keras averages over pixels, and over the numbers of z; the errors of an image are their sums.
        chain.compile(optimizer=keras.optimizers.Adam(rate), loss=["mse", "mse"], jit_compile=False,
                      loss_weights=[spec.height * spec.width, lesson.weight * spec.red_nz])
        for _, (reds, targets) in zip(reading(lesson.title, "update")(range(lesson.updates)), lesson.batches,
                                      strict=True):
            chain.train_on_batch(reds, [reds, targets])
    return encoder


def encode(encoder: Network, pixels: np.ndarray, spec: NetworkSpec) -> np.ndarray:
    """z (images, nz), float32, of uint8 images (images, height, width, channels), red first; 0 where it is green's."""
    z = np.zeros((len(pixels), spec.nz), np.float32)
    z[:, :spec.red_nz] = encoder.predict(to_signed(pixels[..., :1]), batch_size=256, verbose=0)
    return z


def find_encoder(folder: str | Path, generator: trained.TrainedGenerator, images: dataloader.Images) -> Network:
    """The encoder of a generator and of these training images in `folder`, or a new one that is written there.

    Raises InputError if the file is damaged.
    """
    path = Path(folder) / f"weights.encoder.{generator.run_name}.h5"
    description = {"format": FORMAT, "biogans": __version__, "holds": "encoder",
                   "generator": hashlib.sha256(generator.path.read_bytes()).hexdigest(), "images": images.fingerprint}
    if path.exists() and (stored := _stored(path, description, generator.spec)):
        return stored
    print(f"{path}: training an encoder of red for {generator.path}, once", flush=True)
    start = time.monotonic()
    encoder = train_encoder(generator, images)
    print(f"encoder: {time.monotonic() - start:.0f} s", flush=True)
    with hdf5.new_in_memory() as file:
        for k, variable in enumerate(encoder.weights):
            file.create_dataset(_weight_name(k), data=np.asarray(variable.numpy())).attrs["name"] = variable.path
        path.parent.mkdir(parents=True, exist_ok=True)
        hdf5.write_described(path, file, description)
    return encoder


def _stored(path, expected, spec):
    """The encoder in a file; None if it belongs to another generator, other images or another version."""
    remedy = "remove it, and biogans label will train one"
    arrays, description = hdf5.read_described(path, remedy)
    if description != expected:
        return None
    encoder = build_encoder(spec.height, spec.width, spec.red_nz)
    try:
        encoder.set_weights([arrays[_weight_name(k)] for k in range(len(encoder.weights))])
    except (KeyError, ValueError):
        raise InputError(f"{path} does not fit the layers of this version: {remedy}") from None
    return encoder


def _weight_name(k):
    return f"encoder/{k:04d}"
