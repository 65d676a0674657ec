"""A small classifier of the polarity factors, whose features are used to compare generated and real images.

Inception's features were learnt from photographs of objects; these are what distinguishes the factors in the cells at
hand. metrics.py has the distances between sets of features.
"""

import dataclasses

import numpy as np

from .. import __version__
from ..core.settings import FORMAT
from ..system import hdf5
from ..system.errors import InputError
from ..system.lazy import keras
from ..system.pixels import to_signed
from ..system.progress import reading

FEATURES = 32
UPDATES, BATCH, SEED = 800, 64, 0


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A trained classifier, as its file describes it.

    network          Keras model, see build_classifier
    factors          names of the factors, in the order of the logits
    training_sha256  dataloader.Images.fingerprint of the training images
    accuracy         fraction of the held-out images that it classified correctly
    """

    network: object
    factors: tuple
    training_sha256: str
    accuracy: float

    def fits(self, images):
        """Whether it is for images of this shape, and knows all factors of these dataloader.Images."""
        return self.network.input_shape[1:] == images.pixels.shape[1:] and {*images.factors} <= {*self.factors}


def build_classifier(height, width, channels, factors):
    """images (batch, height, width, channels) in [-1, 1] -> [features (batch, 32), logits (batch, factors)].

    The features have mean 0 and variance 1 over the training images, which gives distances a unit.
    """
    image = maps = keras.Input((height, width, channels), name="image")
    for level, filters in enumerate((16, 32, 64)):
        maps = keras.layers.Conv2D(filters, 4, strides=2, padding="same", name=f"{level}_convolution")(maps)
        maps = keras.layers.BatchNormalization(name=f"{level}_normalization")(maps)
        maps = keras.layers.ReLU(name=f"{level}_rectified")(maps)
    flat = keras.layers.GlobalAveragePooling2D(name="mean")(maps)
    features = keras.layers.Dense(FEATURES, use_bias=False, name="features")(flat)
    features = keras.layers.BatchNormalization(center=False, scale=False, name="standardized")(features)
    rectified = keras.layers.ReLU(name="rectified")(features)
    return keras.Model(image, [features, keras.layers.Dense(factors, name="logits")(rectified)], name="classifier")


def train_classifier(images, updates=None, seed=SEED):
    """Train a classifier, a Keras model, on `images` (dataloader.Images) and their mirror images; UPDATES by default.

    Raises InputError if they have only one factor.
    """
    if len(images.factors) < 2:
        raise InputError(f"a classifier of the factors needs at least two of them, and there is only "
                         f"{images.factors[0]}: give -d a folder of several factors")
    updates = updates or UPDATES
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    network = build_classifier(*images.pixels.shape[1:], len(images.factors))
    logits = keras.Model(network.input, network.output[1])
    # At a constant rate, weights and running averages would depend on the last batches.
    rate = keras.optimizers.schedules.CosineDecay(2e-3, updates)
    logits.compile(optimizer=keras.optimizers.Adam(rate), jit_compile=False,
                   loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    for _, (pixels, labels) in zip(reading("training a classifier", "update")(range(updates)),
                                   training_batches(images, updates, rng), strict=True):
        logits.train_on_batch(to_signed(pixels), labels)
    return network


def training_batches(images, updates, rng):
    """Yield (uint8 pixels, labels) of batches with as many images of each factor on average, mirrored at random."""
    groups = [np.flatnonzero(images.labels == k) for k in range(len(images.factors))]
    for _ in range(updates):
        labels = rng.integers(len(groups), size=BATCH)
        batch = images.pixels[[rng.choice(groups[k]) for k in labels]]
        down, across = (rng.random((2, BATCH, 1, 1, 1)) < 0.5)
        batch = np.where(down, batch[:, ::-1], batch)
        yield np.where(across, batch[:, :, ::-1], batch), labels


def extract(network, pixels):
    """(features (images, 32), index of the most likely factor (images,)) of uint8 images."""
    features, logits = network.predict(to_signed(pixels), batch_size=256, verbose=0)
    return features, logits.argmax(axis=1)


def save_classifier(path, network, training, held_out):
    """Write the weights, the training images' fingerprint and the accuracy on the `held_out` images to `path`.

    Returns the Classifier.
    """
    accuracy = float((extract(network, held_out.pixels)[1] == held_out.labels).mean())
    description = {"format": FORMAT, "biogans": __version__, "holds": "classifier",
                   "shape": training.pixels.shape[1:], "factors": training.factors,
                   "images": {"number": len(training.pixels), "sha256": training.fingerprint},
                   "accuracy": accuracy, "held_out": len(held_out.pixels)}
    with hdf5.new_in_memory() as file:
        for k, variable in enumerate(network.weights):
            file.create_dataset(_weight_name(k), data=np.asarray(variable.numpy())).attrs["name"] = variable.path
        hdf5.write_described(path, file, description)
    return Classifier(network, tuple(training.factors), training.fingerprint, accuracy)


def load_classifier(path):
    """The Classifier in a file of `save_classifier`. Raises InputError if it is damaged or holds something else."""
    remedy = "remove it, and biogans evaluate will train one"
    arrays, description = hdf5.read_described(path, remedy)
    if not isinstance(description, dict) or description.get("holds") != "classifier":
        raise InputError(f"{path} holds no classifier: {remedy}")
    try:
        network = build_classifier(*description["shape"], len(description["factors"]))
        network.set_weights([arrays[_weight_name(k)] for k in range(len(network.weights))])
        return Classifier(network, tuple(description["factors"]), description["images"]["sha256"],
                          description["accuracy"])
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{path} does not fit the layers of this version: {remedy}") from None


def _weight_name(k):
    return f"classifier/{k:04d}"
