"""One iteration: the variables it changes, its random numbers, several devices, and precision."""

import functools
import gc
import json
import os
import sys

import numpy as np
import pytest

import forked_python
from biogans.core import models
from biogans.core.engine import Engine, generate, input_gradient
from biogans.system import backend_tensorflow
from biogans.system.backend_tensorflow import twice_differentiable
from biogans.system.errors import InputError
from biogans.system.lazy import jax, keras, tensorflow as tf
from biogans.system.workers import Team
from conftest import TEST_MODULES, TWO_THREADS
from networks import EVERY_PAIR, PAIRS, batches, images, settings, spec


def engine(architecture="DCGAN", algorithm="WGAN-GP", devices=1, **changes):
    return Engine(spec(architecture, algorithm), settings(algorithm, **changes), devices)


def copies(variables):
    return [variable.numpy().copy() for variable in variables]


REPEATED = """
import sys
import numpy as np
from biogans.core.engine import Engine
from networks import batches, settings, spec

def copies(variables):
    return [variable.numpy().copy() for variable in variables]

architecture, algorithm = sys.argv[1:]
run, other = (Engine(spec(architecture, algorithm), settings(algorithm)) for _ in range(2))
begin = copies(run.state)
assert all(map(np.array_equal, begin, copies(other.state)))
trainable = run.generator.trainable_variables + run.critic_weights
before, data = copies(trainable), batches(architecture, run.settings)
ends = []
for _ in range(2):
    run.position = 0
    for variable, value in zip(run.state, begin, strict=True):
        variable.assign(value)
    losses = [run.iterate(iteration, data) for iteration in (30, 31)]
    ends.append([*losses, *copies(run.state)])
assert all(map(np.array_equal, *ends)) and np.isfinite(ends[0][:2]).all()
for variable, old in zip(trainable, before):
    assert not np.array_equal(variable.numpy(), old), variable.path
print("repeated")
"""


@pytest.mark.parametrize("architecture, algorithm", EVERY_PAIR)
def test_iterations_are_reproducible_and_change_every_weight(architecture, algorithm):
    """From equal states iterations lead to equal states, bit for bit, on two threads; every trainable variable changes.

    Two engines with the same seed begin with equal states; for their iterations see also test_two_halves_equal_one_run.
    """
    done = forked_python.run([sys.executable, "-c", REPEATED, architecture, algorithm],
                             env=os.environ | TEST_MODULES | TWO_THREADS)
    assert done.stdout == "repeated\n", done.stderr


THREADS = """
import os
from biogans.core.engine import Engine
from biogans.system.lazy import tensorflow as tf
from networks import settings, spec
for architecture, environment in (("DCGAN-starshaped", {}), ("DCGAN", {}),
                                  ("DCGAN-starshaped", {"TF_NUM_INTEROP_THREADS": "2"}),
                                  ("DCGAN-starshaped", {"TF_NUM_INTRAOP_THREADS": "3"})):
    child = os.fork()           # TensorFlow is imported, but has not begun to compute, which fixes its threads
    if not child:
        os.environ.update(environment)
        Engine(spec(architecture), settings())
        threading = tf.config.threading
        print(threading.get_intra_op_parallelism_threads(), threading.get_inter_op_parallelism_threads(), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


def test_cores_are_shared_by_towers():
    """A core for each operation where two towers keep two cores busy; else TensorFlow's own choice, 0.

    Also if the user has chosen the number of operations at a time, or if towers and cores do not match.
    """
    plain = {name: value for name, value in os.environ.items() if name != "TF_NUM_INTEROP_THREADS"}
    environment = plain | TEST_MODULES | {"TF_NUM_INTRAOP_THREADS": "2"}
    result = forked_python.run([sys.executable, "-c", THREADS], env=environment)
    assert result.stdout.splitlines() == ["1 2", "0 0", "0 0", "0 0"], result.stderr


@pytest.mark.parametrize("algorithm", ["GAN", "WGAN-GP"])
def test_a_function_of_each_critic_is_traced_once(algorithm):
    """Values, gradients and moving statistics are those of the critics themselves; the function is called once."""
    stars = [engine("DCGAN-starshaped", algorithm) for _ in range(2)]
    real, fake = (tf.random.stateless_uniform((4, 16, 24, 2), (k, k), -1, 1) for k in range(2))
    calls, found = [], []

    def loss(critic, *tensors):
        calls.append(critic)
        return stars[0].algorithm.critic_loss(critic, *tensors, tf.fill((4, 1, 1, 1), 0.3), input_gradient)

    plain = [functools.partial(loss, critic) for critic in stars[0].critics]
    for star, functions in zip(stars, (plain, backend_tensorflow.Devices(1, "float32", Team()).for_each(
            loss, stars[1].critics)), strict=True):
        with tf.GradientTape() as tape:
            total = functions[0](real, fake) + 2 * functions[1](fake, real)
        gradients = tape.gradient(total, [weight.value for weight in star.critic_weights])
        found.append([total, *gradients, *(weight.value for critic in star.critics for weight in critic.weights)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    assert [stars[0].critics.index(critic) for critic in calls[:2]] == [0, 1] and calls[2:] == [stars[1].critics[0]]


def test_another_seed_is_another_run():
    data = batches("DCGAN", settings())
    assert engine(seed=1).iterate(0, data) != engine(seed=2).iterate(0, data)


def test_critic_updates_of_an_iteration():
    """Each update of the critic takes one batch: 2 by the settings, and 100 in WGAN's first iterations."""
    run, data = engine(algorithm="WGAN"), batches("DCGAN", settings("WGAN"))
    run.iterate(30, data)
    assert run.position == 2
    run.iterate(0, data)
    assert run.position == 102
    assert max(abs(variable.numpy()).max() for variable in run.critic_weights) <= np.float32(0.01)


def test_the_number_of_critic_updates_may_change_at_any_iteration(monkeypatch):
    """As in a student's own algorithm. The graph of a single update gives the same bits as that of several."""
    def trained():
        run = engine(algorithm="GAN")
        monkeypatch.setattr(run.algorithm, "critic_updates", lambda iteration: (1, 3, 1)[iteration])
        data = batches("DCGAN", run.settings)
        losses = [run.iterate(iteration, data) for iteration in range(3)]
        assert run.position == 5
        return [*losses, *copies(run.state)]

    changing, compile_one = trained(), backend_tensorflow.Devices.compile_graph
    monkeypatch.setattr(backend_tensorflow.Devices, "compile_graph",
                        lambda self, *arguments: compile_one(self, *arguments[:-1], True))
    assert all(map(np.array_equal, changing, trained()))


def test_several_updates_of_the_generator():
    """With --num_G_iters 2 Adam has taken two steps after one iteration, the critic's two as well."""
    run = engine(num_G_iters=2)
    run.iterate(0, batches("DCGAN", run.settings))
    assert int(run.optimizers["generator"].iterations) == 2 and int(run.optimizers["critic"].iterations) == 2


def test_a_training_leaves_no_graphs_behind():
    """TensorFlow would keep those with custom gradients, which fill gigabytes after some hundred trainings."""
    def graphs_after_a_training():
        engine().iterate(30, batches("DCGAN", settings()))
        gc.collect()
        return sum(issubclass(type(each), tf.Graph) for each in gc.get_objects())

    assert graphs_after_a_training() == graphs_after_a_training()


def test_the_moving_average():
    """average <- d average + (1 - d) weights with d = min(0.9, (1 + i) / (10 + i)), from the initial weights on."""
    run = engine(average=0.9)
    expected, data = copies(run.generator.weights), batches("DCGAN", run.settings)
    for iteration in range(3):
        run.iterate(iteration, data)
        decay, weights = (1 + iteration) / (10 + iteration), copies(run.generator.weights)
        expected = [decay * mean + (1 - decay) * weight for mean, weight in zip(expected, weights)]
    for mean, weight in zip(expected, run.average.weights):
        np.testing.assert_allclose(weight.numpy(), mean, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("algorithm", ["WGAN-GP", "RpGAN"])
def test_learning_rates_follow_the_schedule(algorithm):
    """A run whose rates fall equals one whose rates are set by hand; when they are 0, no trainable weight changes."""
    run, by_hand = (engine(algorithm=algorithm, lr_schedule=name, horizon=4, average=0.0) for name in
                    ("linear", "constant"))
    data = batches("DCGAN", run.settings)
    for iteration, factor in enumerate((1, 1, 1, 0.5, 0)):
        before = copies(run.generator.trainable_variables + run.critic_weights)
        for network, rate in (("generator", run.settings.lrG), ("critic", run.settings.lrD)):
            by_hand.optimizers[network].learning_rate = factor * rate
        assert run.iterate(iteration, data) == by_hand.iterate(iteration, data)
        after = copies(run.generator.trainable_variables + run.critic_weights)
        assert all(np.array_equal(a, b) for a, b in zip(
            after, copies(by_hand.generator.trainable_variables + by_hand.critic_weights)))
        assert all(np.array_equal(a, b) == (factor == 0) for a, b in zip(before, after))


def test_the_weight_of_the_penalty_falls_with_the_learning_rates():
    """From 1 to 0.1: after a quarter of a linear fall, the first loss is that of a run with a weight of 0.775."""
    falling = engine(algorithm="RpGAN", lr_schedule="linear", lr_hold=0.0, horizon=40, r1_gamma=1.0, r1_gamma_last=0.1,
                     num_D_iters=1)
    constant = engine(algorithm="RpGAN", r1_gamma=0.775, num_D_iters=1)
    (first, _), (second, _) = (run.iterate(10, batches("DCGAN", run.settings)) for run in (falling, constant))
    assert first == pytest.approx(second, rel=1e-6)
    assert float(falling.algorithm.gamma(np.zeros((4, 16, 24, 2)))) == pytest.approx(0.775)


def test_without_average_cells_are_generated_with_the_last_weights():
    run = engine(average=0.0)
    run.iterate(0, batches("DCGAN", run.settings))
    assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in zip(run.average.weights, run.generator.weights))


@pytest.mark.parametrize("algorithm", ["GAN", "WGAN", "WGAN-GP", "R1", "RpGAN"])
def test_critics_without_second_derivative_learn_the_same(algorithm):
    """Loss and gradients with respect to every weight equal those of the plain critic."""
    run = engine(algorithm=algorithm)
    critic, rng = run.critics[0], np.random.default_rng(0)
    real, fake = (tf.constant(rng.uniform(-1, 1, (4, 16, 24, 2)), tf.float32) for _ in range(2))
    results = []
    for one in (critic, twice_differentiable(critic)):
        with tf.GradientTape() as tape:
            loss = run.algorithm.critic_loss(one, real, fake, tf.fill((4, 1, 1, 1), 0.3), input_gradient)
        results.append([loss, *tape.gradient(loss, critic.trainable_variables)])
    for plain, fast in zip(*results, strict=True):
        np.testing.assert_allclose(fast, plain, rtol=1e-5, atol=1e-6)


def test_a_leaky_relu_without_second_derivative():
    """Its slopes are 1 and 0.2; their derivative with respect to the features is None, not zero."""
    critic = twice_differentiable(engine().critics[0])
    layer = critic.get_layer("0_rectified")
    features = tf.constant([[-2.0, 3.0]])
    with tf.GradientTape() as outer:
        outer.watch(features)
        with tf.GradientTape() as tape:
            tape.watch(features)
            rectified = layer(features)
        slopes = tape.gradient(rectified, features)
    np.testing.assert_allclose(rectified, [[-0.4, 3.0]], rtol=1e-6)
    np.testing.assert_allclose(slopes, [[0.2, 1.0]], rtol=1e-6)
    assert outer.gradient(slopes, features) is None


def test_augmentation_flips_both_ways_and_scales():
    """Images are scaled to [-1, 1], and mirrored in rows, columns, both or not at all, about equally often."""
    run = engine("DCGAN-starshaped", batch_size=200)
    image = images(1).pixels[0]
    given, _ = run.random_inputs(np.broadcast_to(image, (1, 2, 200, *image.shape)))
    flipped = keras.ops.convert_to_numpy(run.mirror_and_scale(given.real[0], given.mirrored[0]))
    scaled = image / np.float32(127.5) - 1
    variants = [scaled, scaled[::-1], scaled[:, ::-1], scaled[::-1, ::-1]]
    every = flipped.reshape(-1, *image.shape)
    counts = [sum(np.allclose(one, variant, atol=1e-6) for one in every) for variant in variants]
    assert sum(counts) == 400 and min(counts) > 60
    assert not np.array_equal(flipped[0], flipped[1])       # the factors are flipped independently


def test_each_critic_receives_red_and_its_own_green():
    run = engine("DCGAN-starshaped")
    cells = np.arange(2 * 3, dtype="float32").reshape(1, 1, 2, 3)
    pairs = [keras.ops.convert_to_numpy(pair) for pair in run.critic_inputs(cells)]
    assert np.array_equal(pairs[0], cells[..., [0, 1]]) and np.array_equal(pairs[1], cells[..., [0, 2]])


def test_variety_compares_cells_of_one_red():
    """Latents come in pairs that share the red part; the term lets greens of one red differ more than without it."""
    changes = {"variety": 100.0, "green_variance": (0.05, 0.05)}
    run, plain = engine("DCGAN-starshaped", **changes), engine("DCGAN-starshaped")
    latent = run.random_inputs(batches("DCGAN-starshaped", run.settings).take(0, 1))[0].latent[0]
    assert np.array_equal(latent[0, :3], latent[1, :3]) and not np.array_equal(latent[0, 3:], latent[1, 3:])
    assert not np.array_equal(latent[1, :3], latent[2, :3])
    spread = []
    for one in (run, plain):
        for iteration in range(20):
            one.iterate(iteration, batches("DCGAN-starshaped", one.settings))
        cells = one.generate(one.grid_latents(4, 8)).reshape(4, 8, *plain.generator.output_shape[1:])
        spread.append(cells.std(axis=1).mean(axis=(0, 1, 2)))
    assert spread[0][0] == pytest.approx(0, abs=1e-6) and (spread[0][1:] > 1.2 * spread[1][1:]).all()


@pytest.mark.parametrize("batch, shared", [(16, [0, 8]), (12, [0, 2, 4, 6, 8, 10])])
def test_pairs_of_cells_with_one_red(batch, shared):
    """One pair in eight cells: with more, the generator would see fewer reds. Other batches consist of pairs."""
    run = engine("DCGAN-starshaped", variety=1.0, green_variance=(0.05, 0.05), batch_size=batch)
    latent = run.random_inputs(batches("DCGAN-starshaped", run.settings).take(0, 1))[0].latent[0]
    assert [k for k in range(batch - 1) if np.array_equal(latent[k, :3], latent[k + 1, :3])] == shared
    assert len({*map(tuple, latent[:, 3:])}) == batch


def test_a_batch_without_pairs():
    with pytest.raises(InputError, match="--variety compares pairs.*multiple of 2"):
        engine("DCGAN-starshaped", variety=1.0, batch_size=5)


def test_random_numbers_are_a_function_of_the_position():
    """They differ between positions and between purposes, but not between iterations; so runs can be resumed."""
    run = engine(num_G_iters=3)
    real = np.zeros((3, 1, 4, 16, 24, 2), np.uint8)
    given, more = run.random_inputs(real)
    assert more.shape == (2, 4, 6) and len({*more.flat, *given.latent.flat}) == 5 * 4 * 6
    assert 0 <= given.alpha.min() and given.alpha.max() < 1 and len(np.unique(given.alpha)) == 3 * 4
    run.position = 2
    later, same = run.random_inputs(real[:1])
    assert np.array_equal(same, more)
    assert all(np.array_equal(a[0], b[2]) for a, b in zip(later, given))


def test_grid_latents_share_red_within_groups():
    run = engine("DCGAN-separable")
    z = run.grid_latents(3, 4).reshape(3, 4, 6)
    assert np.array_equal(z, run.grid_latents(3, 4).reshape(3, 4, 6))
    assert (z[:, :, :3] == z[:, :1, :3]).all() and len(np.unique(z[:, 0, 0])) == 3 and len(np.unique(z[:, :, 3])) == 12
    red = generate(run.average, z.reshape(12, 6))[..., 0].reshape(3, 4, -1)
    assert np.array_equal(red[:, 0], red[:, 1]) and not np.array_equal(red[0], red[1])


def test_the_precision_of_products_on_gpus():
    """TF32 only on request, although it is the default of JAX."""
    for precision in ("float32", "tf32", "bfloat16", "float32"):
        engine(precision=precision)
        on_jax = keras.backend.backend() == "jax"
        tf32 = (jax.config.jax_default_matmul_precision == "tensorfloat32" if on_jax
                else tf.config.experimental.tensor_float_32_execution_enabled())
        assert tf32 == (precision == "tf32")


def test_bfloat16_leaves_weights_scores_and_pixels_in_float32():
    run = engine("DCGAN-starshaped", precision="bfloat16")
    try:
        assert np.isfinite(run.iterate(0, batches("DCGAN-starshaped", run.settings))).all()
        assert {variable.dtype for variable in run.generator.weights} == {"float32"}
        assert run.generator.get_layer("red_1_convolution").compute_dtype == "bfloat16"
        assert run.generator.output.dtype == run.critics[0].output.dtype == "float32"
        assert run.average.get_layer("red_1_convolution").compute_dtype == "float32"
    finally:
        keras.config.set_dtype_policy("float32")


def test_more_devices_than_available():
    with pytest.raises(InputError, match="-g 4: this machine has 1"):
        engine(devices=4)


TWO_DEVICES = """
import json, sys
import numpy as np
from biogans.system.lazy import keras, tensorflow as tf
from biogans.core.engine import Engine
from networks import SCHEDULE, batches, settings, spec
if keras.backend.backend() == "tensorflow":
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
for architecture, algorithm, *policies in json.loads(sys.argv[1]):
    weights = []
    codes = {"nz": 12, "categorical": (3,), "continuous": 1} if architecture == "InfoGAN" else {}
    for devices in (1, 2):
        changes = dict(SCHEDULE if algorithm == "RpGAN" else {})
        changes["augment"] = tuple(policies)
        run = Engine(spec(architecture, algorithm, **codes), settings(algorithm, **changes), devices)
        data = batches(architecture, run.settings)
        for iteration in range(30, 33):
            losses = run.iterate(iteration, data)
        networks = filter(None, (run.generator, run.average, *run.critics, run.recognizer))
        weights.append([variable.numpy() for network in networks for variable in network.weights])
        weights[-1].append(run.generate(run.grid_latents(1, 3)))
    assert weights[1][-1].shape[0] == 3
    print(max(abs(one - two).max() for one, two in zip(*weights)))
"""
TWICE = (("DCGAN-starshaped", "WGAN-GP", "affine", "cutout"), ("InfoGAN", "GAN"))
MORE_TWICE = (("DCGAN", "GAN"), ("DCGAN-separable", "WGAN"), ("DCGAN", "RpGAN"))


@functools.lru_cache
def differences_of_devices(cases):
    """{case: largest difference of what two devices and one have learnt}, from one process."""
    result = forked_python.run([sys.executable, "-c", TWO_DEVICES, json.dumps(cases)],
                               env=os.environ | TEST_MODULES | TWO_THREADS)
    assert result.returncode == 0, result.stderr
    return dict(zip(cases, map(float, result.stdout.split()), strict=True))


@pytest.mark.parametrize("case", [*TWICE, *(pytest.param(case, marks=pytest.mark.slow) for case in MORE_TWICE)])
def test_two_devices_learn_what_one_does(case):
    """Including running averages of batch normalisation, with statistics over both devices, and generated cells."""
    assert differences_of_devices(TWICE if case in TWICE else MORE_TWICE)[case] < 1e-5


ROUNDING = """
import sys
import numpy as np
from biogans.core import dataloader, models
from biogans.core.engine import Engine
from biogans.system.lazy import tensorflow as tf
from conftest import ROOT
from networks import settings, spec
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
cells = dataloader.load(ROOT / "data_48-80/data", ("Alp14",))
changes = {"height": 48, "width": 80, "factors": ("Alp14",), "nz": 100, "ngf": 16, "ndf": 16}
losses = []
for devices, last_digit in ((1, 0), (2, 0), (1, 1)):
    run = Engine(spec("DCGAN", sys.argv[1], **changes), settings(sys.argv[1], batch_size=16), devices)
    for variable in run.generator.trainable_variables + run.critics[0].trainable_variables:
        variable.assign(variable.numpy() + last_digit * np.spacing(variable.numpy()))
    data = dataloader.batches(cells, 16, 42, models.ARCHITECTURES["DCGAN"])
    losses.append([run.iterate(iteration, data) for iteration in range(30, 40)])
one, two, changed = np.array(losses)
print(abs(two - one)[:2].max(), abs(two - one).max(), abs(changed - one).max())
"""


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["GAN", "WGAN", "WGAN-GP"])
def test_two_devices_differ_from_one_by_rounding(algorithm):
    """Training amplifies any difference: that of two devices no more than one in the last digit of initial weights."""
    result = forked_python.run([sys.executable, "-c", ROUNDING, algorithm],
                               env=os.environ | TEST_MODULES | TWO_THREADS)
    assert result.returncode == 0, result.stderr
    at_first, later, changed = map(float, result.stdout.split())
    assert at_first < 1e-4 and later < 10 * changed, result.stdout


def test_a_batch_that_devices_cannot_share():
    with pytest.raises(InputError, match="multiple|device"):
        engine(devices=3)


def test_the_pairs_of_the_tests_cover_all_architectures():
    assert {architecture for architecture, _ in PAIRS} == set(models.ARCHITECTURES)


def test_the_estimate_counts_passes(monkeypatch):
    """Of the generator and of all critics, for each image of a batch; the generator's own update counts in part."""
    monkeypatch.setattr("biogans.core.engine.seconds_per_image",
                        lambda network: 1.0 if "generator" in network.name else 0.1)
    run = engine("DCGAN-starshaped", batch_size=8)
    assert run.estimated_seconds() == pytest.approx(8 * (1 + 10 * 0.2 + (3 + 3 * 0.2) / 2))
    run = engine("DCGAN", "GAN", batch_size=8, num_D_iters=1)
    assert run.estimated_seconds() == pytest.approx(8 * (1 + 6 * 0.1 + 3 + 3 * 0.1))
