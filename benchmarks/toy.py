#!/usr/bin/env python3
"""Measure how long the page of biogans toy trains in browsers until the fit is visible, and take its pictures.

The fit is visible when at least seven of the eight modes are covered and the energy distance is at most 0.06.
"""

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests" / "support")]
import browsers
from biogans.latent import toy
from biogans.system import arguments, launch

LOSSES = ("GAN", "WGAN", "WGAN-GP", "R1")
PATIENCE = 60               # seconds of training

TRAIN = """new Promise(done => {
    const find = id => document.getElementById(id), number = id => parseFloat(find(id).textContent.replace(",", ""));
    find("algorithm").value = "%s";
    find("algorithm").dispatchEvent(new Event("input"));
    find("algorithm").dispatchEvent(new Event("change"));
    const start = performance.now();
    find("play").click();
    const timer = setInterval(() => {
        const seconds = (performance.now() - start) / 1000;
        if ((number("modes") < 7 || number("distance") > 0.06) && seconds < %d) return;
        clearInterval(timer);
        find("play").click();
        done([seconds, number("iteration"), number("modes"), number("distance")]);
    }, 50);
})"""
STEPS = "Array.from({length: %d}, () => document.getElementById('step').click()).length"


def measure_fits(evaluate, name):
    """Print one row for each loss; `evaluate` is that of an opened page."""
    for loss in LOSSES:
        seconds, iterations, modes, distance = evaluate(TRAIN % (loss, PATIENCE))
        print(f"{name:10}{loss:10}{seconds:8.1f} s{iterations:8.0f}{modes:8.0f} of 8{distance:10.3f}", flush=True)


def take_pictures(browser, page, folder):
    """The ring after 800 iterations; a mode collapse in the dark theme; a phone."""
    for name, width, height, theme, changes, steps in (
            ("toy", 1280, 880, "light", {}, 800),
            ("toy_dark", 1280, 880, "dark", {"#algorithm": "GAN", "#arrows": "on a grid", "#momentum": "9"}, 300),
            ("toy_phone", 375, 760, "light", {"#target": "two moons"}, 300)):
        view = browser.new_page(viewport={"width": width, "height": height}, color_scheme=theme,
                                has_touch=width < 900, device_scale_factor=2 if width < 900 else 1)
        view.goto(page.as_uri())
        for control, value in changes.items():
            (view.fill if control == "#momentum" else view.select_option)(control, value)
        view.click("#restart")
        view.evaluate(STEPS % steps)
        view.evaluate("document.activeElement.blur()")
        view.mouse.move(0, 0)
        if width < 900:
            view.evaluate("scrollTo(0, document.querySelector('.stage .view').offsetTop)")
        view.screenshot(path=folder / f"{name}.png")
        view.close()


def measure_all(options):
    """Print the table, and write the pictures on request."""
    with tempfile.TemporaryDirectory() as folder, browsers.chromium() as browser:
        file = Path(folder) / "toy.html"
        file.write_bytes(toy.toy_page())
        if options.pictures:
            take_pictures(browser, file, Path(options.pictures))
            return
        print(f"{'browser':10}{'loss':10}{'time':>10}{'iterations':>11}{'modes':>9}{'distance':>12}")
        page = browser.new_page()
        page.goto(file.as_uri())
        measure_fits(page.evaluate, "Chromium")
        page.close()
        with browsers.firefox() as other:
            other.open(file.as_uri())
            measure_fits(other.evaluate, "Firefox")


def parser():
    p = arguments.Parser(prog="toy.py", description=__doc__)
    p.add_argument("--pictures", metavar="FOLDER", help="only take the pictures of docs/toy.md, into this folder")
    return p


def main(arguments=None):
    return launch.run(measure_all, parser().parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
