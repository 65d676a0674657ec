"""Codes: the numbers of InfoGAN's z that come to mean something (Chen et al. 2016), and what can be read of an image.

z ends with them. A categorical code c0, c1, … of K categories is K numbers, of which one is 1 and the others are 0;
a continuous code u0, u1, … is one number, uniform in [-1, 1]. The recognizer Q answers for an image with as many
numbers at the same places: the logits of the categories, and the mean of the continuous code.
"""

from typing import NamedTuple

import numpy as np

from ..system.errors import InputError

VARIANCE = 1 / 3                # of a uniform number in [-1, 1]
LARGEST = 10.0                  # of a continuous code that a user sets; beyond 1 a generator extrapolates


class Code(NamedTuple):
    """One code; it takes z[:, start:start + size]."""

    name: str
    start: int
    size: int

    @property
    def is_categorical(self):
        return self.name.startswith("c")

    @property
    def indices(self):
        return slice(self.start, self.start + self.size)

    def values(self, steps):
        """What a traversal goes through: every category, or `steps` numbers from -1 to 1."""
        return list(range(self.size)) if self.is_categorical else np.linspace(-1, 1, steps).tolist()


def layout(codes):
    """What a file says of its codes, as JSON can hold it: where in z they are and what they can be."""
    return [{"name": code.name, "indices": list(range(code.start, code.start + code.size))}
            | ({"kind": "categorical", "categories": code.size} if code.is_categorical else
               {"kind": "continuous", "range": [-1.0, 1.0]}) for code in codes]


# ---------------------------------------------------------------------------------------------- codes in z

def from_normal(z, codes):
    """z (cells, nz) whose codes are drawn from their distributions, made of standard normal z, float32.

    The largest of K independent normal numbers is any of them with the same probability, and Phi(x) is uniform. So
    codes need no random numbers of their own, and are the same for a seed wherever its z is drawn. Without codes z is
    returned as it is.
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


def parse(text, codes):
    """{code: value} of a text such as "c0=3,u1=-0.5", or of None. Raises InputError."""
    known, chosen = {code.name: code for code in codes}, {}
    if text and not codes:
        raise InputError("--code: this generator has no codes: they are InfoGAN's")
    for part in filter(None, (text or "").replace(" ", "").split(",")):
        name, _, value = part.partition("=")
        if name not in known:
            raise InputError(f"--code {part}: no such code: this generator has {', '.join(map(describe, codes))}")
        code = known[name]
        try:
            chosen[code] = number = int(value) if code.is_categorical else float(value)
        except ValueError:
            number = -1 if code.is_categorical else np.inf
        if not (0 <= number < code.size if code.is_categorical else abs(number) <= LARGEST):
            raise InputError(f"--code {part}: give {describe(code)}")
    return chosen


def refuse(path, codes):
    """Raise InputError if there are codes: for a search or a way through normal z."""
    if codes:
        raise InputError(f"{path} draws from codes ({', '.join(map(describe, codes))}), and this needs z that is normal "
                         f"throughout: move its codes with biogans traverse")


def describe(code):
    """A code and its values, in words."""
    return f"{code.name} (0 to {code.size - 1})" if code.is_categorical else f"{code.name} (-1 to 1)"


def with_values(z, chosen):
    """A copy of z (cells, nz) whose codes have the values {code: value}."""
    z = np.array(z)
    for code, value in chosen.items():
        z[:, code.indices] = np.eye(code.size)[value] if code.is_categorical else value
    return z


def traversal(z, code, values):
    """z (values * cells, nz): all of z (cells, nz) with the first of `values`, then all with the second, …"""
    return np.concatenate([with_values(z, {code: value}) for value in values])


# ---------------------------------------------------------------------------------------------- what Q answers

def read(recognizer, images, codes, batch_size=256):
    """{name: answers} of Q for images (cells, height, width, channels) in [-1, 1].

    Of a categorical code (cells, K) probabilities, of a continuous one (cells,) estimates.
    """
    from scipy.special import softmax

    starts = range(0, len(images), batch_size)
    answers = np.concatenate([recognizer.predict_on_batch(images[start:start + batch_size]) for start in starts])
    parts = {code.name: answers[:, code.start - codes[0].start:][:, :code.size].astype(np.float64) for code in codes}
    return {code.name: softmax(parts[code.name], axis=1) if code.is_categorical else parts[code.name][:, 0]
            for code in codes}


def recovered(answers, z, codes):
    """{name: how much of each code Q recovers} from images that were drawn from z (cells, nz).

    Of a categorical code bits: H(c) + E log2 Q(c|x), the bound of Chen et al. (2016), eq. 4, which is at most log2 K;
    of a continuous one R2 = 1 - E (u - Q(x))^2 / Var u, which is at most 1.
    """
    result = {}
    for code in codes:
        drawn, answer = z[:, code.indices], answers[code.name]
        if code.is_categorical:
            likelihood = np.maximum((drawn * answer).sum(axis=1), 1e-12)
            result[code.name] = float(np.log2(code.size) + np.log2(likelihood).mean())
        else:
            result[code.name] = float(1 - np.square(drawn[:, 0] - answer).mean() / VARIANCE)
    return result


def decisiveness(probabilities):
    """H(mean p) - mean H(p) in bits, of Q's answers p (images, K) for real images: needs no labels.

    It is the information between image and answer: log2 K where Q is sure of every image and uses all categories, 0
    where it answers alike for all. Of several seeds the one with the largest is to be trusted most. (The logarithm of
    the Inception score is the same quantity of generated images: Salimans et al. 2016, sec. 4.)
    """
    return float(_entropy(probabilities.mean(axis=0)) - _entropy(probabilities).mean())


def diagnosis(recognizer, codes, z, drawn, real):
    """{quantity: number} that tell whether codes are learnt, from images `drawn` of z and `real` ones in [-1, 1].

    <code> bits, <code> R2       what Q recovers from drawn images
    <code> entropy               mean entropy of its answers for real ones, in bits
    <code> decisiveness          the score to choose among seeds; of a continuous code:
    <code> spread                standard deviation of its answers for real ones (0.58 if they are as uniform as drawn)
    """
    known = recovered(read(recognizer, drawn, codes), z, codes)
    answers, result = read(recognizer, real, codes), {}
    for code in codes:
        answer = answers[code.name]
        if code.is_categorical:
            result |= {f"{code.name} bits": known[code.name], f"{code.name} entropy": float(_entropy(answer).mean()),
                       f"{code.name} decisiveness": decisiveness(answer)}
        else:
            result |= {f"{code.name} R2": known[code.name], f"{code.name} spread": float(answer.std())}
    return result


def _entropy(probabilities):
    from scipy.special import entr
    return entr(probabilities).sum(axis=-1) / np.log(2)
