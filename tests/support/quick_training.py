"""Trainings that compile nothing and learn nothing, for tests of what is done with their files."""

import contextlib

import pytest


@contextlib.contextmanager
def quick_training():
    """Let each iteration move every weight of the networks by its own small step, in milliseconds.

    Steps depend on the number of the iteration and on the position alone, so a resumed run equals a whole one if its
    checkpoint holds both, and all weights. Losses are invented, and their curves are not drawn.
    """
    from biogans.core import figures
    from biogans.core.engine import Engine

    def iterate(engine, iteration, batches):
        parts = [engine.generator, engine.average, *engine.critics, *filter(None, [engine.recognizer])]
        weights = {id(weight): weight for part in parts for weight in part.weights}
        for k, weight in enumerate(weights.values()):
            weight.assign(weight + 1e-5 * (1 + iteration + engine.position) * (1 + k))
        engine.position += engine.updates(iteration)
        return 1 / (2 + iteration), 1 / (3 + iteration)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "compile", lambda engine: None)
        patch.setattr(Engine, "iterate", iterate)
        patch.setattr(Engine, "estimated_seconds", lambda engine: 0.01)
        patch.setattr(figures, "loss_curves", lambda path, log: None)
        yield
