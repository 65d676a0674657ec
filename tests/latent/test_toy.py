"""biogans toy: the page in real browsers, opened from its file, and its networks beside those of BioGANs."""

import time
from types import SimpleNamespace

import numpy as np
import pytest

import browsers
from biogans.core import gan
from biogans.latent import pages, toy
from biogans.system.lazy import keras

TARGETS = ("ring of eight modes", "two moons", "one Gaussian", "your own points")
ALGORITHMS = ("GAN", "WGAN", "WGAN-GP", "R1")

# What the page does without its controls.
GAME = "".join((pages.PARTS / f"{name}.js").read_text() for name in toy.SCRIPTS[:-1]) + """
    const start = (algorithm, changes = {}) => newGame({algorithm, target: "ring of eight modes", seed: 1, drawn: [],
                                                        ...ALGORITHMS[algorithm].defaults, ...changes});
    const played = (algorithm, iterations, changes) => {
        const game = start(algorithm, changes);
        while (game.iteration < iterations) iterate(game);
        return game;
    };
"""


def in_game(expression):
    """JavaScript that computes the expression with the functions of GAME."""
    return f"(() => {{ {GAME} return {expression}; }})()"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("toy") / "gan.html"
    assert toy.main(["-o", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def chromium():
    with browsers.chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def firefox():
    with browsers.firefox() as page:
        yield page


@pytest.fixture(scope="module")
def blank(chromium):
    """An empty page, for GAME."""
    return chromium.new_page()


@pytest.fixture
def opened(file, chromium):
    """A function that opens the page in Chromium; it has the `requests` and `errors` of the browser."""
    open_pages = []

    def open_page(**settings):
        page = chromium.new_page(**settings)
        open_pages.append(page)
        page.requests, page.errors = [], []
        page.on("request", lambda request: page.requests.append(request.url))
        page.on("pageerror", lambda problem: page.errors.append(str(problem)))
        page.on("console", lambda message: page.errors.append(message.text) if message.type == "error" else None)
        page.goto(file.as_uri())
        page.wait_for_selector("html[data-ready]")
        return page
    yield open_page
    for page in open_pages:
        assert page.errors == []
        page.close()


@pytest.fixture(params=["chromium", "firefox"])
def either(request, opened, file):
    """The page in one of the two browsers: `evaluate` and `requests`."""
    if request.param == "chromium":
        return opened()
    page = request.getfixturevalue("firefox")
    page.requests.clear()
    page.open(file.as_uri())
    page.wait_for("document.documentElement.dataset.ready !== undefined")
    return page


def text(page, name):
    return page.evaluate(f"document.getElementById('{name}').textContent")


# ---------------------------------------------------------------------------------------------- in both browsers

def test_it_trains_to_a_visible_fit_within_half_a_minute(either):
    """From one click on Play: at least seven of the eight modes, and a tenth of the distance at the start."""
    start = float(text(either, "distance"))
    seconds = either.evaluate("""new Promise(done => {
        const begin = performance.now(), number = id => parseFloat(document.getElementById(id).textContent);
        document.getElementById("play").click();
        const timer = setInterval(() => {
            const seconds = (performance.now() - begin) / 1000;
            if (number("modes") < 7 || number("distance") > 0.06) { if (seconds < 60) return; }
            clearInterval(timer);
            document.getElementById("play").click();
            done(seconds);
        }, 100);
    })""")
    assert seconds < 30, f"{text(either, 'modes')} modes at iteration {text(either, 'iteration')}"
    assert float(text(either, "distance")) < 0.1 * start


def test_a_seed_repeats_the_game(either):
    """Step by step or at once, with its controls or without, iterations give the same numbers; another seed others."""
    steps = "Array.from({length: 20}, () => document.getElementById('step').click())"
    seen = []
    for seed in ("1", "1", "2"):
        either.evaluate(f"(document.getElementById('seed').value = {seed}, "
                        "document.getElementById('seed').dispatchEvent(new Event('change')))")
        assert text(either, "iteration") == "0"
        either.evaluate(f"{steps}.length")
        assert text(either, "iteration") == "20"
        seen.append(either.evaluate("Array.from(document.querySelectorAll('canvas'), one => one.ariaLabel)"))
    assert seen[0] == seen[1] and seen[0][1:] != seen[2][1:]
    last = either.evaluate(in_game("played('WGAN-GP', 20, {seed: 2}).history.at(-1)"))
    assert f"{last['distance']:.3f}" in seen[2][1] and f"critic {last['critic']:.2f}" in seen[2][2]


def test_nothing_is_requested(either, file):
    """The browser loads only the file, and its policy forbids everything else."""
    either.evaluate("document.getElementById('step').click()")
    assert {address for address in either.requests if not address.startswith("data:")} <= {file.as_uri()}
    assert either.evaluate("performance.getEntriesByType('resource').length") == 0
    assert either.evaluate("fetch('http://127.0.0.1:9/').then(() => 'sent', problem => problem.name)") == "TypeError"
    if hasattr(either, "errors"):
        assert "Content Security Policy" in either.errors.pop(0)
        either.errors.clear()


# ---------------------------------------------------------------------------------------------- the networks

def weights_of(network):
    """The arrays of a Keras network of dense layers in the order and layout of the page."""
    return np.concatenate([part for layer in network.layers if layer.weights
                           for part in (layer.kernel.numpy().T.ravel(), layer.bias.numpy())])


def dense_network(outputs):
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(32), keras.layers.LeakyReLU(0.2),
                                keras.layers.Dense(32), keras.layers.LeakyReLU(0.2), keras.layers.Dense(outputs)])
    for layer in network.layers:
        if layer.weights:
            layer.bias.assign(np.random.default_rng(outputs).standard_normal(layer.bias.shape) / 3)
    return network


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_losses_and_gradients_are_those_of_biogans(blank, algorithm):
    """The classes of gan.py, differentiated by TensorFlow, which also differentiates the penalties twice."""
    import tensorflow as tf

    from biogans.system.backend_tensorflow import input_gradient

    keras.utils.set_random_seed(1)
    critic, generator, rng = dense_network(1), dense_network(2), np.random.default_rng(0)
    real, fake, z = (rng.standard_normal((16, 2)).astype("float32") for _ in range(3))
    shares = rng.random((16, 1)).astype("float32")
    constants = blank.evaluate(in_game("{wgangp_lambda: LAMBDA, r1_gamma: GAMMA}"))

    rules = gan.ALGORITHMS[algorithm](SimpleNamespace(r1_gamma_last=None, **constants))

    def score(points, training=True):
        return critic(tf.reshape(points, (-1, 2)))[:, 0]
    images = [tf.reshape(values, (16, 1, -1, 1)) for values in (real, fake, shares)]
    with tf.GradientTape() as tape:
        loss = rules.critic_loss(score, *images, input_gradient)
    expected = [(float(loss), gradients_of(tape.gradient(loss, critic.trainable_variables)))]
    with tf.GradientTape() as tape:
        loss = rules.generator_loss(score(generator(z)))
    expected.append((float(loss), gradients_of(tape.gradient(loss, generator.trainable_variables))))

    given = {"critic": weights_of(critic), "generator": weights_of(generator), "real": real, "fake": fake, "z": z,
             "shares": shares}
    found = blank.evaluate("given => " + in_game(f"""(() => {{
        const game = start("{algorithm}"), rules = ALGORITHMS["{algorithm}"];
        const array = name => Float64Array.from(given[name]);
        game.critic.weights.set(array("critic"));
        game.generator.weights.set(array("generator"));
        return [criticLoss(game.critic, rules, array("real"), array("fake"), array("shares")),
                generatorLoss(game, rules, array("z"))].map(([loss, gradient]) => [loss, [...gradient]]);
    }})()"""), {name: values.ravel().tolist() for name, values in given.items()})
    for (loss, gradient), (expected_loss, expected_gradient) in zip(found, expected, strict=True):
        assert loss == pytest.approx(expected_loss, rel=1e-5, abs=1e-6)
        np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-3, atol=1e-5 * np.abs(expected_gradient).max())


def gradients_of(arrays):
    """Gradients of kernels and biases in the order and layout of the page."""
    return np.concatenate([array.numpy().T.ravel() for array in arrays])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_gradients_agree_with_differences(blank, algorithm):
    """Of each weight, moved by a millionth; also through the penalty on slopes."""
    worst = blank.evaluate(in_game(f"""[0, 1].map(ofGenerator => {{
        const game = start("{algorithm}"), rules = ALGORITHMS["{algorithm}"], random = randomStream(3, "noise");
        const [real, fake, z] = [0, 1, 2].map(() => normalPoints(8, random)), shares = real.map(random.uniform);
        const {{weights}} = ofGenerator ? game.generator : game.critic;
        const loss = () => ofGenerator ? generatorLoss(game, rules, z)
            : criticLoss(game.critic, rules, real, fake, shares);
        const gradient = loss()[1], errors = Array.from(weights, (weight, k) => {{
            const [above, below] = [1e-6, -1e-6].map(step => (weights[k] = weight + step, loss()[0]));
            weights[k] = weight;
            return Math.abs((above - below) / 2e-6 - gradient[k]);
        }});
        return Math.max(...errors) / Math.max(...gradient.map(Math.abs));
    }})"""))
    assert max(worst) < 1e-6


def test_noise_is_normal_and_streams_differ(blank):
    streams = "[[1, 'noise'], [2, 'noise'], [1, 'real']].map(one => [...normalPoints(20000, randomStream(...one))])"
    first, second, other = np.array(blank.evaluate(in_game(streams)))
    assert abs(first.mean()) < 0.02 and abs(first.std() - 1) < 0.02 and abs((np.abs(first) < 1).mean() - 0.683) < 0.01
    for one, another in ((first, second), (first, other), (first[::2], first[1::2]), (first[1:], first[:-1])):
        assert abs(np.corrcoef(one, another)[0, 1]) < 0.03


@pytest.mark.parametrize("target", TARGETS[:3])
def test_every_loss_trains_on_every_target(blank, target):
    for algorithm in ALGORITHMS:
        game = f"played('{algorithm}', 40, {{target: '{target}'}})"
        distances = blank.evaluate(in_game(f"{game}.history.map(row => row.distance)"))
        assert len(distances) == 3 and 0 < distances[-1] < distances[0]


def test_the_distance_is_the_energy_distance(blank):
    from scipy.spatial.distance import cdist
    real, generated, distance = (np.array(values) for values in blank.evaluate(in_game("""[start("GAN")].map(game =>
        [[...game.shownReal], [...generatedPoints(game)], game.history[0].distance])[0]""")))
    a, b = real.reshape(-1, 2), generated.reshape(-1, 2)
    assert distance == pytest.approx(2 * cdist(a, b).mean() - cdist(a, a).mean() - cdist(b, b).mean())


# ---------------------------------------------------------------------------------------------- its answers

@pytest.mark.parametrize("game, least, most", [
    ("modesCovered(generatedPoints(played('GAN', 600, {momentum: 0.9})))", 0, 2),
    ("modesCovered(generatedPoints(played('GAN', 1600)))", 8, 8),
    ("[played('GAN', 400, {updates: 10})].map(game => [meanSlope(game), game.history.at(-1).distance])[0]",
     (7, 0.3), (13, 0.7)),
    ("meanSlope(played('WGAN-GP', 200, {updates: 10}))", 0.8, 1.3),
    ("meanSlope(played('WGAN', 300))", 0.03, 0.08),
    ("meanSlope(played('WGAN-GP', 300))", 0.9, 1.2)])
def test_the_answers_to_its_questions_are_true(blank, game, least, most):
    found = np.array(blank.evaluate(in_game(game)))
    assert (found >= least).all() and (found <= most).all()


# ---------------------------------------------------------------------------------------------- controls

@pytest.mark.parametrize("width", [320, 375, 1280])
def test_the_page_fits(opened, width):
    """Nothing is cut off at the sides; in a narrow window the picture stays in view beside the last slider."""
    page = opened(viewport={"width": width, "height": 667}, has_touch=width < 1000)
    for summary in page.query_selector_all("summary"):
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for control in page.query_selector_all("button:visible, select, input, summary"):
        control.scroll_into_view_if_needed()
        box = control.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width and box["height"] > 0
    if width < 1000:
        page.locator("#momentum").scroll_into_view_if_needed()
        box = page.locator("#scene").bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] < page.locator("#momentum").bounding_box()["y"]


def test_keys_and_names(opened):
    """Keys act like buttons, but not while a number is typed; every control and picture has a name."""
    page = opened()
    page.keyboard.press("s")
    page.keyboard.press("s")
    assert text(page, "iteration") == "2"
    page.keyboard.press("p")
    page.wait_for_function("() => parseInt(document.getElementById('iteration').textContent) > 2")
    assert page.get_attribute("#play", "aria-pressed") == "true" and "Pause" in text(page, "play")
    page.keyboard.press("p")
    page.keyboard.press("r")
    assert text(page, "iteration") == "0" and page.get_attribute("#play", "aria-pressed") == "false"
    page.focus("#seed")
    page.keyboard.press("s")
    assert text(page, "iteration") == "0"
    nameless = page.evaluate("""[...document.querySelectorAll("button, input, select, [role=img]")].filter(one =>
        !(one.getAttribute("aria-label") || one.textContent.trim() || [...one.labels ?? []].some(
            label => label.textContent.trim()))).map(one => one.outerHTML)""")
    assert nameless == []
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
    assert {"play", "step", "restart", "speed", "algorithm", "target", "seed", "updates", "rateD", "rateG", "momentum",
            "background", "arrows", "theme"} <= reached


def test_settings(opened):
    """A loss brings its own settings and starts over; sliders act at once; a question sets up its game."""
    page = opened()
    page.keyboard.press("s")
    page.select_option("#algorithm", "GAN")
    assert text(page, "iteration") == "0" and text(page, "updates-shown") == "1"
    assert "discriminator" in text(page, "formula")
    page.keyboard.press("Tab")
    page.fill("#rateD", "5")
    page.keyboard.press("s")
    assert text(page, "iteration") == "1" and text(page, "rateD-shown") == "0.001"
    page.select_option("#target", "two moons")
    assert not page.is_visible("#modes")
    page.click(".question button")
    page.wait_for_function("() => parseInt(document.getElementById('iteration').textContent) > 1")
    assert page.locator("#scene").bounding_box()["y"] >= 0
    assert text(page, "momentum-shown") == "0.9" and page.input_value("#target") == "ring of eight modes"


def test_speed(opened):
    page = opened()
    page.fill("#speed", "1")
    page.click("#play")
    start = time.monotonic()
    page.wait_for_timeout(2000)
    assert 3 <= int(text(page, "iteration")) <= 6 * (time.monotonic() - start) + 3


def pixels(page):
    return page.evaluate("document.getElementById('scene').toDataURL()")


def test_the_picture_follows_its_settings(opened):
    """Every background and every kind of arrows gives another picture; pictures of one game are the same."""
    page, seen = opened(), set()
    for background in page.eval_on_selector_all("#background option", "all => all.map(one => one.value)"):
        for arrows in page.eval_on_selector_all("#arrows option", "all => all.map(one => one.value)"):
            page.select_option("#background", background)
            page.select_option("#arrows", arrows)
            seen.add(pixels(page))
    assert len(seen) == 12
    page.click("#restart")
    assert pixels(page) in seen


def test_points_are_drawn_with_finger_mouse_and_keys(opened):
    page = opened(viewport={"width": 375, "height": 667}, has_touch=True)
    page.select_option("#target", "your own points")
    face = pixels(page)
    page.click("#erase")
    box = page.locator("#scene").bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] / 4, box["y"] + box["height"] / 4)
    tapped = pixels(page)
    page.mouse.move(box["x"] + 150, box["y"] + 150)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 150, steps=5)
    page.mouse.up()
    stroke = pixels(page)
    page.focus("#scene")
    for key in ("ArrowUp", "ArrowLeft", "Enter"):
        page.keyboard.press(key)
    assert "-0.1, 0.1" in text(page, "status")
    assert len({face, tapped, stroke, pixels(page)}) == 4
    page.keyboard.press("s")
    assert text(page, "iteration") == "1"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_have_contrast_in_both_themes(opened, theme):
    """At least 4.5 : 1 on the paper of a section (WCAG 2, level AA)."""
    page = opened(color_scheme=theme)
    colours = page.evaluate("""["section", ".real", ".fake", ".critic", ".quiet", "summary"].map(one => {
        const style = getComputedStyle(document.querySelector(one));
        return (one === "section" ? style.backgroundColor : style.color).match(/\\d+/g).slice(0, 3).map(Number);
    })""")
    paper, *inks = [luminance(colour) for colour in colours]
    assert (paper < 0.5) == (theme == "dark")
    for ink in inks:
        assert (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05) >= 4.5
    before = pixels(page)
    page.select_option("#theme", "dark" if theme == "light" else "light")
    assert pixels(page) != before


def luminance(colour):
    """Relative luminance of an sRGB colour in [0, 255] (WCAG 2)."""
    red, green, blue = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
                        for value in np.array(colour) / 255]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


# ---------------------------------------------------------------------------------------------- the command

def test_the_command(file, tmp_path, monkeypatch, capsys):
    """One small file, images/toy.html by default; a mistake is one line."""
    monkeypatch.chdir(tmp_path)
    assert toy.main([]) == 0
    assert (tmp_path / "images/toy.html").read_bytes() == file.read_bytes() and file.stat().st_size < 100_000
    assert toy.main(["-o", "toy.txt"]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and ".html" in message and not (tmp_path / "toy.txt").exists()
