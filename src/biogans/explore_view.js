/* Pixels of the network -> colours on the screen. Channel 0 is the growth marker, the others are factors. */

/* The colours of the marker and of the factor, where one factor is shown. */
const PALETTES = {
    "magenta, green (for all eyes)": [[255, 0, 255], [0, 255, 0]],
    "azure, amber (for all eyes)": [[60, 130, 255], [255, 165, 40]],
    "red, green": [[255, 0, 0], [0, 255, 0]],
    "gray, green": [[255, 255, 255], [0, 255, 0]],
    "gray": [[255, 255, 255], [255, 255, 255]],
};

/* Okabe and Ito's colours, brightened for a black ground: of factors that are shown together, as in figures.py. */
const HUES = [[255, 158, 26], [89, 184, 255], [26, 204, 128], [255, 242, 77], [255, 89, 51], [230, 128, 217]];
const MARKER_AMONG_MANY = [150, 150, 150];

/* The colour of each channel, null for those that are not shown. */
function coloursOf(shown, palette) {
    const [marker, factor] = PALETTES[palette], several = shown.slice(1).filter(Boolean).length > 1;
    return shown.map((visible, k) => !visible ? null
        : shown.length === 1 ? [255, 255, 255]
        : k === 0 ? several && palette !== "gray" ? MARKER_AMONG_MANY : marker
        : several && palette !== "gray" ? HUES[(k - 1) % HUES.length] : factor);
}

/* Paint pixels (channels * height * width, in [-1, 1]) onto a canvas, whose size becomes that of the image. */
function paint(canvas, pixels, size, colours, gain) {
    const {height, width} = size, area = height * width;
    Object.assign(canvas, {width, height});
    const image = new ImageData(width, height);
    const lit = colours.map((colour, k) => colour && {colour, start: k * area}).filter(Boolean);
    for (let at = 0; at < area; at++) {
        let [red, green, blue] = [0, 0, 0];
        for (const {colour, start} of lit) {
            const light = gain * (pixels[start + at] + 1) / 2;
            red += light * colour[0];
            green += light * colour[1];
            blue += light * colour[2];
        }
        image.data.set([red, green, blue, 255], 4 * at);        // rounded and cut off at 0 and 255 by its type
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
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
