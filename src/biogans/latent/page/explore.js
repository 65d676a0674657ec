/* The page: its state, and the effect of each control. */

const facts = JSON.parse($$("facts").textContent);
const {size, codes, channels, nz} = facts;
const groups = facts.groups;
const STRONGEST = 8;                        // sliders of a group that are visible at first
const WALK_SECONDS = 2.5, WALK_FRAMES = 24, REDUCED_MOTION_SECONDS = 2;
const still = matchMedia("(prefers-reduced-motion: reduce)");

/* z, name and pixels of the cell on the screen; the controls determine how it is shown. */
const cell = {z: new Float32Array(nz), number: null, name: "", pixels: null};
const undone = [];
const kept = [];                            // {z, number, name, pixels}
const chosen = {first: null, second: null}; // two of the kept cells, to compare
let draw, numbered, lastMoved = null, walking = false, changes = 0;

function complain(problem) {
    $$("problem").hidden = false;
    $$("problem").textContent = `The network cannot run in this browser: ${problem.message ?? problem}. The page `
        + "needs a recent Firefox, Chrome, Edge or Safari.";
    $$("loading").hidden = true;
    throw problem;
}

// ------------------------------------------------------------------------------------------------ drawing

const shown = () => channels.map((_, k) => $$(`channel${k}`)?.checked ?? true);
const colours = () => coloursOf(shown(), $$("palette").value, facts.transmitted);
const paintAs = (canvas, pixels) => paint(canvas, pixels, size, colours(), Number($$("gain").value),
                                          areMany(shown(), $$("palette").value, facts.transmitted));

/* Show the cell `next` ({z, number, name}). If a later change overtakes this one, its pixels are not shown. */
async function show(next) {
    Object.assign(cell, next);
    const change = ++changes;
    moveControls();
    const start = performance.now();
    const pixels = await draw(cell.z);
    if (change !== changes) return;
    cell.pixels = pixels;
    $$("time").textContent = `generated in ${Math.round(performance.now() - start)} ms`;
    repaint();
    clearTimeout(previewing);
    if (!walking) previewing = setTimeout(drawPreviews, 250);
}

/* Sliders send events faster than cells are generated: one cell is in progress, and only the newest one waits. */
let busy = false, waiting = null;
async function showSoon(next) {
    Object.assign(cell, next);
    waiting = next;
    moveControls();
    if (busy) return;
    busy = true;
    while (waiting) {
        const now = waiting;
        waiting = null;
        await show(now);
    }
    busy = false;
}

function repaint() {
    const colour = colours();
    paintAs($$("cell"), cell.pixels);
    channels.forEach((name, k) => {
        const alone = channels.map((_, j) => j === k ? colour[k] ?? [150, 150, 150] : null);
        paint($$(`strip${k}`), cell.pixels, size, alone, Number($$("gain").value));
        $$(`swatch${k}`).style.background = colour[k] ? `rgb(${colour[k]})` : "none";
    });
    const names = channels.filter((_, k) => colour[k]);
    $$("name").textContent = cell.name;
    $$("cell").setAttribute("aria-label",
                            `Generated image of ${cell.name}, showing ${names.join(", ") || "no channel"}`);
    $$("command").textContent = commandLine();
}

function moveControls() {
    for (const {input, output, value} of sliders) {
        const number = value(cell.z);
        input.value = number;
        output.value = number.toFixed(2);
        input.setAttribute("aria-valuetext", number.toFixed(2));
    }
    for (const {code, inputs} of categories) inputs[codeValue(cell.z, code)].checked = true;
    $$("undo").disabled = !undone.length;
}

// ------------------------------------------------------------------------------------------------ cells

function remember() {
    undone.push({z: cell.z, number: cell.number, name: cell.name});
    if (undone.length > 200) undone.shift();
}

const numberedCell = number => ({
    z: numbered.slice(number * nz, (number + 1) * nz), number, name: `cell ${number}`,
});

const anyNumber = () => Math.floor(Math.random() * facts.numbered);

function showNumber(number) {
    remember();
    $$("number").value = number;
    return show(numberedCell(number));
}

function random() {
    const number = anyNumber();
    stopWalk();
    showNumber(number);
    say(`Cell ${number}`);
}

function average() {
    stopWalk();
    remember();
    let z = new Float32Array(nz);
    for (const code of codes) if (code.kind === "categorical") z = withCode(z, code, codeValue(cell.z, code));
    show({z, number: null, name: "average cell"});
    say("All sliders centred");
}

function undo() {
    if (!undone.length) return;
    stopWalk();
    show(undone.pop());
    say("Undone");
}

/* The cell after a manual change, which no longer has a number. */
const changed = z => ({z, number: null, name: cell.name.endsWith(", changed") ? cell.name : `${cell.name}, changed`});

// ------------------------------------------------------------------------------------------------ sliders

const sliders = [], categories = [], previews = [];

/* A slider that shows `value(z)`; `moved(z, value)` returns the z after a move. */
function slider({name, spoken, range, strength, value, moved}) {
    const id = `slider${sliders.length}`;
    const input = element("input", {type: "range", id, min: range[0], max: range[1], step: 0.01, title: spoken});
    input.setAttribute("aria-label", spoken);
    const output = element("output", {htmlFor: id});
    const ends = range.map((end, k) => {
        const canvas = element("canvas", {width: size.width, height: size.height, title: `${name} at ${shortly(end)}`});
        canvas.setAttribute("aria-hidden", "true");
        previews.push({canvas, z: () => moved(cell.z, end)});
        return canvas;
    });
    const self = {input, output, value, moved, name, range};
    let grabbed = false;
    const move = number => {
        if (!grabbed) remember();
        grabbed = true;
        stopWalk();
        lastMoved = self;
        showSoon(changed(moved(cell.z, number)));
    };
    input.addEventListener("input", () => move(Number(input.value)));
    input.addEventListener("change", () => grabbed = false);
    const reset = () => (move(0), grabbed = false);
    input.addEventListener("dblclick", reset);
    input.addEventListener("keydown", event => {
        if (event.key === "Backspace" || event.key === "Delete") reset();
    });
    sliders.push(self);
    const label = element("label", {htmlFor: id}, name);
    if (strength !== undefined) {
        label.append(element("meter", {value: strength, title: `${Math.round(100 * strength)} % of the strongest`}));
    }
    return element("div", {className: "slider"}, label, ends[0], input, ends[1], output);
}

/* What a slider changes, in words: the measured quantity and its correlation, and up to two others. */
function inWords(meaning) {
    if (!meaning) return "";
    const signed = r => r.toFixed(2).replace("-", "−");
    const others = Object.entries(meaning.also).slice(0, 2).map(([name, r]) => `; also ${name}, r = ${signed(r)}`);
    return `: ${meaning.name}, r = ${signed(meaning.r)} over ${facts.measured} random cells${others.join("")}`;
}

const shortly = number => `${number}`.replace("-", "−");

function buildGroup(group) {
    const most = group.strengths[0];
    const rows = group.strengths.map((strength, k) => slider({
        name: group.meanings[k]?.name ?? `${group.short} ${k + 1}`, strength: strength / most, range: [-3, 3],
        spoken: `${group.title}, direction ${k + 1}${inWords(group.meanings[k])}; `
            + `${Math.round(100 * strength / most)} % of the strongest`,
        value: z => coordinate(z, group, k), moved: (z, number) => movedAlong(z, group, k, number),
    }));
    const later = rows.slice(STRONGEST);
    later.forEach(row => row.hidden = true);
    const all = element("button", {type: "button", hidden: !later.length}, `Show all ${rows.length}`);
    all.setAttribute("aria-expanded", "false");
    all.addEventListener("click", () => {
        const open = all.getAttribute("aria-expanded") !== "true";
        later.forEach(row => row.hidden = !open);
        all.setAttribute("aria-expanded", String(open));
        all.textContent = open ? `Show the strongest ${STRONGEST}` : `Show all ${rows.length}`;
        drawPreviews();
    });
    return section(group.title, group.note, ...rows, all);
}

function section(title, note, ...content) {
    const id = `group${$$("sliders").children.length}`;
    const made = element("div", {className: "group"}, element("h2", {id}, title),
                         element("p", {className: "quiet"}, note), ...content);
    made.setAttribute("role", "group");
    made.setAttribute("aria-labelledby", id);
    return made;
}

function buildCode(code) {
    if (code.kind !== "categorical") {
        return slider({name: code.name + (code.meaning ? `: ${code.meaning.name}` : ""),
                       spoken: `code ${code.name}${inWords(code.meaning)}`, range: code.range,
                       value: z => codeValue(z, code), moved: (z, number) => withCode(z, code, number)});
    }
    const inputs = code.indices.map((_, k) => element("input", {type: "radio", name: code.name, value: k}));
    const labels = inputs.map((input, k) => {
        input.addEventListener("change", () => {
            stopWalk();
            remember();
            show(changed(withCode(cell.z, code, k)));
        });
        const canvas = element("canvas", {width: size.width, height: size.height});
        previews.push({canvas, z: () => withCode(cell.z, code, k)});
        const label = element("label", {}, canvas, input, `${k}`);
        if (code.labels?.[k].short) {
            label.title = code.labels[k].line;
            label.append(element("strong", {}, code.labels[k].short));
        }
        return label;
    });
    categories.push({code, inputs});
    const legend = code.name + (code.labels ? ", and what each category generates mostly" : "");
    return element("fieldset", {}, element("legend", {}, legend),
                   element("div", {className: "categories"}, ...labels));
}

/* Previews at the ends of the visible sliders, generated while the page is idle. */
let previewing;
async function drawPreviews() {
    const change = changes;
    for (const preview of previews) {
        if (!preview.canvas.offsetParent) continue;
        const pixels = await draw(preview.z());
        if (change !== changes) return;
        preview.pixels = pixels;
        paintAs(preview.canvas, pixels);
    }
}

// ------------------------------------------------------------------------------------------------ walks

function stopWalk() {
    walking = false;
    $$("play").setAttribute("aria-pressed", "false");
    $$("play").firstChild.textContent = "Play a walk";
}

/* Walk from cell to cell: through the kept ones if there are at least two, otherwise to random ones. */
async function walk() {
    if (walking) return stopWalk();
    remember();
    walking = true;
    $$("play").setAttribute("aria-pressed", "true");
    $$("play").firstChild.textContent = "Stop the walk";
    say("Walk started");
    for (let leg = 0; walking; leg++) {
        const start = {z: cell.z, name: cell.name};
        const end = kept.length > 1 ? kept[leg % kept.length] : numberedCell(anyNumber());
        await travel(start, end);
    }
    previewing = setTimeout(drawPreviews, 250);
}

async function travel(start, end) {
    const speed = Number($$("speed").value);
    if (still.matches) {                    // whole cells instead of motion
        await show({z: end.z, number: end.number, name: end.name});
        for (let k = 0; k < 10 && walking; k++) await pause(100 * REDUCED_MOTION_SECONDS / speed);
        return;
    }
    let t = 0, before = performance.now();
    while (walking && t < 1) {
        await new Promise(requestAnimationFrame);
        const now = performance.now();
        t = Math.min(1, t + (now - before) / 1000 / WALK_SECONDS * speed);
        before = now;
        if (walking) await show(t === 1 ? {z: end.z, number: end.number, name: end.name}
            : {z: between(start.z, end.z, t, codes), number: null, name: `on the way to ${end.name}`});
    }
}

const pause = milliseconds => new Promise(done => setTimeout(done, milliseconds));

// ------------------------------------------------------------------------------------------------ kept cells

function keep() {
    if (!cell.pixels) return;
    const {z, number, name, pixels} = cell;
    kept.push({z, number, name, pixels});
    if (!chosen.first) chosen.first = kept.at(-1);
    else if (!chosen.second) chosen.second = kept.at(-1);
    showKept();
    say(`Kept ${name}`);
}

function showKept() {
    $$("kept-hint").hidden = kept.length > 0;
    $$("kept").replaceChildren(...kept.map(one => {
        const canvas = element("canvas");
        paintAs(canvas, one.pixels);
        const back = element("button", {type: "button", className: "back", title: "show this cell again"},
                             canvas, one.name);
        back.addEventListener("click", () => {
            stopWalk();
            remember();
            show({z: one.z, number: one.number, name: one.name});
        });
        const choices = element("div", {className: "choices"}, choice(one, "first", "A"), choice(one, "second", "B"),
                                dropButton(one));
        return element("li", {}, back, choices);
    }));
    const both = chosen.first && chosen.second;
    $$("blending").hidden = !both;
    for (const which of ["first", "second"]) {
        if (!both) break;
        paintAs($$(which), chosen[which].pixels);
        $$(which).setAttribute("aria-label", `${which === "first" ? "A" : "B"}: ${chosen[which].name}`);
    }
    $$("gif-of").options[1].disabled = !both;
}

function choice(one, which, letter) {
    const button = element("button", {type: "button"}, letter);
    button.setAttribute("aria-pressed", String(chosen[which] === one));
    button.setAttribute("aria-label", `${one.name} as ${letter}`);
    button.addEventListener("click", () => {
        chosen[which] = chosen[which] === one ? null : one;
        showKept();
    });
    return button;
}

function dropButton(one) {
    const button = element("button", {type: "button"}, "×");
    button.setAttribute("aria-label", `Remove ${one.name}`);
    button.addEventListener("click", () => {
        kept.splice(kept.indexOf(one), 1);
        for (const which of ["first", "second"]) if (chosen[which] === one) chosen[which] = null;
        showKept();
        say(`Removed ${one.name}`);
    });
    return button;
}

function blend() {
    const t = Number($$("blend").value);
    stopWalk();
    showSoon({z: between(chosen.first.z, chosen.second.z, t, codes), number: null,
              name: `${Math.round(100 * (1 - t))} % A, ${Math.round(100 * t)} % B`});
}

// ------------------------------------------------------------------------------------------------ files

function save(blob, name) {
    const link = element("a", {href: URL.createObjectURL(blob), download: name});
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    say(`${name}: ${blob.size.toLocaleString()} bytes`);
}

const fileName = suffix => cell.name.replace(/[^\p{L}\p{N}.]+/gu, "-").replace(/^-|-$/g, "") + suffix;
const magnified = () => Math.max(1, Math.round(640 / size.width));
const asPng = canvas => new Promise(done => canvas.toBlob(done, "image/png"));

async function savePng() {
    save(await asPng(enlarged($$("cell"), magnified(), $$("smooth").checked)), fileName(".png"));
}

/* All channels and their merge side by side, with their names. */
async function saveStrip() {
    const panels = [...channels.map((name, k) => [name, $$(`strip${k}`)]), ["as shown", $$("cell")]];
    const scale = Math.max(1, Math.round(240 / size.width)), [wide, high] = [scale * size.width, scale * size.height];
    const picture = element("canvas", {width: panels.length * (wide + 4) - 4, height: high + 24});
    const pen = picture.getContext("2d");
    pen.fillRect(0, 0, picture.width, picture.height);
    Object.assign(pen, {fillStyle: "#fff", font: "14px sans-serif", textAlign: "center"});
    panels.forEach(([name, canvas], k) => {
        pen.drawImage(enlarged(canvas, scale, $$("smooth").checked), k * (wide + 4), 24);
        pen.fillText(name, k * (wide + 4) + wide / 2, 17, wide);
    });
    save(await asPng(picture), fileName("-channels.png"));
}

/* Latent vectors of a movie that ends where it began. */
function way() {
    const there = (first, second) => Array.from({length: WALK_FRAMES},
                                                (_, k) => between(first, second, k / WALK_FRAMES, codes));
    const around = stops => stops.flatMap((stop, k) => there(stop, stops[(k + 1) % stops.length]));
    if ($$("gif-of").value === "blend") return around([chosen.first.z, chosen.second.z]);
    if ($$("gif-of").value === "slider" && lastMoved) {
        const {range: [low, high], moved} = lastMoved, turn = 2 * WALK_FRAMES;
        return Array.from({length: turn}, (_, k) => moved(
            cell.z, (low + high) / 2 - (high - low) / 2 * Math.cos(2 * Math.PI * k / turn)));
    }
    const others = Array.from({length: 2}, () => numberedCell(anyNumber()).z);
    return around([cell.z, ...others]);
}

async function saveGif() {
    stopWalk();
    const name = fileName(".gif"), latents = way(), canvas = element("canvas"), frames = [];
    const scale = Math.max(1, Math.round(320 / size.width));
    $$("gif").disabled = true;
    for (const z of latents) {
        paintAs(canvas, await draw(z));
        const frame = enlarged(canvas, scale, $$("smooth").checked);
        frames.push(frame.getContext("2d").getImageData(0, 0, frame.width, frame.height).data);
        say(`Frame ${frames.length} of ${latents.length}`);
    }
    const milliseconds = 1000 * WALK_SECONDS / WALK_FRAMES / Number($$("speed").value);
    save(gif(frames, scale * size.width, scale * size.height, milliseconds), name);
    $$("gif").disabled = false;
}

const shell = text => /^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
const commandLine = () => `predict.py -i ${shell(facts.network.file)} ` + (cell.number === null
    ? `--z ${shell(fileName(".json"))}` : `-s ${cell.number}`);

/* Content of a JSON file: z of the cell, and commands that generate it again with the same network. */
function exported() {
    const file = fileName(".json");
    const known = {
        name: cell.name, number: cell.number, network: facts.network,
        redraw: `predict.py -i ${shell(facts.network.file)} --z ${shell(file)}`,
        python: "import json, numpy; from biogans.core import trained; "
            + `z = numpy.float32([json.load(open(${JSON.stringify(file)}))["z"]]); `
            + `image = trained.load_generator(${JSON.stringify(facts.network.file)}).generate(z)[0]`,
    };
    if (cell.number !== null) known.same_as = commandLine();
    if (codes.length) known.codes = Object.fromEntries(codes.map(code => [code.name, codeValue(cell.z, code)]));
    return {...known, z: Array.from(cell.z)};
}

async function load(file) {
    let loaded;
    try {
        loaded = JSON.parse(await file.text());
    } catch {
        return say(`${file.name} is not JSON`);
    }
    const z = Array.isArray(loaded) ? loaded : loaded?.z;
    if (!Array.isArray(z) || z.length !== nz || !z.every(Number.isFinite)) {
        return say(`${file.name} has no z of ${nz} numbers`);
    }
    stopWalk();
    remember();
    const other = loaded.network && loaded.network.sha256 !== facts.network.sha256;
    await show({z: Float32Array.from(z), number: Number.isInteger(loaded.number) && !other ? loaded.number : null,
                name: typeof loaded.name === "string" ? loaded.name.slice(0, 80) : file.name.replace(/\.json$/, "")});
    say(other ? `${file.name} was made with another network; this network generates a different cell from it`
        : `Loaded ${file.name}`);
}

// ------------------------------------------------------------------------------------------------ the controls

function buildChannels() {
    $$("channels").append(...channels.map((name, k) => {
        const tick = element("input", {type: "checkbox", id: `channel${k}`, checked: k < 2});
        tick.addEventListener("change", viewChanged);
        const only = element("button", {type: "button", hidden: channels.length < 3 || k === 0}, "only this");
        only.setAttribute("aria-label", `Show only ${name} and ${channels[0]}`);
        only.addEventListener("click", () => showOnly(k));
        return element("div", {className: "channel"},
                       element("label", {}, element("canvas", {id: `strip${k}`, width: size.width, height: size.height}),
                               element("span", {}, tick, element("i", {id: `swatch${k}`}), name)), only);
    }));
}

function showOnly(k) {
    channels.forEach((_, j) => $$(`channel${j}`).checked = j === 0 || j === k);
    viewChanged();
    say(k === 0 ? `${channels[0]} alone` : `${channels[0]} and ${channels[k]}`);
}

function viewChanged() {
    $$("screen").classList.toggle("pixels", !$$("smooth").checked);
    if (!cell.pixels) return;
    repaint();
    showKept();
    for (const {canvas, pixels} of previews) if (pixels) paintAs(canvas, pixels);
}

function toggleChannel(k, only) {
    if (k >= channels.length) return;
    if (only) return showOnly(k);
    $$(`channel${k}`).checked = !$$(`channel${k}`).checked;
    viewChanged();
    say(`${channels[k]} ${$$(`channel${k}`).checked ? "shown" : "hidden"}`);
}

const KEYS = {r: random, p: walk, k: keep, u: undo, 0: average, "?": () => $$("keys").showModal()};

function onKey(event) {
    const typing = event.target.matches("input[type=number], select, textarea") || $$("keys").open;
    if (typing || event.ctrlKey || event.metaKey || event.altKey || !cell.pixels) return;
    const digit = /^Digit([1-9])$/.exec(event.code);
    if (digit) toggleChannel(digit[1] - 1, event.shiftKey);
    else if (KEYS[event.key.toLowerCase()]) KEYS[event.key.toLowerCase()]();
    else return;
    event.preventDefault();
}

function build() {
    const {network} = facts;
    $$("about").textContent = `${network.architecture}, ${network.algorithm}, ${network.iteration.toLocaleString("en")} `
        + `iterations; ${size.width} × ${size.height} pixels${channels.length > 1 ? `, ${channels.length} channels` : ""}; `
        + `latent vector of ${nz} numbers.`;
    $$("palette").parentElement.hidden = channels.length === 1;
    const palettes = Object.keys(PALETTES).map(name => element("option", {}, name));
    $$("palette").append(element("optgroup", {label: "colour-blind safe"}, ...palettes.slice(0, FOR_ALL_EYES)),
                         element("optgroup", {label: "others"}, ...palettes.slice(FOR_ALL_EYES)));
    $$("number").max = facts.numbered - 1;
    $$("number").title = `0 to ${facts.numbered - 1}: the cells that predict.py -s generates`;
    $$("cell").width = size.width;
    $$("cell").height = size.height;
    if (size.pixel_size_um) {
        const {length, share} = scaleBar(size.width * size.pixel_size_um);
        $$("bar").hidden = false;
        $$("bar").style.cssText = `width: ${100 * share}%; right: 2.5%`;
        $$("bar").firstChild.textContent = `${length} µm`;
    }
    buildChannels();
    const all = floatsOf("directions");
    let at = 0;
    for (const group of groups) {
        group.directions = all.subarray(at, at += group.size * group.size);
    }
    if (codes.length) {
        $$("sliders").append(section("Codes", "features that the network discovered without labels",
                                     ...codes.map(buildCode)));
    }
    for (const group of groups) $$("sliders").append(buildGroup(group));
    showKept();
}

function listen() {
    const onClick = {random, keep, undo, average, play: walk, png: savePng, "strip-png": saveStrip, gif: saveGif,
                     help: KEYS["?"], json: () => save(new Blob([JSON.stringify(exported(), null, 1)],
                                                                 {type: "application/json"}), fileName(".json"))};
    for (const [id, action] of Object.entries(onClick)) $$(id).addEventListener("click", () => action());
    const asked = () => Math.min(facts.numbered - 1, Math.max(0, Math.round(Number($$("number").value))));
    const showAsked = () => (stopWalk(), showNumber(asked()));
    $$("number").addEventListener("change", () => asked() !== cell.number && showAsked());
    $$("number").addEventListener("keydown", event => event.key === "Enter" && (event.preventDefault(), showAsked()));
    for (const id of ["palette", "gain", "smooth"]) $$(id).addEventListener("input", viewChanged);
    let blending = false;
    $$("blend").addEventListener("input", () => {
        if (!blending) remember();
        blending = true;
        blend();
    });
    $$("blend").addEventListener("change", () => blending = false);
    $$("load").addEventListener("change", async event => {
        if (event.target.files.length) await load(event.target.files[0]);
        event.target.value = "";
    });
    $$("copy").addEventListener("click", async () => {
        try {
            await navigator.clipboard.writeText($$("command").textContent);
            say("Command copied");
        } catch {
            getSelection().selectAllChildren($$("command"));
            say("Command selected: copy it with the keyboard");
        }
    });
    document.addEventListener("keydown", onKey);
}

try {
    build();
    numbered = floatsOf("numbered");
    draw = await openNetwork();
    await show(numberedCell(0));
    $$("loading").hidden = true;
    listen();
    document.documentElement.dataset.ready = "";
} catch (problem) {
    complain(problem);
}
