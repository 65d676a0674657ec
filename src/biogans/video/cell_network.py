"""A filter that tells whole cells from others by their images: a small convolutional network, stored as HDF5."""

from typing import Any, NamedTuple

import numpy as np

from ..core.trained import layer_variables
from ..system import hdf5
from ..system.errors import InputError
from ..system.lazy import float32, keras
from ..system.pixels import to_unit
from ..system.progress import reading
from .cell_filter import folds

FORMAT = 1                              # of the files
UPDATES, BATCH, RATE = 300, 32, 1e-3    # of the training: Adam, half of each batch whole cells
FILTERS = (16, 32, 64, 64)              # of the convolutions, each of which halves the sides
LARGEST = 1024                          # pixels: longest side of an image


class NetworkFilter(NamedTuple):
    """A network that judges images.

    network    Keras model: images (cells, *shape) in [0, 1] -> logits (cells, 1)
    shape      (height, width, channels) of an image
    accuracy   balanced, in cross-validation; chance is 1/2
    logistic   the same of the logistic regression on features, on the same examples and divisions
    """

    network: Any
    shape: tuple
    accuracy: float
    logistic: float

    def probability(self, table, images):
        """Probability that each of the uint8 images (cells, *shape) is a whole cell: (cells,). `table` is not used."""
        return judged(self.network, images)


def build_network(shape):
    """A network of NetworkFilter, with initial weights that are the same every time."""
    layers, initial = keras.layers, keras.initializers.HeNormal
    with float32():
        image = hidden = keras.Input(shape, name="image")
        for k, filters in enumerate(FILTERS):
            hidden = layers.Conv2D(filters, 3, 2, "same", activation="relu", kernel_initializer=initial(seed=k),
                                   name=f"conv{k}")(hidden)
        hidden = layers.concatenate([layers.GlobalAveragePooling2D(name="mean")(hidden),
                                     layers.GlobalMaxPooling2D(name="largest")(hidden)], name="pooled")
        logit = layers.Dense(1, kernel_initializer=initial(seed=len(FILTERS)), name="logit")(hidden)
        return keras.Model(image, logit, name="whole")


def train_network(images, whole, logistic):
    """Train a NetworkFilter on examples: uint8 images (cells, height, width, channels), and whether each is whole.

    logistic   accuracy of the logistic regression, to be stored for comparison

    The accuracy is the mean over networks that are trained without a fifth of the examples and tested on it. Raises
    InputError if there are fewer than cell_filter.EXAMPLES of either kind, or images are too large.
    """
    whole = np.asarray(whole, bool)
    if max(images.shape[1:3]) > LARGEST:
        raise InputError(f"images of {images.shape[1]}x{images.shape[2]} pixels are too large for the network: at most "
                         f"{LARGEST} on a side")
    network = build_network(images.shape[1:])
    network.compile(keras.optimizers.Adam(RATE), keras.losses.BinaryCrossentropy(from_logits=True), jit_compile=False)
    network.optimizer.build(network.trainable_variables)
    variables = [*network.weights, *network.optimizer.variables]
    initial, accuracies = [np.array(variable.numpy()) for variable in variables], []
    for training, test in reading("cross-validation", "network")([*folds(whole), (np.arange(len(whole)), [])]):
        for variable, value in zip(variables, initial, strict=True):
            variable.assign(value)
        fit(network, images[training], whole[training])
        if len(test):
            right = (judged(network, images[test]) > 0.5) == whole[test]
            accuracies.append((right[whole[test]].mean() + right[~whole[test]].mean()) / 2)
    return NetworkFilter(network, images.shape[1:], float(np.mean(accuracies)), float(logistic))


def fit(network, images, whole):
    """Train a network on examples. Batches have as many whole cells as others, mirrored at random."""
    rng, kinds = np.random.default_rng(0), (np.flatnonzero(whole), np.flatnonzero(~whole))
    answers = np.repeat([1.0, 0.0], BATCH // 2)[:, None].astype("float32")
    for _ in range(UPDATES):
        batch = to_unit(images[np.concatenate([rng.choice(kind, BATCH // 2) for kind in kinds])])
        for axis in (1, 2):
            mirrored = rng.random(BATCH) < 0.5
            batch[mirrored] = np.flip(batch[mirrored], axis)
        network.train_on_batch(batch, answers)


def judged(network, images):
    """Probabilities (cells,) of uint8 images (cells, height, width, channels)."""
    logits = network.predict_on_batch(to_unit(images))[:, 0].astype(float)
    return 1 / (1 + np.exp(-np.clip(logits, -50, 50)))


# ---------------------------------------------------------------------------------------------- files

def write_network(path, trained):
    """Write a NetworkFilter: its weights, shape and accuracies, without anything that could be executed."""
    with hdf5.new_in_memory() as file:
        for name, variable in layer_variables(trained.network):
            file.create_dataset(name, data=np.asarray(variable.numpy()))
        hdf5.write_described(path, file, {"filter": FORMAT, "shape": list(trained.shape),
                                          "accuracy": trained.accuracy, "logistic": trained.logistic})


def read_network(path):
    """NetworkFilter from a file. Raises InputError."""
    remedy = "make one with biogans cells --teach … --method network"
    try:
        arrays, known = hdf5.read_described(path, remedy)
        if known["filter"] != FORMAT:
            raise ValueError("another format")
        shape = tuple(known["shape"])
        if len(shape) != 3 or not all(type(side) is int and 0 < side <= LARGEST for side in shape) or shape[2] > 4:
            raise ValueError("no shape of an image")
        network = build_network(shape)
        trained = NetworkFilter(network, shape, float(known["accuracy"]), float(known["logistic"]))
    except hdf5.Damaged as problem:
        raise InputError(f"{problem.what}: {remedy}") from None
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{path}: not a filter of biogans cells: {remedy}") from None
    hdf5.assign(path, arrays, layer_variables(network))
    return trained
