"""A small network that tells the factors of real images apart, and the features of images that it sees by.

Inception's features were learnt from photographs of things; these are what distinguishes one polarity factor from
another in these cells. Distances between sets of features are in metrics.py.
"""

import numpy as np

from .. import __version__
from ..core import checkpoint
from ..system import seal
from ..system.errors import InputError
from ..system.files import replacing
from ..system.lazy import keras

FEATURES = 32
UPDATES, BATCH, SEED = 800, 64, 0


def network(height, width, channels, factors):
    """images (batch, height, width, channels) in [-1, 1] -> [features (batch, 32), logits (batch, factors)].

    The features have mean 0 and variance 1 over the training images, so their distances have a unit.
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


def train(images, updates=UPDATES):
    """A classifier of the factors of `images` (dataloader.Images), trained on their mirror images too.

    Raises InputError if there is only one factor.
    """
    if len(images.factors) < 2:
        raise InputError(f"features are learnt by telling factors apart, and there is only {images.factors[0]}: give "
                         f"-d a folder of several")
    keras.utils.set_random_seed(SEED)
    rng = np.random.default_rng(SEED)
    classifier = network(*images.pixels.shape[1:], len(images.factors))
    logits = keras.Model(classifier.input, classifier.output[1])
    # At a constant rate the weights, and the running averages of the normalisation, are those of a chance last step.
    rate = keras.optimizers.schedules.CosineDecay(2e-3, updates)
    logits.compile(optimizer=keras.optimizers.Adam(rate), jit_compile=False,
                   loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    groups = [np.flatnonzero(images.labels == k) for k in range(len(images.factors))]
    for _ in range(updates):
        labels = rng.integers(len(groups), size=BATCH)
        batch = images.pixels[[rng.choice(groups[k]) for k in labels]]
        down, across = (rng.random((2, BATCH, 1, 1, 1)) < 0.5)
        batch = np.where(down, batch[:, ::-1], batch)
        logits.train_on_batch(scaled(np.where(across, batch[:, :, ::-1], batch)), labels)
    return classifier


def scaled(pixels):
    """uint8 -> float32 in [-1, 1]."""
    return np.asarray(pixels, np.float32) / np.float32(127.5) - 1


def extract(classifier, pixels):
    """(features (images, 32), index of the most likely factor (images,)) of uint8 images."""
    features, logits = classifier.predict(scaled(pixels), batch_size=256, verbose=0)
    return features, logits.argmax(axis=1)


def accuracy(classifier, images):
    """Share of `images` (dataloader.Images) whose factor it tells."""
    return float((extract(classifier, images.pixels)[1] == images.labels).mean())


def save(path, classifier, training, held_out):
    """Write the weights with what they were trained on and their accuracy on the `held_out` images; returns that."""
    import h5py

    facts = {"format": checkpoint.FORMAT, "biogans": __version__, "holds": "classifier",
             "shape": training.pixels.shape[1:], "factors": training.factors,
             "images": {"number": len(training.pixels), "sha256": training.fingerprint},
             "accuracy": accuracy(classifier, held_out), "held_out": len(held_out.pixels)}
    with replacing(path) as temporary:
        with h5py.File(temporary, "w") as file:
            for k, variable in enumerate(classifier.weights):
                array = np.asarray(variable.numpy())
                file.create_dataset(f"classifier/{k:04d}", data=array).attrs["name"] = variable.path
            checkpoint.describe(file, facts)
        seal.add(temporary)
    return facts


def load(path):
    """(classifier, facts) of a file that `save` wrote. Raises InputError if it is damaged or holds something else."""
    arrays, facts = checkpoint.read_arrays(path)
    if facts.get("holds") != "classifier":
        raise InputError(f"{path} holds no classifier: remove it, and biogans evaluate will train one")
    try:
        classifier = network(*facts["shape"], len(facts["factors"]))
        classifier.set_weights([arrays[f"classifier/{k:04d}"] for k in range(len(classifier.weights))])
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{path} holds other layers than this version's: remove it, and biogans evaluate will train "
                         f"one") from None
    return classifier, facts
