"""Which channels a generator computes apart from the others."""

from ..system.lazy import keras


def has_red_tower(generator):
    """Whether red has layers of its own, which read nothing of green, as in separable and star-shaped networks."""
    return any(layer.name.startswith("red") for layer in generator.layers)


def restricted_to(generator, channels):
    """The same generator, with the same weights, that produces only these `channels` (positions, ascending).

    Towers that none of them needs are not computed.
    """
    joined = [layer for layer in generator.layers if layer.name == "image"]
    parts, start = [], 0
    for image in joined[0].input if joined else [generator.output]:
        wanted = [channel - start for channel in channels if start <= channel < start + image.shape[-1]]
        parts += [image] if len(wanted) == image.shape[-1] else [image[..., k:k + 1] for k in wanted]
        start += image.shape[-1]
    image = keras.layers.concatenate(parts) if len(parts) > 1 else parts[0]
    return keras.Model(generator.input, image, name="generator")
