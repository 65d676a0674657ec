"""Generators as ONNX graphs, run by ONNX Runtime."""

import numpy as np
import pytest

from biogans.core import models
from biogans.core.engine import float32_generator, generate
from biogans.exchange import onnx_graph
from biogans.system.errors import InputError
from biogans.system.lazy import keras
from networks import spec

onnxruntime = pytest.importorskip("onnxruntime", reason="no onnxruntime: pip install 'biogans[test]'")


def generated(graph, z):
    """Images as Keras has them, channels last."""
    return onnxruntime.InferenceSession(graph).run(None, {"z": z})[0].transpose(0, 2, 3, 1)


def perturbed(generator, seed=0):
    """The generator with changes in all its weights, as after a training: also in those of batch normalisation."""
    rng = np.random.default_rng(seed)
    for variable in generator.weights:
        change = rng.uniform(0.5, 1.5, variable.shape) if "moving_variance" in variable.path else rng.normal(
            0, 0.05, variable.shape)
        variable.assign(change if "moving" in variable.path else variable + change)
    return generator


@pytest.mark.parametrize("architecture", models.ARCHITECTURES)
@pytest.mark.parametrize("changes", [{"init": "he"}, {"init": "he", "height": 28, "width": 28, "nz": 7, "ngf": 5},
                                     {"init": "he", "channels": 3, "nz": 8, "ngf": 8}])
def test_it_generates_what_keras_generates(architecture, changes):
    check_equal(spec(architecture, **changes))


@pytest.mark.parametrize("architecture", ["DCGAN", "DCGAN-starshaped", "DCGAN-separable-multichannel"])
def test_it_generates_from_noise_maps_what_keras_generates(architecture):
    check_equal(spec(architecture, init="he", nz=126, noise=True))


def check_equal(shape):
    """Compare the exported generator of this spec with Keras, for five z."""
    keras.utils.set_random_seed(0)
    generator = perturbed(float32_generator(shape))
    z = np.random.default_rng(1).standard_normal((5, generator.input_shape[1]), np.float32)
    images = generate(generator, z)
    assert images.std() > 0.1
    np.testing.assert_allclose(generated(onnx_graph.serialize(generator), z), images, atol=1 / 127.5)


def test_gray_images():
    generator = perturbed(float32_generator(spec(channels=1)))
    z = np.random.default_rng(1).standard_normal((3, 6), np.float32)
    np.testing.assert_allclose(generated(onnx_graph.serialize(generator), z), generate(generator, z), atol=1 / 127.5)


def test_weights_take_half_the_bytes():
    generator = float32_generator(spec(ngf=32))
    assert 2 * generator.count_params() < len(onnx_graph.serialize(generator)) < 2.2 * generator.count_params()


@pytest.mark.parametrize("layer, named", [
    (lambda: keras.layers.UpSampling2D(name="larger"), "larger: UpSampling2D"),
    (lambda: keras.layers.Activation("softplus", name="bent"), "bent: the activation softplus")])
def test_a_layer_without_translation_is_named(layer, named):
    """Users edit models.py."""
    generator = float32_generator(spec())
    edited = keras.Model(generator.input, layer()(generator.output))
    with pytest.raises(InputError, match=named):
        onnx_graph.serialize(edited)
