#!/usr/bin/env python3
"""Measure explorer pages of full-size networks in a browser: bytes, time to the first cell, and from slider to canvas.

48x80 pixels, 64 filters, six factors, He initialisation (the times do not depend on the weights).
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import browsers

from biogans.core import models, predict
from biogans.latent import explore
from biogans.core.engine import generate, float32_generator

MOVES = 40
FACTS = {"training": {"algorithm": "WGAN-GP"}, "iteration": 0, "pixel_size_um": 0.1}
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


def measure(browser, architecture, folder):
    """Measure one architecture and print its line."""
    spec = models.NetworkSpec(architecture, 48, 80, 2, FACTORS, init="he")
    generator = float32_generator(spec)
    path = folder / f"{architecture}.h5"
    path.touch()
    start = time.perf_counter()
    content = explore.page_of(path, generator, spec, FACTS)
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
    shown = np.reshape(page.evaluate(STRIP, generator.output_shape[-1]), (-1, 48, 80))
    drawn = np.rint((generate(generator, next(normal_latents(1, spec.nz, 7, 1)))[0] + 1) * 127.5)
    page.close()
    print(f"{architecture:18}{writing:8.1f} s{len(content) / 1e6:8.1f} MB{first:8.1f} s"
          f"{np.min(milliseconds):8.0f}{np.median(milliseconds):8.0f}{np.max(milliseconds):8.0f} ms"
          f"{np.abs(np.moveaxis(shown, 0, -1) - drawn).max():8.0f}", flush=True)


def main():
    print(f"{'':18}{'write':>10}{'page':>11}{'first':>10}{'slider to canvas, min/median/max':>35}{'gray levels':>12}")
    with browsers.chromium() as browser, tempfile.TemporaryDirectory() as folder:
        for architecture in models.ARCHITECTURES:
            measure(browser, architecture, Path(folder))


if __name__ == "__main__":
    main()
