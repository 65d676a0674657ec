/* Pixels of the network -> colours on the screen. Channel 0 is the growth marker, the others are factors. */

/* Colours of the marker and of the factor when one factor is shown. */
const FOR_ALL_EYES = 2;                     // the first two are colour-blind safe
const PALETTES = {
    "magenta, green": [[255, 0, 255], [0, 255, 0]],
    "azure, amber": [[60, 130, 255], [255, 165, 40]],
    "red, green": [[255, 0, 0], [0, 255, 0]],
    "gray, green": [[255, 255, 255], [0, 255, 0]],
    "gray": [[255, 255, 255], [255, 255, 255]],
};

/* Colours of several factors shown together: Okabe and Ito's, brightened for a black background, as in figures.py. */
const HUES = [[255, 158, 26], [89, 184, 255], [26, 204, 128], [255, 242, 77], [255, 89, 51], [230, 128, 217]];
const MARKER_AMONG_MANY = [255, 255, 255];
const TRANSMITTED = [255, 255, 255];        // a constant that `paint` recognises

/* Whether several factors are shown, each in its own hue. */
const areMany = (shown, palette, transmitted) => palette !== "gray"
    && shown.filter((visible, k) => visible && k && !transmitted.includes(k)).length > 1;

/* The colour of each channel; null for hidden ones. `transmitted` are the positions of the channels of that light. */
function coloursOf(shown, palette, transmitted) {
    const [marker, factor] = PALETTES[palette], many = areMany(shown, palette, transmitted);
    return shown.map((visible, k) => !visible ? null
        : transmitted.includes(k) ? TRANSMITTED
        : shown.length === 1 ? [255, 255, 255]
        : k === 0 ? many ? MARKER_AMONG_MANY : marker
        : many ? HUES[(k - 1) % HUES.length] : factor);
}

/* Paint pixels (channels * height * width, in [-1, 1]) onto a canvas, which takes the size of the image.

The light of all channels that have a colour is added; with `many`, channels compete for each pixel. They cover
transmitted light: the brighter, the more opaque, as in `merge` of palettes.py. */
function paint(canvas, pixels, size, colours, gain, many = false) {
    const {height, width} = size, area = height * width;
    Object.assign(canvas, {width, height});
    const image = new ImageData(width, height);
    const lit = colours.map((colour, k) => colour && {colour, light: pixels.subarray(k * area, (k + 1) * area).map(
        value => (value + 1) / 2)}).filter(Boolean);
    const background = lit.filter(({colour}) => colour === TRANSMITTED);
    const above = lit.filter(({colour}) => colour !== TRANSMITTED), mixed = many ? standingOut(above, area) : above;
    for (let at = 0; at < area; at++) {
        let [red, green, blue] = [0, 0, 0], cover = 0;
        for (const {colour, light} of mixed) {
            red += light[at] * colour[0];
            green += light[at] * colour[1];
            blue += light[at] * colour[2];
            cover = Math.max(cover, light[at]);
        }
        const gray = 255 * (1 - cover) * background.reduce((most, {light}) => Math.max(most, light[at]), 0);
        [red, green, blue] = [red + gray, green + gray, blue + gray];
        image.data.set([gain * red, gain * green, gain * blue, 255], 4 * at);   // its type rounds and clips
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
}

function quantile(values, share) {
    const sorted = values.slice().sort(), position = share * (sorted.length - 1), below = Math.floor(position);
    return sorted[below] + (position - below) * (sorted[Math.min(below + 1, sorted.length - 1)] - sorted[below]);
}

/* Light [{colour, light}] of channels that compete for each pixel, as in `composite` of figures.py; a sum of many hues
would be white everywhere. Each channel counts relative to its own level in the cell's body, which is gray. */
function standingOut(lit, area) {
    const mean = new Float32Array(area);
    for (const {light} of lit) {
        const largest = Math.max(light.reduce((most, value) => Math.max(most, value), 0), 1e-6);
        light.forEach((value, at) => mean[at] += value / largest / lit.length);
    }
    const average = mean.reduce((sum, value) => sum + value) / area, within = (_, at) => mean[at] >= 0.99 * average;
    const levels = lit.map(({light}) => {
        const inside = light.filter(within), [dark, bright] = [quantile(inside, 0.5), quantile(inside, 0.99)];
        const range = Math.max(bright - dark, bright / 2, 1e-6);
        return light.map(value => Math.min(Math.max(((value - dark) / range - 0.3) / 0.7, 0), 1));
    });
    const body = Math.max(quantile(mean.filter(within), 0.9), 1e-6), gray = new Float32Array(area);
    for (let at = 0; at < area; at++) {
        const here = levels.map(level => level[at]), most = Math.max(...here);
        const sum = Math.max(here.reduce((all, level) => all + level ** 2, 0), 1e-9);
        levels.forEach((level, k) => level[at] = here[k] ** 2 / sum * most);
        gray[at] = 0.35 * Math.min(mean[at] / body, 1) * (1 - most);
    }
    return [...lit.map(({colour}, k) => ({colour, light: levels[k]})), {colour: [255, 255, 255], light: gray}];
}

/* A copy of a canvas, each side `scale` times as long. */
function enlarged(canvas, scale, smooth) {
    const copy = document.createElement("canvas");
    Object.assign(copy, {width: scale * canvas.width, height: scale * canvas.height});
    const pen = copy.getContext("2d");
    Object.assign(pen, {imageSmoothingEnabled: smooth, imageSmoothingQuality: "high"});
    pen.drawImage(canvas, 0, 0, copy.width, copy.height);
    return copy;
}

/* The scale bar: a round number of micrometres that is about a quarter of the width. */
function scaleBar(micrometresWide) {
    const most = micrometresWide / 4, power = 10 ** Math.floor(Math.log10(most));
    const length = [5, 2, 1].map(digit => digit * power).find(length => length <= most);
    return {length, share: length / micrometresWide};
}
