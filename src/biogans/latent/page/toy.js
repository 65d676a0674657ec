/* The page: its state, and the effect of each control. */

const SPEEDS = [[1, "1 a second"], [5, "5 a second"], [20, "20 a second"], [100, "100 a second"], [Infinity, "full"]];
const RATES = [1e-4, 2e-4, 3e-4, 5e-4, 7e-4, 1e-3, 1.5e-3, 2e-3, 3e-3, 5e-3, 7e-3, 1e-2, 2e-2, 3e-2];
const BUDGET = 12;                      // milliseconds of training before the browser may draw and listen
const PICTURE = 60;                     // milliseconds between pictures, at least
const DRAWING = 4;                      // and this many times what a picture takes, so that slow computers train too
const CURSOR_STEP = 0.15;

const FORMULAS = {
    "GAN": "The critic is a discriminator: D = σ(score) is the probability that a point is real. It minimises −E log "
        + "D(x) − E log (1 − D(G(z))), the generator −E log D(G(z)).",
    "WGAN": "The critic maximises the difference of the mean scores of real and generated points; its weights are "
        + `clipped to ±${CLIP}. The generator maximises the score of its points.`,
    "WGAN-GP": "As WGAN, without clipping: a penalty pulls the slope of the score towards 1 between real and generated "
        + `points (λ = ${LAMBDA}).`,
    "R1": "As GAN, with a penalty that makes the score flat at real points (γ = " + `${GAMMA}).`,
};

/* A face: the drawing at the start. */
const arc = (count, from, to, radius) => Array.from({length: count}, (_, k) => {
    const angle = from + (to - from) * k / (count - 1);
    return [radius * Math.cos(angle), radius * Math.sin(angle)];
});
const FACE = [...arc(60, Math.PI, 2 * Math.PI, 1.7), ...Array.from({length: 15}, () => [-0.9, 1]),
              ...Array.from({length: 15}, () => [0.9, 1])];

let game, playing = false, due = 0, before = 0, nextPicture = 0, isNew = false, cursor = null;
let drawn = FACE;

const chosen = id => $$(id).value;
/* How the position of a slider is read, shown and found. */
const rate = {read: at => RATES[at], show: shortNumber, place: value => RATES.indexOf(value)};
const sliders = {
    updates: {read: at => at, show: String, place: value => value}, rateD: rate, rateG: rate,
    momentum: {read: at => at / 10, show: value => value.toFixed(1), place: value => Math.round(10 * value)},
};

function settings() {
    const values = Object.entries(sliders).map(([id, {read}]) => [id, read(Number(chosen(id)))]);
    return {algorithm: chosen("algorithm"), target: chosen("target"), seed: Number(chosen("seed")), drawn,
            ...Object.fromEntries(values)};
}

// ------------------------------------------------------------------------------------------------ training

function restart() {
    stop();
    game = newGame(settings());
    show();
}

function stop() {
    playing = false;
    $$("play").setAttribute("aria-pressed", "false");
    $$("play").firstChild.textContent = "Play";
}

function play() {
    if (playing) {
        stop();
        return show();
    }
    playing = true;
    [before, due] = [performance.now(), 1];
    $$("play").setAttribute("aria-pressed", "true");
    $$("play").firstChild.textContent = "Pause";
    requestAnimationFrame(train);
}

/* Iterate for a part of the time between two frames: as often as the speed asks for, if there is time. */
function train(now) {
    if (!playing) return;
    const perSecond = SPEEDS[chosen("speed")][0], end = performance.now() + BUDGET;
    due = perSecond === Infinity ? Infinity : Math.min(due + perSecond * Math.max(0, now - before) / 1000, perSecond);
    before = now;
    while (due >= 1 && performance.now() < end) {
        iterate(game);
        due--;
    }
    if (now > nextPicture) {
        const start = performance.now();
        show();
        nextPicture = now + Math.max(PICTURE, DRAWING * (performance.now() - start));
    }
    requestAnimationFrame(train);
}

function step() {
    stop();
    iterate(game);
    show();
}

// ------------------------------------------------------------------------------------------------ display

function show() {
    const {history, iteration, shownReal} = game, last = history.at(-1), points = generatedPoints(game);
    const modes = modesCovered(points);
    drawScene($$("scene"), game, {background: chosen("background"), arrows: chosen("arrows"), cursor});
    drawLosses($$("losses"), game);
    drawDistance($$("distances"), game);
    $$("iteration").textContent = iteration.toLocaleString("en");
    $$("distance").textContent = last.distance.toFixed(3);
    $$("modes").textContent = `${modes} of ${RING.length}`;
    $$("slope").textContent = shortNumber(+meanSlope(game).toPrecision(2));
    $$("scene").setAttribute("aria-label", `${shownReal.length / 2} real and ${points.length / 2} generated points `
        + `after ${iteration} iterations, energy distance ${last.distance.toFixed(3)}`
        + ($$("modes-row").hidden ? "" : `, ${modes} of ${RING.length} modes covered`));
    if (last.critic === null) return;
    $$("losses").setAttribute("aria-label", `Losses at iteration ${last.iteration}: critic ${last.critic.toFixed(2)}, `
        + `generator ${last.generator.toFixed(2)}`);
    $$("distances").setAttribute("aria-label", `Energy distance at iteration ${last.iteration}: `
        + `${last.distance.toFixed(3)}; between two sets of real points ${game.floor.toFixed(3)}`);
}

function showSettings() {
    const {algorithm, target, ...values} = settings();
    for (const [id, {show}] of Object.entries(sliders)) {
        $$(`${id}-shown`).value = show(values[id]);
        $$(id).setAttribute("aria-valuetext", show(values[id]));
    }
    const speed = SPEEDS[chosen("speed")][1];
    $$("speed-shown").value = speed;
    $$("speed").setAttribute("aria-valuetext", speed);
    $$("formula").textContent = FORMULAS[algorithm];
    $$("modes-row").hidden = target !== Object.keys(TARGETS)[0];
    $$("drawing").hidden = !isDrawable();
    $$("scene").classList.toggle("drawable", isDrawable());
    $$("scene").tabIndex = isDrawable() ? 0 : -1;
    $$("slopes").hidden = chosen("arrows") === "none";
}

/* The settings that a loss needs, as in the course. */
function setDefaults(changes = {}) {
    for (const [id, value] of Object.entries({...ALGORITHMS[chosen("algorithm")].defaults, ...changes})) {
        $$(id).value = sliders[id].place(value);
    }
}

// ------------------------------------------------------------------------------------------------ drawing of points

const within = value => Math.max(-RANGE, Math.min(RANGE, value));
const isDrawable = () => chosen("target") === "your own points";

function addPoint(x, y) {
    drawn = [...isNew ? [] : drawn, [within(x), within(y)]];
    isNew = false;
    restart();
}

function onPointer(event) {
    if (!isDrawable() || event.type === "pointermove" && !event.buttons) return;
    const box = $$("scene").getBoundingClientRect();
    if (event.type === "pointerdown") $$("scene").setPointerCapture(event.pointerId);
    addPoint(RANGE * (2 * (event.clientX - box.left) / box.width - 1),
             RANGE * (1 - 2 * (event.clientY - box.top) / box.height));
}

const MOVES = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]};

function onSceneKey(event) {
    if (!isDrawable()) return;
    if (MOVES[event.key]) {
        cursor = (cursor ?? [0, 0]).map((value, k) => within(value + CURSOR_STEP * MOVES[event.key][k]));
        show();
    } else if (event.key === "Enter") {
        cursor ??= [0, 0];
        addPoint(...cursor);
        say(`Point ${drawn.length} at ${cursor.map(value => value.toFixed(1)).join(", ")}`);
    } else {
        return;
    }
    event.preventDefault();
}

// ------------------------------------------------------------------------------------------------ the controls

const KEYS = {p: play, s: step, r: restart};

function onKey(event) {
    const typing = event.target.matches("input[type=number], select");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key.toLowerCase()]) return;
    KEYS[event.key.toLowerCase()]();
    event.preventDefault();
}

/* Start a game that a question proposes: the ring, the defaults of its loss, and what the question changes. */
function tryOut({algorithm, ...changes}) {
    $$("algorithm").value = algorithm;
    $$("target").value = Object.keys(TARGETS)[0];
    $$("speed").value = SPEEDS.length - 1;
    setDefaults(changes);
    showSettings();
    restart();
    play();
    $$("scene").scrollIntoView({block: "nearest"});
    say(`${algorithm} started`);
}

function build() {
    for (const [id, names] of [["algorithm", ALGORITHMS], ["target", TARGETS], ["background", BACKGROUNDS],
                               ["arrows", ARROWS]]) {
        $$(id).append(...Object.keys(names).map(name => element("option", {}, name)));
    }
    $$("algorithm").value = "WGAN-GP";
    setDefaults();
    showSettings();
    restart();
}

function listen() {
    for (const [id, action] of Object.entries({play, step, restart})) $$(id).addEventListener("click", action);
    $$("algorithm").addEventListener("input", () => setDefaults());
    for (const id of ["algorithm", "target", "seed"]) $$(id).addEventListener("change", () => {
        showSettings();
        restart();
    });
    for (const id of Object.keys(sliders)) $$(id).addEventListener("input", () => {
        game.settings = settings();
        showSettings();
    });
    for (const id of ["background", "arrows", "theme"]) $$(id).addEventListener("input", () => {
        showSettings();
        show();
    });
    $$("speed").addEventListener("input", showSettings);
    $$("erase").addEventListener("click", () => {
        isNew = true;
        say("Draw: the first point replaces the old drawing");
    });
    for (const type of ["pointerdown", "pointermove"]) $$("scene").addEventListener(type, onPointer);
    $$("scene").addEventListener("keydown", onSceneKey);
    for (const button of document.querySelectorAll("[data-try]")) {
        button.addEventListener("click", () => tryOut(JSON.parse(button.dataset.try)));
    }
    document.addEventListener("keydown", onKey);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
    new ResizeObserver(show).observe($$("scene"));
}

build();
listen();
document.documentElement.dataset.ready = "";
