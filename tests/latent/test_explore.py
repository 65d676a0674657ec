"""biogans explore: the page in real browsers, opened from its file as by a double click."""

import contextlib
import io
import json
import re
import signal
import sys
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from PIL import Image

import browsers
import forked_python
from biogans.core import codes, figures, predict, train, trained
from biogans.core.engine import float32_generator
from biogans.core.models import NetworkSpec
from biogans.evaluation import clusters
from biogans.latent import explore, slider_names
from biogans.latent.paths import slerp
from biogans.system.lazy import keras
from biogans.system.palettes import Palette, merge
from biogans.system.pixels import to_unit
from conftest import ROOT, SMALL, write_images
from quick_training import quick_training

STAR = "checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.2.h5"
FILES = {"DCGAN-starshaped": STAR, "DCGAN": "checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5",
         "DCGAN-separable": "checkpoints/weights.generator.DCGAN-separable.WGAN-GP.1.h5",
         "InfoGAN": "checkpoints/weights.generator.InfoGAN.WGAN-GP.1.h5"}
MORE = {"InfoGAN": ("--categorical", "3", "--continuous", "1")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A user's folder with the files of five networks, which have learnt nothing, and their pages.

    The paper's initial weights give a uniform gray; those of He et al. give images with all gray levels.
    """
    folder = tmp_path_factory.mktemp("explore")
    write_images(folder / "data")
    with contextlib.chdir(folder), quick_training():
        for architecture, file in FILES.items():
            train.main([*SMALL, "--init", "he", "-d", "data", "-m", architecture, "-e", "2",
                        *MORE.get(architecture, ())])
            assert explore.main(["-i", file, "-o", f"{architecture}.html"]) == 0
        train.main([*SMALL, "-d", "data", "-m", "DCGAN-independent", "-e", "1"])
    return folder


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="module")
def chromium():
    with browsers.chromium() as browser:
        yield browser


@pytest.fixture
def opened(here, chromium):
    """A function that opens a page from its file; its result has the `requests` and `errors` of the browser."""
    pages = []

    def open_page(architecture="DCGAN-starshaped", **settings):
        page = chromium.new_page(**settings)
        pages.append(page)
        page.requests, page.errors = [], []
        page.on("request", lambda request: page.requests.append(request.url))
        page.on("pageerror", lambda problem: page.errors.append(str(problem)))
        page.on("console", lambda message: page.errors.append(message.text) if message.type == "error" else None)
        page.goto((here / f"{architecture}.html").as_uri())
        page.wait_for_selector("html[data-ready]", timeout=120000)
        return page
    yield open_page
    for page in pages:
        assert page.errors == []
        page.close()


def pixels(page, canvas="cell"):
    """uint8 (height, width, 3) of a canvas."""
    values = page.evaluate("""id => {
        const canvas = document.getElementById(id), {width, height} = canvas;
        return {width, height, data: Array.from(canvas.getContext("2d").getImageData(0, 0, width, height).data)};
    }""", canvas)
    return np.array(values["data"], np.uint8).reshape(values["height"], values["width"], 4)[..., :3]


def settled(page):
    """Wait until the screen shows the cell of the controls."""
    page.wait_for_function("""async () => {
        const before = document.getElementById("time").textContent + document.getElementById("name").textContent;
        await new Promise(done => setTimeout(done, 120));
        return before === document.getElementById("time").textContent + document.getElementById("name").textContent;
    }""")


def in_gray(page):
    """Show every channel in gray, so that the strip has the pixels of the network."""
    page.select_option("#palette", "gray")
    for tick in page.query_selector_all("#channels input"):
        tick.check()


def drawn(page, channels):
    """uint8 (height, width, channels) as the page has generated them."""
    return np.stack([pixels(page, f"strip{k}")[..., 0] for k in range(channels)], axis=-1)


def expected(file, z):
    """What Keras generates, as whole numbers from 0 to 255 (height, width, channels)."""
    return np.rint((trained.load_generator(file).generate(np.float32(z)[None])[0] + 1) * 127.5)


def numbered(file, number):
    """z (nz,) of the cell of a number."""
    return next(trained.load_generator(file).latents(1, number))[0].astype(float)


def assert_same(page_pixels, image):
    assert np.abs(page_pixels.astype(float) - image).max() <= 1


def show_number(page, number):
    page.fill("#number", str(number))
    page.press("#number", "Enter")
    page.wait_for_function(f"() => document.getElementById('name').textContent === 'cell {number}'")
    settled(page)
    page.evaluate("document.activeElement.blur()")


def saved(page, button):
    with page.expect_download() as download:
        page.click(button)
    return SimpleNamespace(name=download.value.suggested_filename, content=Path(download.value.path()).read_bytes())


# ---------------------------------------------------------------------------------------------- the same cells

@pytest.mark.parametrize("architecture", FILES)
def test_a_numbered_cell_is_the_same_as_with_predict(opened, architecture):
    page = opened(architecture)
    in_gray(page)
    for seed in (0, 7, 999):
        show_number(page, seed)
        assert predict.main(["-i", FILES[architecture], "-s", str(seed)]) == 0
        (stack,) = Path("images").glob(f"stack?.{architecture}.WGAN-GP.h5")
        with h5py.File(stack) as file:
            cell = np.rint(file["stack"][0] * 255)
        assert cell.std() > 10
        assert_same(drawn(page, cell.shape[-1]), cell)


def test_nothing_is_requested(opened, here):
    """The browser loads only the file itself and parts of its content; scripts may not request more."""
    page = opened()
    show_number(page, 3)
    page.keyboard.press("k")
    saved(page, "#png")
    assert page.requests[0] == (here / "DCGAN-starshaped.html").as_uri()
    assert all(re.match("blob:|data:", address) for address in page.requests[1:])
    assert page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'sent', problem => problem.name)") == "TypeError"
    assert "Content Security Policy" in page.errors.pop(0)
    page.errors.clear()


def test_a_slider_moves_along_its_direction(opened, here):
    page = opened()
    in_gray(page)
    show_number(page, 5)
    generator = trained.load_generator(STAR)
    groups = explore.groups_of(generator.network, generator.spec)
    ((red_rows, _), (green_rows, _)), _, _ = explore.named_directions(generator, groups)
    z = numbered(STAR, 5)
    for label, part, row in (("red 2", slice(0, 3), red_rows[1]), ("green 1", slice(3, 6), green_rows[0])):
        before = drawn(page, 3)
        page.get_by_label(re.compile(f"{label.split()[0]} half, direction {label[-1]}", re.I)).fill("2.5")
        settled(page)
        z[part] += (2.5 - z[part] @ row) * row
        now = drawn(page, 3)
        assert_same(now, expected(STAR, z))
        assert (now != before).any()
        # The green half of z does not affect red.
        assert (now[..., 0] != before[..., 0]).any() == label.startswith("red")
    assert page.text_content("#name") == "cell 5, changed"


def test_codes(opened, here):
    """The chosen category and value give the same cell as predict.py; the noise stays."""
    page = opened("InfoGAN")
    in_gray(page)
    show_number(page, 6)
    page.check("input[name=c0][value='2']")
    page.get_by_label("code u0").fill("-0.5")
    settled(page)
    assert predict.main(["-i", FILES["InfoGAN"], "-s", "6", "--code", "c0=2,u0=-0.5"]) == 0
    with h5py.File("images/stack2.InfoGAN.WGAN-GP.h5") as stack:
        assert_same(drawn(page, 2), np.rint(stack["stack"][0] * 255))
    assert json.loads(saved(page, "#json").content)["codes"] == {"c0": 2, "u0": -0.5}


def test_labels_of_categories_are_on_their_buttons(opened, here):
    """Those that evaluate --codes has stored; a category without images has none."""
    generator = trained.load_generator(FILES["InfoGAN"])
    path = codes.labels_path(generator)
    labels = {"c0": [codes.Label("seven", 0.9, 20), codes.Label("", 0, 0), codes.Label("two", 0.4, 9)]}
    path.write_text(json.dumps(codes.labels_content(generator, labels)))
    Path("labels.html").write_bytes(explore.page_of(generator))
    path.unlink()
    page = opened("labels")
    buttons = page.eval_on_selector_all(".categories label", "all => all.map(one => one.innerText)")
    assert [text.split() for text in buttons] == [["0", "seven"], ["1"], ["2", "two?"]]
    assert "90% of the 20 held-out images" in page.get_attribute(".categories label", "title")
    assert opened("InfoGAN").query_selector(".categories strong") is None


def test_sliders_are_named_by_what_they_change(here, opened, monkeypatch):
    """A clear quantity names the slider, its correlation is in the tooltip, and to the right there is more of it."""
    monkeypatch.setattr(slider_names, "CLEAR", 0.05)
    generator = trained.load_generator(FILES["InfoGAN"])
    Path("named.html").write_bytes(explore.page_of(generator))
    page = opened("named")
    titles = page.eval_on_selector_all(".slider input", "all => all.map(one => one.title)")
    names = page.eval_on_selector_all(".slider label", "all => all.map(one => one.textContent)")
    said = [re.search(r": (.*?), r = (−?[\d.]+) over 512 random cells", title) for title in titles]
    assert sum(map(bool, said)) >= 2
    for name, found, title in zip(names, said, titles, strict=True):
        if found:
            assert name.endswith(found[1]) and (float(found[2].replace("−", "-")) > 0 or title.startswith("code"))
        else:
            assert re.fullmatch(r"noise \d+|u\d", name)
    ((rows, _),), (meanings,), _ = explore.named_directions(
        generator, explore.groups_of(generator.network, generator.spec))
    z = next(generator.latents(512, 0, 512))
    values = slider_names.quantities(generator.generate(z), generator.spec.channel_names)
    for row, meaning in zip(rows, meanings, strict=True):
        if meaning:
            assert clusters.rank_correlation(z[:, :len(row)] @ row, values[meaning.name]) == pytest.approx(
                meaning.r, abs=0.15)            # without the means of the categories


def test_firefox(here):
    with browsers.firefox() as page:
        page.open((here / "DCGAN-starshaped.html").as_uri())
        page.wait_for("document.documentElement.dataset.ready !== undefined")
        page.evaluate("""(() => {
            const number = document.getElementById("number");
            document.getElementById("palette").value = "gray";
            for (const tick of document.querySelectorAll("#channels input")) tick.checked = true;
            number.value = 7;
            number.dispatchEvent(new Event("change"));
        })()""")
        page.wait_for("document.getElementById('name').textContent === 'cell 7'")
        values = page.evaluate("""[0, 1, 2].map(k => Array.from(document.getElementById(`strip${k}`).getContext("2d")
            .getImageData(0, 0, 24, 16).data).filter((_, at) => at % 4 === 0))""")
        assert_same(np.moveaxis(np.reshape(values, (3, 16, 24)), 0, -1), expected(STAR, numbered(STAR, 7)))
        assert page.evaluate("performance.getEntriesByType('resource').length") == 0
        assert all(re.match("blob:|data:|file:", address) for address in page.requests)
        assert page.evaluate("document.getElementById('problem').hidden")


# ---------------------------------------------------------------------------------------------- controls

def test_channels_and_palettes(opened):
    """Marker and factor have the colours of the palette; a hidden channel is black."""
    page = opened()
    show_number(page, 4)
    assert (pixels(page)[..., 0] == pixels(page)[..., 2]).all()         # magenta, and green
    in_gray(page)
    red, first, second = np.moveaxis(drawn(page, 3), -1, 0)
    page.select_option("#palette", "red, green")
    page.click("text=Tea1")                                             # hides it again
    np.testing.assert_array_equal(pixels(page), np.stack([red, first, 0 * red], axis=-1))
    page.get_by_label("Show only Tea1 and red").click()
    np.testing.assert_array_equal(pixels(page), np.stack([red, second, 0 * red], axis=-1))
    page.keyboard.press("1")
    np.testing.assert_array_equal(pixels(page), np.stack([0 * red, second, 0 * red], axis=-1))
    page.fill("#gain", "2")
    np.testing.assert_allclose(pixels(page)[..., 1], np.minimum(2.0 * second, 255), atol=2)
    label = page.get_attribute("#cell", "aria-label")
    assert "Tea1" in label and "Alp14" not in label


def test_transmitted_light_is_gray(here, opened):
    """With every palette, as in pictures: the stain is drawn over it, and stays when the light is hidden."""
    file = str(ROOT / "data_48-80/checkpoints/real_cells/weights.generator.DCGAN.WGAN-GP.40_40.1.1.h5")
    assert explore.main(["-i", file, "-o", "brightfield.html"]) == 0
    page, cell = opened("brightfield"), expected(file, numbered(file, 0)) / 255
    picture = merge(cell, Palette("magenta-green", (0,)))
    for palette in ("magenta, green", "red, green"):
        page.select_option("#palette", palette)
        np.testing.assert_allclose(pixels(page), 255 * picture, atol=2)
    assert np.ptp(pixels(page, "strip0"), axis=2).max() == 0 and np.median(pixels(page, "strip0")) > 100
    page.keyboard.press("1")
    np.testing.assert_allclose(pixels(page)[..., 1], 255 * cell[..., 1], atol=1)
    assert pixels(page)[..., [0, 2]].max() == 0
    page.keyboard.press("1")
    page.keyboard.press("2")
    np.testing.assert_allclose(pixels(page), 255 * cell[..., [0, 0, 0]], atol=1)


def test_every_factor_has_its_hue_when_several_are_shown(opened):
    page = opened()
    in_gray(page)
    greens = to_unit(drawn(page, 3)[..., 1:])
    page.select_option("#palette", "red, green")
    page.keyboard.press("1")
    picture = figures.composite(np.moveaxis(greens, -1, 0))
    np.testing.assert_allclose(pixels(page), 255 * picture, atol=6)     # computed from rounded pixels
    page.keyboard.press("1")
    swatches = page.eval_on_selector_all("#channels i", "all => all.map(one => one.style.background)")
    assert len(set(swatches)) == 3 and "none" not in swatches


def test_keys(opened):
    """Each key acts like its button and is announced; keys typed into a field have no other effect."""
    page = opened()

    def name():
        return page.text_content("#name")

    def status():
        return page.text_content("#status")

    page.keyboard.press("r")
    page.wait_for_function("() => document.getElementById('name').textContent !== 'cell 0'")
    settled(page)
    random = name()
    assert re.fullmatch(r"cell \d+", random) and status().lower() == random
    page.keyboard.press("0")
    page.wait_for_function("() => document.getElementById('name').textContent === 'average cell'")
    assert set(page.eval_on_selector_all("#sliders output", "all => all.map(one => one.value)")) == {"0.00"}
    page.keyboard.press("u")
    page.wait_for_function(f"() => document.getElementById('name').textContent === '{random}'")
    page.keyboard.press("k")
    assert status() == f"Kept {random}" and len(page.query_selector_all("#kept li")) == 1
    page.keyboard.press("?")
    assert page.is_visible("#keys")
    page.keyboard.press("k")
    page.keyboard.press("Escape")
    assert not page.is_visible("#keys") and len(page.query_selector_all("#kept li")) == 1
    page.focus("#number")
    page.keyboard.press("k")
    assert len(page.query_selector_all("#kept li")) == 1
    page.focus("#slider0")
    before = pixels(page)
    for _ in range(40):
        page.keyboard.press("ArrowRight")
    settled(page)
    assert (pixels(page) != before).any() and name() == f"{random}, changed"
    page.keyboard.press("Backspace")
    assert page.input_value("#slider0") == "0"


def test_a_walk_continues_until_it_is_stopped(opened):
    page = opened()
    page.keyboard.press("p")
    page.wait_for_function("() => document.getElementById('name').textContent.startsWith('on the way to cell')")
    first = pixels(page)
    page.wait_for_timeout(400)
    assert (pixels(page) != first).any()
    assert page.get_attribute("#play", "aria-pressed") == "true"
    page.click("#play")
    settled(page)
    last = pixels(page)
    page.wait_for_timeout(300)
    assert (pixels(page) == last).all() and page.get_attribute("#play", "aria-pressed") == "false"


def test_reduced_motion_shows_whole_cells(opened):
    page = opened(reduced_motion="reduce")
    page.evaluate("""() => {
        window.names = new Set();
        new MutationObserver(() => names.add(document.getElementById("name").textContent))
            .observe(document.getElementById("name"), {childList: true});
    }""")
    page.fill("#speed", "4")
    page.click("#play")
    page.wait_for_function("() => names.size >= 3")
    page.click("#play")
    assert all(re.fullmatch(r"cell \d+", name) for name in page.evaluate("[...names]"))


def test_kept_cells_are_compared_and_blended(opened):
    """The blend ends at the two cells, and its middle lies on the sphere between their z."""
    page = opened()
    in_gray(page)
    images = {}
    for number in (1, 2):
        show_number(page, number)
        page.click("#keep")
        images[number] = drawn(page, 3)
    assert page.is_visible("#blending")
    for t, number in ((0, 1), (1, 2)):
        page.fill("#blend", str(t))
        settled(page)
        np.testing.assert_allclose(drawn(page, 3), images[number], atol=1)
    page.fill("#blend", "0.5")
    settled(page)
    assert_same(drawn(page, 3), expected(STAR, slerp(numbered(STAR, 1), numbered(STAR, 2), [0.5])[0]))
    page.click("#kept li:first-child .back")
    page.wait_for_function("() => document.getElementById('name').textContent === 'cell 1'")
    page.get_by_label("Remove cell 2").click()
    assert len(page.query_selector_all("#kept li")) == 1 and not page.is_visible("#blending")


def test_sliders_have_previews_at_their_ends(opened):
    page = opened()
    page.wait_for_function("""() => [...document.querySelectorAll("#sliders canvas")].filter(
        one => one.offsetParent).every(
        one => one.getContext("2d").getImageData(0, 0, one.width, one.height).data.some(value => value))""")


@pytest.mark.parametrize("scheme, dark", [("light", False), ("dark", True)])
def test_light_and_dark(opened, scheme, dark):
    page = opened(color_scheme=scheme)
    brightness = "Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])"
    assert (page.evaluate(brightness) < 128) == dark
    page.select_option("#theme", "light" if dark else "dark")
    assert (page.evaluate(brightness) < 128) != dark


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_the_page_fits(opened, width):
    """Nothing is cut off at the sides; in a narrow window the cell stays in sight beside the last slider."""
    page = opened(viewport={"width": width, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("#sliders .slider:visible").last.scroll_into_view_if_needed()
    box = page.locator("#cell").bounding_box()
    top, bottom = box["y"], box["y"] + box["height"]
    assert top >= 0 and bottom < 844


def test_every_control_has_a_name(opened):
    """Screen readers find a name for every control and for every picture that is not hidden from them."""
    page = opened()
    page.keyboard.press("k")
    show_number(page, 3)
    page.keyboard.press("k")
    nameless = page.evaluate("""[...document.querySelectorAll("button, input, select, [role=img]")].filter(one =>
        !(one.getAttribute("aria-label") || one.textContent.trim() || [...one.labels ?? []].some(
            label => label.textContent.trim()))).map(one => one.outerHTML)""")
    assert nameless == []
    assert page.get_attribute("#status", "aria-live") == "polite"
    reached = set()
    for _ in range(80):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
    assert {"random", "number", "play", "keep", "palette", "slider0", "blend", "png", "gif", "json", "load"} <= reached


# ---------------------------------------------------------------------------------------------- files

def test_cells_are_saved_and_loaded(opened, here):
    """The file gives the same cell with predict.py, in the page, and with the Python line in it."""
    page = opened()
    in_gray(page)
    show_number(page, 8)
    page.fill("#slider1", "-1.5")
    settled(page)
    file = saved(page, "#json")
    assert file.name == "cell-8-changed.json"
    Path(file.name).write_bytes(file.content)
    content = json.loads(file.content)
    image = drawn(page, 3)
    assert content["redraw"] == page.text_content("#command") == f"predict.py -i {STAR} --z {file.name}"

    assert predict.main(content["redraw"].split()[1:]) == 0
    with h5py.File("images/stack3.DCGAN-starshaped.WGAN-GP.h5") as stack:
        assert_same(image, np.rint(stack["stack"][0] * 255))
        assert np.array_equal(stack["z"][0], np.float32(content["z"]))
    names = {}
    exec(content["python"], names)
    assert_same(image, np.rint((names["image"] + 1) * 127.5))

    show_number(page, 9)
    assert (drawn(page, 3) != image).any()
    page.set_input_files("#load", file.name)
    page.wait_for_function("() => document.getElementById('name').textContent === 'cell 8, changed'")
    settled(page)
    np.testing.assert_array_equal(drawn(page, 3), image)
    show_number(page, 9)
    assert page.text_content("#command") == f"predict.py -i {STAR} -s 9"


@pytest.mark.parametrize("content, word", [("{", "not JSON"), ('{"z": [1, 2]}', "no z of 6"), ("null", "no z of 6"),
                                           ('{"z": [1, 2, 3, 4, 5, "6"]}', "no z of 6")])
def test_a_file_without_a_cell(opened, here, content, word):
    page = opened()
    Path("other.json").write_text(content)
    page.set_input_files("#load", "other.json")
    page.wait_for_function("() => document.getElementById('status').textContent.includes('other.json')")
    assert word in page.text_content("#status") and page.text_content("#name") == "cell 0"


def test_a_file_of_another_network_is_reported(opened, here):
    page = opened("DCGAN")
    file = saved(page, "#json")
    Path("dcgan.json").write_bytes(file.content)
    page = opened("DCGAN-separable")
    page.set_input_files("#load", "dcgan.json")
    page.wait_for_function("() => document.getElementById('status').textContent.includes('another network')")


def test_png(opened):
    """The cell, and all channels side by side, enlarged by an integer factor."""
    page = opened()
    page.uncheck("#smooth")
    show_number(page, 2)
    picture = np.asarray(Image.open(io.BytesIO(saved(page, "#png").content)).convert("RGB"))
    scale = picture.shape[0] // 16
    assert picture.shape == (16 * scale, 24 * scale, 3) and scale > 10
    np.testing.assert_array_equal(picture[scale // 2::scale, scale // 2::scale], pixels(page))
    strip = Image.open(io.BytesIO(saved(page, "#strip-png").content))
    assert strip.width > 3.9 * 240 and np.asarray(strip).std() > 1


def test_gif(opened):
    """From A to B and back, decoded by another program: its frames are the cells in between."""
    page = opened()
    page.uncheck("#smooth")
    ends = []
    for number in (1, 2):
        show_number(page, number)
        page.keyboard.press("k")
        ends.append(pixels(page).astype(int))
    page.select_option("#gif-of", "blend")
    movie = Image.open(io.BytesIO(saved(page, "#gif").content))
    assert (movie.format, movie.n_frames, movie.info["loop"]) == ("GIF", 48, 0)
    frames = []
    for k in range(movie.n_frames):
        movie.seek(k)
        assert movie.info["duration"] == 100
        scale = movie.height // 16
        frames.append(np.asarray(movie.convert("RGB"))[scale // 2::scale, scale // 2::scale].astype(int))
    for frame, end in ((frames[0], ends[0]), (frames[24], ends[1])):        # all frames share 256 colours
        assert np.abs(frame - end).mean() < 3 and np.abs(frame - end).max() <= 24
    steps = [np.abs(after - before).mean() for before, after in zip(frames, frames[1:])]
    assert 0 < np.mean(steps) < np.abs(ends[1] - ends[0]).mean() / 4


def test_a_gif_of_noise_is_decoded_exactly(opened):
    """More patterns than the table of codes holds, in 256 colours that the palette holds exactly."""
    page = opened()
    script = (ROOT / "src/biogans/latent/page/explore_gif.js").read_text()
    data = page.evaluate("""async ([script]) => {
        const make = new Function(script + "; return gif;")();
        const frames = [0, 1].map(seed => Uint8ClampedArray.from({length: 4 * 200 * 150}, (_, at) => {
            const value = Math.imul((at >> 2) + 1 + 30000 * seed, 2654435761) >>> 24;
            return at % 4 === 0 ? value & 240 : at % 4 === 1 ? value << 4 & 240 : at % 4 === 2 ? 0 : 255;
        }));
        const bytes = new Uint8Array(await make(frames, 200, 150, 40).arrayBuffer());
        return {bytes: Array.from(bytes), frames: frames.map(frame => Array.from(frame))};
    }""", [script])
    movie = Image.open(io.BytesIO(bytes(data["bytes"])))
    for k, frame in enumerate(data["frames"]):
        movie.seek(k)
        np.testing.assert_array_equal(np.asarray(movie.convert("RGB")), np.reshape(frame, (150, 200, 4))[..., :3])


# ---------------------------------------------------------------------------------------------- directions

def test_directions_of_a_linear_generator():
    """Its derivative is its matrix: directions are right singular vectors, and strengths are singular values."""
    z = keras.Input((4,))
    generator = keras.Model(z, keras.layers.Reshape((5, 2, 1))(keras.layers.Dense(10, use_bias=False)(z)))
    matrix = generator.weights[0].numpy().T
    (rows, strengths), = explore.directions(generator, [explore.Group("", "", "", 0, 4)])
    _, singular, vectors = np.linalg.svd(matrix)
    np.testing.assert_allclose(strengths, 127.5 * singular / np.sqrt(10), rtol=1e-3)
    np.testing.assert_allclose(np.abs((rows * vectors).sum(axis=1)), 1, rtol=1e-3)


def test_directions_of_parts_of_z():
    """Each part by itself; noise maps, behind them, have no directions."""
    z = keras.Input((6,))
    generator = keras.Model(z, keras.layers.Reshape((5, 2, 1))(keras.layers.Dense(10, use_bias=False)(z)))
    matrix = generator.weights[0].numpy().T
    groups = [explore.Group("", "", "", 0, 2), explore.Group("", "", "", 3, 2)]
    found = explore.directions(generator, groups)
    for part, (_, strengths) in zip((matrix[:, :2], matrix[:, 3:5]), found, strict=True):
        np.testing.assert_allclose(strengths, 127.5 * np.linalg.svd(part)[1] / np.sqrt(10), rtol=1e-3)
    shape = NetworkSpec("DCGAN-starshaped", 16, 24, 2, ("Alp14", "Tea1"), nz=6 + 120, ngf=4, ndf=4, noise=True)
    found = explore.groups_of(float32_generator(shape), shape)
    assert [(group.start, group.size) for group in found] == [(0, 3), (3, 3)]


def test_directions_are_orthonormal_and_fall_off(here):
    generator = trained.load_generator(STAR)
    groups = explore.groups_of(generator.network, generator.spec)
    assert [(group.start, group.size) for group in groups] == [(0, 3), (3, 3)]
    for rows, strengths in explore.directions(generator.network, groups):
        np.testing.assert_allclose(rows @ rows.T, np.eye(3), atol=1e-6)
        assert (np.diff(strengths) <= 0).all() and strengths[-1] > 0


def test_codes_are_no_part_of_the_noise(here):
    generator = trained.load_generator(FILES["InfoGAN"])
    group, = explore.groups_of(generator.network, generator.spec)
    assert (group.start, group.size) == (0, generator.spec.nz - 4)


# ---------------------------------------------------------------------------------------------- the command

def test_names_are_escaped(here, chromium):
    """The name of a folder can look like a part of the page."""
    generator, name = trained.load_generator(STAR), "</script><b>$facts"
    metadata = replace(generator.metadata, network=replace(generator.spec, factors=(name, "é")))
    Path("names.html").write_bytes(explore.page_of(replace(generator, metadata=metadata)))
    page = chromium.new_page()
    page.goto((here / "names.html").as_uri())
    page.wait_for_selector("html[data-ready]", timeout=120000)
    assert page.locator(".channel label").nth(1).inner_text().strip() == name
    page.close()


def test_the_file_is_named_after_the_network_and_its_size_printed(here, capsys):
    assert explore.main(["-i", STAR]) == 0
    path, size = re.search(r"Output page to file: (.*) \((.*) MB\)", capsys.readouterr().out).groups()
    assert path == "images/explorer3.DCGAN-starshaped.WGAN-GP.html"
    assert float(size) == pytest.approx(Path(path).stat().st_size / 1e6, abs=0.06) and float(size) < 6


@pytest.mark.parametrize("arguments, words", [
    (["-i", "missing.h5"], "missing.h5"), (["-i", STAR, "-o", "page.txt"], ".html"),
    (["-i", "checkpoints/weights.critic[0].DCGAN-starshaped.WGAN-GP.2.h5"], "critic"),
    (["-i", "checkpoints/weights.generator.DCGAN-independent.WGAN-GP.2.h5"], "a cell of its own")])
def test_mistakes_are_one_line(here, capsys, arguments, words):
    assert explore.main(arguments) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and words in message


def test_serving(here):
    """The page on the address of this machine only, for those with the token; a tunnel; an end by Ctrl-C."""
    command = [sys.executable, ROOT / "bin/biogans", "explore", "-i", STAR, "-o", "served.html", "--serve", "--port",
               "0"]
    process = forked_python.start(command)
    try:
        lines = [process.stdout.readline() for _ in range(5)]
        port = re.search(r"http://127\.0\.0\.1:(\d+)/", "".join(lines))[1]
        assert f"ssh -N -L {port}:127.0.0.1:{port} " in "".join(lines)
        address = re.search(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{32}", "".join(lines))[0]
        answer = urllib.request.urlopen(address, timeout=60)
        assert answer.read() == Path("served.html").read_bytes() and answer.headers.get_content_type() == "text/html"
        for wrong, host in ((f"http://127.0.0.1:{port}/", "localhost"), (address + "x", "localhost"),
                            (address, f"evil.example:{port}")):
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(urllib.request.Request(wrong, headers={"Host": host}), timeout=60)
        taken = forked_python.run([*command[:-1], port])
        assert taken.returncode == 2 and taken.stderr.count("\n") == 1 and f"--port {port}" in taken.stderr
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")


def test_the_runtime_matches_its_notice():
    import gzip
    import hashlib
    folder = ROOT / "src/biogans/latent/page"
    notice = (folder / "onnxruntime-web.txt").read_text()
    contents = ((folder / "onnxruntime-web.mjs").read_bytes(),
                gzip.decompress((folder / "onnxruntime-web.wasm.gz").read_bytes()))
    assert re.findall("SHA-256 (.*)", notice) == [hashlib.sha256(content).hexdigest() for content in contents]
    assert "MIT License" in notice
    assert sum((folder / f"onnxruntime-web.{end}").stat().st_size for end in ("mjs", "wasm.gz")) < 4e6
