#!/usr/bin/env python3
"""Measure explorer pages of full-size networks in a browser: bytes, time to the first cell, and from slider to canvas.

48x80 pixels, 64 filters, six factors, He initialisation (the times do not depend on the weights).
"""

import functools
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests" / "support")]
import browsers
from biogans.core import models
from biogans.core.engine import float32_generator
from biogans.core.options import default_settings
from biogans.core.settings import Metadata
from biogans.core.trained import TrainedGenerator
from biogans.latent import explore
from biogans.system import arguments, launch

MOVES = 40
FACTORS = ("Alp14", "Arp3", "Cki2", "Mkh1", "Sid2", "Tea1")

MOVE = """async moves => {
    const slider = document.getElementById("slider0"), canvas = document.getElementById("cell");
    const seen = () => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.join();
    const milliseconds = [];
    for (let k = 0; k < moves; k++) {
        await new Promise(done => setTimeout(done, 50));
        const before = seen(), start = performance.now();
        slider.value = k % 2 ? 2 : -2;
        slider.dispatchEvent(new Event("input"));
        while (seen() === before) await new Promise(done => setTimeout(done));
        milliseconds.push(performance.now() - start);
    }
    return milliseconds;
}"""

STRIP = """channels => Array.from({length: channels}, (_, k) => {
    const canvas = document.getElementById(`strip${k}`);
    return Array.from(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data)
        .filter((_, at) => at % 4 === 0);
})"""


def untrained(architecture, path):
    """An untrained trained.TrainedGenerator, with an empty file."""
    spec = models.NetworkSpec(architecture, 48, 80, 2, FACTORS, init="he")
    path.touch()
    metadata = Metadata(spec, default_settings("WGAN-GP"), {"channels": [1, 2]}, pixel_size_um=0.1)
    return TrainedGenerator(path, functools.partial(float32_generator, spec), metadata)


def measure(browser, architecture, folder):
    """Measure one architecture and print its line."""
    generator = untrained(architecture, folder / f"{architecture}.h5")
    start = time.perf_counter()
    content = explore.page_of(generator)
    writing = time.perf_counter() - start
    file = folder / f"{architecture}.html"
    file.write_bytes(content)
    page = browser.new_page()
    page.goto(file.as_uri())
    page.wait_for_selector("html[data-ready]", timeout=300000)
    first = page.evaluate("performance.now()") / 1000
    milliseconds = page.evaluate(MOVE, MOVES)
    page.select_option("#palette", "gray")
    for tick in page.query_selector_all("#channels input"):
        tick.check()
    page.fill("#number", "7")
    page.press("#number", "Enter")
    page.wait_for_function("() => document.getElementById('name').textContent === 'cell 7'")
    shown = np.reshape(page.evaluate(STRIP, generator.network.output_shape[-1]), (-1, 48, 80))
    expected = np.rint((generator.generate(next(generator.latents(1, 7)))[0] + 1) * 127.5)
    page.close()
    print(f"{architecture:18}{writing:8.1f} s{len(content) / 1e6:8.1f} MB{first:8.1f} s"
          f"{np.min(milliseconds):8.0f}{np.median(milliseconds):8.0f}{np.max(milliseconds):8.0f} ms"
          f"{np.abs(np.moveaxis(shown, 0, -1) - expected).max():8.0f}", flush=True)


def measure_all(options):
    """Print the table row by row."""
    print(f"{'':18}{'write':>10}{'page':>11}{'first':>10}{'slider to canvas, min/median/max':>35}{'gray levels':>12}")
    with browsers.chromium() as browser, tempfile.TemporaryDirectory() as folder:
        for architecture in models.ARCHITECTURES:
            measure(browser, architecture, Path(folder))


def parser():
    return arguments.Parser(prog="explore.py", description=__doc__)


def main(arguments=None):
    return launch.run(measure_all, parser().parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
