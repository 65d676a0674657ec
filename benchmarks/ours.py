"""BioGANs as a contender of compare.py: single training steps of train.py."""

import importlib.metadata
import math
from pathlib import Path

import counting
import machine
from biogans.core import dataloader, models, options as command_line, train
from biogans.core.engine import Engine, device_name
from biogans.core.settings import resolve_network, resolve_settings
from biogans.system.lazy import keras

USUAL_ITERATION = 26            # WGAN updates its critic 100 times in iterations 0 to 24 and in every 500th


class Ours:
    """Training with train.py's defaults for a combination; `task` comes from compare.py."""

    def __init__(self, task):
        self.spec, self.settings, images = plan(task)
        self.batches = dataloader.batches(images, self.settings.batch_size, self.settings.seed,
                                          models.ARCHITECTURES[self.spec.architecture])
        self.engine = Engine(self.spec, self.settings)

    def iterate(self):
        """Run one iteration; return the losses of critic and generator."""
        return self.engine.iterate(USUAL_ITERATION, self.batches)

    def write_image(self, folder):
        train.draw_samples(Path(folder) / "ours.png", self.engine)

    def facts(self):
        """Facts that must be the same for all contenders, and facts about this run."""
        engine = self.engine
        updates = engine.algorithm.critic_updates(USUAL_ITERATION)
        return {
            "same": same(self.spec, self.settings, engine.generator, engine.critics, updates),
            "flop": counting.iteration_flop(engine.generator, engine.critics, engine.algorithm, updates,
                                            self.settings.batch_size),
            "versions": machine.versions("keras", keras_package()),
            "device": device_name(),
        }

    def device_memory(self):
        return machine.device_memory()

    def profile(self):
        return machine.profile(self.iterate)


def plan(task):
    """(NetworkSpec, TrainingSettings, Images) as in train.py, for the options of the task."""
    words = ["-d", task["data"], "-m", task["architecture"], "-a", task["algorithm"]]
    for name in ("batch_size", "ngf", "ndf", "precision"):
        words += [f"--{name}", str(task[name])]
    options = command_line.parser().parse_args(words)
    images = dataloader.load(options.data)
    return resolve_network(options, images), resolve_settings(options), images


def same(spec, settings, generator, critics, updates):
    """Facts in which all contenders must agree."""
    return {
        "generator_parameters": parameters([generator]), "critic_parameters": parameters(critics),
        "critic_updates": updates, "images_per_update": spec.num_critics * settings.batch_size,
        "image": [spec.height, spec.width, spec.channels],
    }


def parameters(networks):
    """Number of trainable weights."""
    return sum(math.prod(variable.shape) for network in networks for variable in network.trainable_variables)


def keras_package():
    """Name of the package of Keras's backend; tensorflow and tensorflow-cpu provide the same module."""
    backend = keras.backend.backend()
    return importlib.metadata.packages_distributions()[backend][0]
