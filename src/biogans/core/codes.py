"""The codes of InfoGAN: parts of a latent vector z that acquire a meaning (Chen et al. 2016).

The codes are the last part of z. A categorical code c0, c1, … with K categories takes K components: one of them is 1,
the others are 0. A continuous code u0, u1, … takes one component, uniform in [-1, 1]. For an image, the recognizer Q
gives as many answers, in the same order: the logits of the categories, and the mean of a continuous code.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..system.errors import InputError
from ..system.json_text import read_json
from ..system.lazy import Network, keras

VARIANCE = 1 / 3                # of a number that is uniform in [-1, 1]
LARGEST = 10.0                  # value of a continuous code that a user may set; beyond 1 a generator extrapolates
LABELS_FORMAT = 1               # of the files of labels
SETTLED, NOTHING = 1000, 0.1     # iterations after which codes should carry more than so many bits, or than this R2
LEARNT = 0.5                    # bits or R2 that a code has once carried, of which half may be lost before it is told
MOSTLY = 0.5                    # smallest share of images with one label for which a category is named after it


class Code(NamedTuple):
    """One code, which takes z[:, start:start + size]."""

    name: str
    start: int
    size: int

    @property
    def is_categorical(self) -> bool:
        """Whether this is a categorical code; otherwise it is continuous."""
        return self.name.startswith("c")

    @property
    def indices(self) -> slice:
        """The components of z that this code takes."""
        return slice(self.start, self.start + self.size)

    def values(self, steps: int) -> list[Any]:
        """The values that a traversal visits: every category, or `steps` numbers from -1 to 1."""
        return list(range(self.size)) if self.is_categorical else np.linspace(-1, 1, steps).tolist()


class Label(NamedTuple):
    """The most frequent label of a category: its name, and its share of the labelled images of this category."""

    name: str
    share: float
    images: int

    @property
    def short(self) -> str:
        """The name, for pictures; a question mark if the category is a mixture, nothing if it has no images."""
        return self.name if self.share >= MOSTLY else f"{self.name}?" if self.images else ""


Labels = Mapping[str, Sequence[Label]]      # {name of a categorical code: the Label of each category}


def describe_code(code: Code) -> str:
    """Name and range of a code, for messages."""
    return f"{code.name} (0 to {code.size - 1})" if code.is_categorical else f"{code.name} (-1 to 1)"


def value_names(code: Code, values: Sequence[float], labels: Labels | None = None) -> list[str]:
    """Names of values of a code, for pictures: "c0=3", with labels "c0=3 (7)", or "u0=+0.5"."""
    if not code.is_categorical:
        return [f"{code.name}={value:+.1f}" for value in values]
    known = [label.short for label in (labels or {}).get(code.name, ())] or [""] * code.size
    return [f"{code.name}={value}" + (f" ({known[int(value)]})" if known[int(value)] else "") for value in values]


def code_layout(codes: Sequence[Code]) -> list[dict[str, Any]]:
    """Position and range of each code, for JSON: the description of the codes in files."""
    return [{"name": code.name, "indices": list(range(code.start, code.start + code.size))}
            | ({"kind": "categorical", "categories": code.size} if code.is_categorical else
               {"kind": "continuous", "range": [-1.0, 1.0]}) for code in codes]


# ---------------------------------------------------------------------------------------------- codes in z

def from_normal(z: np.ndarray, codes: Sequence[Code]) -> np.ndarray:
    """Turn the codes of standard normal z (cells, nz) into samples of their distributions; returns float32.

    The largest of K independent normal numbers is each of them with the same probability, and Phi(x) is uniform. So
    codes need no random numbers of their own: a seed determines them wherever it determines z. Without codes, z itself
    is returned.
    """
    if not codes:
        return z
    from scipy.special import ndtr

    result = np.array(z)
    for code in codes:
        normal = z[..., code.indices]
        result[..., code.indices] = (np.eye(code.size)[normal.argmax(axis=-1)] if code.is_categorical
                                     else 2 * ndtr(normal) - 1)
    return result


def parse_codes(text: str | None, codes: Sequence[Code]) -> dict[Code, int | float]:
    """{code: value} from a text such as "c0=3,u1=-0.5", or from None. Raises InputError if it is not valid."""
    known = {code.name: code for code in codes}
    chosen = {}
    if text and not codes:
        raise InputError("--code: this generator has no codes: only an InfoGAN has them")
    for part in filter(None, (text or "").replace(" ", "").split(",")):
        name, _, number = part.partition("=")
        if name not in known:
            raise InputError(f"--code {part}: no such code: this generator has {', '.join(map(describe_code, codes))}")
        value = _code_value(known[name], number)
        if value is None:
            raise InputError(f"--code {part}: give {describe_code(known[name])}")
        chosen[known[name]] = value
    return chosen


def _code_value(code, text):
    """The value of a code from its text, or None if it is not a valid one."""
    try:
        value = int(text) if code.is_categorical else float(text)
    except ValueError:
        return None
    valid = 0 <= value < code.size if code.is_categorical else abs(value) <= LARGEST
    return value if valid else None


def require_no_codes(path: Path, codes: Sequence[Code]) -> None:
    """Raise InputError if the generator of the file `path` has codes, where z must be normal throughout."""
    if codes:
        raise InputError(f"{path} generates from codes ({', '.join(map(describe_code, codes))}), but this needs a "
                         f"z that is normal throughout: vary the codes with biogans traverse")


def with_values(z: np.ndarray, chosen: Mapping[Code, float]) -> np.ndarray:
    """A copy of z (cells, nz) with the codes set to the values {code: value}."""
    z = np.array(z)
    for code, value in chosen.items():
        z[:, code.indices] = np.eye(code.size)[int(value)] if code.is_categorical else value
    return z


def traversal(z: np.ndarray, code: Code, values: Sequence[float]) -> np.ndarray:
    """z (values * cells, nz): all of z (cells, nz) with the first of `values`, then all with the second, …"""
    return np.concatenate([with_values(z, {code: value}) for value in values])


# ---------------------------------------------------------------------------------------------- labels of categories

def labels_path(generator: Any) -> Path:
    """The file of the labels of a trained.TrainedGenerator, beside its own file."""
    return generator.beside("codes", ".json")


def labels_content(generator: Any, labels: Labels) -> dict[str, Any]:
    """Content of a file of labels, for JSON. It holds for this trained.TrainedGenerator alone."""
    return {"format": LABELS_FORMAT, "generator": _weights_digest(generator.network),
            "labels": {name: [label._asdict() for label in each] for name, each in labels.items()}}


def read_labels(generator: Any) -> dict[str, list[Label]]:
    """The Labels of a trained.TrainedGenerator; none if there is no file of them, or one of other weights.

    Raises InputError if the file is damaged.
    """
    path, codes = labels_path(generator), generator.spec.codes
    try:
        content = read_json(path)
        known = (LABELS_FORMAT, _weights_digest(generator.network))
        if not codes or (content["format"], content["generator"]) != known:
            return {}
        return {code.name: _checked_labels(content["labels"][code.name], code.size)
                for code in codes if code.is_categorical}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise InputError(f"{path}: no labels of codes can be read from this file: remove it, or write it again with "
                         f"biogans evaluate --codes") from None


def label_lines(chosen: Mapping[Code, float], labels: Labels) -> list[str]:
    """A line about each categorical code that is set, {code: value}, if labels of it are known."""
    lines = []
    for code, value in chosen.items():
        known = labels[code.name][int(value)] if code.is_categorical and code.name in labels else Label("", 0, 0)
        if known.images:
            what = "mostly" if known.share >= MOSTLY else "a mixture, most often"
            lines.append(f"{code.name}={value} generates {what} {known.name} ({known.share:.0%} of the {known.images} "
                         f"held-out images that the recognizer assigns to it)")
    return lines


def _checked_labels(entries, size):
    """A list of `size` Labels from JSON. Raises ValueError, TypeError or KeyError if it is no such list."""
    labels = [Label(entry["name"], float(entry["share"]), int(entry["images"])) for entry in entries]
    for label in labels:
        if not (isinstance(label.name, str) and label.name.isprintable() and len(label.name) <= 200
                and 0 <= label.share <= 1):
            raise ValueError("not a label")
    if len(labels) != size:
        raise ValueError("other categories")
    return labels


def _weights_digest(network):
    """SHA-256 of the weights of a network, whichever file they come from."""
    digest = hashlib.sha256()
    for variable in network.weights:
        digest.update(np.ascontiguousarray(variable.numpy(), np.float32).tobytes())
    return digest.hexdigest()


# ---------------------------------------------------------------------------------------------- Q's answers

def calibrated(recognizer: Network, images: np.ndarray) -> Network:
    """A copy of a recognizer of these weights whose batch normalisation has the moments of generated `images`.

    images   (cells, height, width, channels) in [-1, 1], a few hundred

    In training, Q reads batches of real, generated and augmented images in turn, each normalised by its own moments.
    Their moving averages belong to none of them and change with every batch: with them, Q's answers would lose and
    regain information that Q has all the time (Wu & Johnson 2021, "Rethinking 'Batch' in BatchNorm", sec. 3 and 5).
    """
    def clone(layer):
        settings = layer.get_config()
        if isinstance(layer, keras.layers.BatchNormalization):
            settings["momentum"] = 0.0          # one pass replaces the moving averages
        return type(layer).from_config(settings)
    copy = keras.models.clone_model(recognizer, clone_function=clone)
    copy.set_weights(recognizer.get_weights())
    copy(images, training=True)
    return copy


def read_codes(recognizer: Network, images: np.ndarray, codes: Sequence[Code],
               batch_size: int = 256) -> dict[str, np.ndarray]:
    """{name: Q's answers} for images (cells, height, width, channels) in [-1, 1].

    The answers are probabilities (cells, K) for a categorical code, estimates (cells,) for a continuous one.
    """
    from scipy.special import softmax

    starts = range(0, len(images), batch_size)
    answers = np.concatenate([recognizer.predict_on_batch(images[start:start + batch_size]) for start in starts])
    parts = {code.name: answers[:, code.start - codes[0].start:][:, :code.size].astype(np.float64) for code in codes}
    return {code.name: softmax(parts[code.name], axis=1) if code.is_categorical else parts[code.name][:, 0]
            for code in codes}


def recovered(answers: Mapping[str, np.ndarray], z: np.ndarray, codes: Sequence[Code]) -> dict[str, float]:
    """{name: how much of the code Q recovers} from images that were generated from z (cells, nz).

    For a categorical code this is H(c) + E log2 Q(c|x) in bits, the bound of Chen et al. (2016), eq. 4, at most log2 K;
    for a continuous one R2 = 1 - E (u - Q(x))^2 / Var u, at most 1.
    """
    result = {}
    for code in codes:
        truth, answer = z[:, code.indices], answers[code.name]
        if code.is_categorical:
            likelihood = np.maximum((truth * answer).sum(axis=1), 1e-12)
            result[code.name] = float(np.log2(code.size) + np.log2(likelihood).mean())
        else:
            result[code.name] = float(1 - np.square(truth[:, 0] - answer).mean() / VARIANCE)
    return result


def decisiveness(probabilities: np.ndarray) -> float:
    """H(mean p) - mean H(p) in bits, for Q's answers p (images, K) to real images. It needs no labels.

    This is the information between image and answer: log2 K if Q is certain about every image and uses all categories,
    0 if it gives all images the same answer. Among several seeds, trust the one with the largest value most. (For
    generated images the same quantity is the logarithm of the Inception score: Salimans et al. 2016, sec. 4.)
    """
    return float(_entropy(probabilities.mean(axis=0)) - _entropy(probabilities).mean())


def diagnosis(recognizer: Network, codes: Sequence[Code], z: np.ndarray, generated: np.ndarray,
              real: np.ndarray) -> dict[str, float]:
    """{quantity: number} that show whether the codes are learnt.

    generated, real   images (cells, height, width, channels) in [-1, 1]; the generated ones come from z (cells, nz)

    For a categorical code:
    <code> bits           what Q recovers from the generated images
    <code> entropy        mean entropy of its answers to the real images, in bits
    <code> decisiveness   the score by which to choose among seeds
    For a continuous code:
    <code> R2             what Q recovers from the generated images
    <code> spread         standard deviation of its answers to the real images (0.58 if they are uniform, as in z)
    """
    known = recovered(read_codes(recognizer, generated, codes), z, codes)
    answers = read_codes(recognizer, real, codes)
    result: dict[str, float] = {}
    for code in codes:
        answer = answers[code.name]
        if code.is_categorical:
            result |= {f"{code.name} bits": known[code.name], f"{code.name} entropy": float(_entropy(answer).mean()),
                       f"{code.name} decisiveness": decisiveness(answer)}
        else:
            result |= {f"{code.name} R2": known[code.name], f"{code.name} spread": float(answer.std())}
    return result


class Watch:
    """Follows what codes carry in the course of a training."""

    def __init__(self) -> None:
        self._best: dict[str, float] = {}
        self._lost: set[str] = set()

    def warnings(self, quantities: Mapping[str, float], iteration: int, picture_every: int) -> list[str]:
        """Warnings, one line each, about codes without information.

        quantities       the diagnosis after `iteration` iterations
        picture_every    iterations from one diagnosis to the next

        No code has any in the first diagnosis after SETTLED iterations; or some have lost half of what they had.
        """
        found = {name: value for name, value in quantities.items() if name.endswith((" bits", " R2"))}
        earlier = (iteration - 1) // picture_every * picture_every
        if iteration >= SETTLED > earlier and max(found.values()) <= NOTHING:
            numbers = ", ".join(f"{name} {value:.2f}" for name, value in found.items())
            return [f"warning: after {iteration:,} iterations the codes carry no information ({numbers}): the images "
                    f"do not depend on them: start again with --preset infogan, or with another seed (-s)"]
        self._best = {name: max(value, self._best.get(name, 0.0)) for name, value in found.items()}
        before, self._lost = self._lost, {name for name, value in found.items()
                                          if value < self._best[name] / 2 and self._best[name] >= LEARNT}
        numbers = ", ".join(f"{name} {found[name]:.2f} instead of {self._best[name]:.2f}"
                            for name in found if name in self._lost - before)
        return [f"warning: after {iteration:,} iterations images show less of the codes than before ({numbers}): train "
                f"with a larger --categorical_weight or --continuous_weight, or keep earlier generators "
                f"(--keep_every)"] if numbers else []


def _entropy(probabilities):
    """Entropy over the last axis, in bits."""
    from scipy.special import entr
    return entr(probabilities).sum(axis=-1) / np.log(2)
