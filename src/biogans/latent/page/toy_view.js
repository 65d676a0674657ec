/* The picture: background, slopes, real and generated points in the square of toy_targets.js. */

const CELLS = 32;                       // of the background, in each direction
const FIELD = 14;                       // arrows of a grid, in each direction
const FOLLOWED = 100;                   // generated points with an arrow
const BANDWIDTH = 0.18;                 // of the densities: standard deviation of a Gaussian at each point

/* Colours of Okabe and Ito, which colour-blind people tell apart, as in the course. */
const COLOURS = {
    light: {paper: [255, 255, 255], ink: [29, 26, 34], real: [0, 114, 178], fake: [213, 94, 0], critic: [0, 126, 92]},
    dark: {paper: [30, 27, 36], ink: [238, 234, 243], real: [86, 180, 233], fake: [240, 140, 40],
           critic: [50, 200, 150]},
};

const css = ([red, green, blue], opacity = 1) => `rgb(${red} ${green} ${blue} / ${opacity})`;
const isDark = () => getComputedStyle(document.documentElement).colorScheme === "dark"
    || !document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches;
const colours = () => COLOURS[isDark() ? "dark" : "light"];

/* Give a canvas the pixels of the screen that it covers; returns a pen in units of CSS pixels. */
function penFor(canvas) {
    const {clientWidth: width, clientHeight: height} = canvas, scale = devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
        canvas.width = Math.round(width * scale);
        canvas.height = Math.round(height * scale);
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    return {pen, width, height};
}

/* Centres (count² * 2) of the squares of a grid, row by row from the top. */
function gridPoints(count) {
    const at = k => RANGE * (2 * (k + 0.5) / count - 1), points = new Float64Array(2 * count * count);
    for (let row = 0, k = 0; row < count; row++) {
        for (let column = 0; column < count; column++) points.set([at(column), -at(row)], 2 * k++);
    }
    return points;
}
const GRID = gridPoints(CELLS), FIELD_GRID = gridPoints(FIELD);

/* Density of points (count * 2) at the squares of GRID: the mean of a Gaussian around each point. */
function density(points) {
    const line = k => Float64Array.from({length: CELLS}, (_, cell) => {
        const away = (GRID[2 * cell] - points[k]) / BANDWIDTH;
        return Math.exp(-away * away / 2);
    });
    const result = new Float64Array(CELLS * CELLS), share = 2 / points.length / (2 * Math.PI * BANDWIDTH ** 2);
    for (let k = 0; k < points.length; k += 2) {
        const across = line(k), upwards = line(k + 1);
        for (let row = 0; row < CELLS; row++) {
            const weight = share * upwards[CELLS - 1 - row];
            if (weight < 1e-9) continue;
            for (let column = 0; column < CELLS; column++) result[row * CELLS + column] += weight * across[column];
        }
    }
    return result;
}

/* What the background shows at each square of GRID, from -1 (generated) through 0 to 1 (real). */
const BACKGROUNDS = {
    "score of the critic": game => {
        const scores = forward(game.critic, GRID).outputs;
        if (ALGORITHMS[game.settings.algorithm].probability) return scores.map(score => 2 * sigmoid(score) - 1);
        const least = Math.min(...scores), most = Math.max(...scores), range = Math.max(most - least, 1e-12);
        return scores.map(score => 2 * (score - least) / range - 1);
    },
    "best discriminator": game => {
        const real = density(game.shownReal), fake = density(generatedPoints(game));
        // Far from all points both densities are 0: the constant leaves the discriminator undecided there.
        return real.map((value, k) => (value - fake[k]) / (value + fake[k] + 2e-3));
    },
    "density of real points": game => {
        const values = density(game.shownReal), most = Math.max(...values);
        return values.map(value => value / most);
    },
    "density of generated points": game => {
        const values = density(generatedPoints(game)), most = Math.max(...values);
        return values.map(value => -value / most);
    },
};

const small = document.createElement("canvas");     // one pixel for each square of GRID
Object.assign(small, {width: CELLS, height: CELLS});

function drawBackground(pen, size, values) {
    const {paper, real, fake} = colours(), image = new ImageData(CELLS, CELLS);
    for (let k = 0; k < values.length; k++) {
        const hue = values[k] > 0 ? real : fake, share = 0.55 * Math.min(1, Math.abs(values[k]));
        for (let c = 0; c < 3; c++) image.data[4 * k + c] = paper[c] + share * (hue[c] - paper[c]);
        image.data[4 * k + 3] = 255;
    }
    small.getContext("2d").putImageData(image, 0, 0);
    pen.imageSmoothingEnabled = true;
    pen.drawImage(small, 0, 0, size, size);
}

/* Directions (count * 2) in which the generator's loss falls if a generated point at each of `points` moves. */
function slopesFollowed(game, points) {
    const trace = forward(game.critic, points), {generator} = ALGORITHMS[game.settings.algorithm];
    return backward(game.critic, trace, trace.outputs.map(score => -generator(score)[1]));
}

const lengthsOf = slopes => Array.from({length: slopes.length / 2},
                                       (_, k) => Math.hypot(slopes[2 * k], slopes[2 * k + 1]));

/* Mean length of the slopes that the shown generated points follow. */
function meanSlope(game) {
    const lengths = lengthsOf(slopesFollowed(game, generatedPoints(game)));
    return lengths.reduce((sum, length) => sum + length, 0) / lengths.length;
}

/* Points at which arrows begin, for each choice. */
const ARROWS = {
    "at generated points": game => generatedPoints(game).subarray(0, 2 * FOLLOWED),
    "on a grid": () => FIELD_GRID,
    "none": () => new Float64Array(0),
};

/* Arrows are relative: the longest one has a fixed length. */
function drawArrows(pen, toScreen, game, points) {
    if (!points.length) return;
    const slopes = slopesFollowed(game, points), most = Math.max(...lengthsOf(slopes), 1e-12), reach = 0.5 / most;
    pen.strokeStyle = css(colours().ink, 0.75);
    pen.lineWidth = 1.2;
    pen.beginPath();
    for (let k = 0; k < points.length; k += 2) {
        const [x, y] = toScreen(points[k], points[k + 1]);
        const [endX, endY] = toScreen(points[k] + reach * slopes[k], points[k + 1] + reach * slopes[k + 1]);
        const length = Math.hypot(endX - x, endY - y), head = Math.min(4, 0.5 * length);
        if (length < 1) continue;
        const angle = Math.atan2(endY - y, endX - x);
        pen.moveTo(x, y);
        pen.lineTo(endX, endY);
        for (const side of [-2.6, 2.6]) {
            pen.moveTo(endX, endY);
            pen.lineTo(endX + head * Math.cos(angle + side), endY + head * Math.sin(angle + side));
        }
    }
    pen.stroke();
}

/* Shapes differ too: circles are real, diamonds are generated. */
function drawPoints(pen, toScreen, points, {colour, isDiamond, size}) {
    pen.fillStyle = css(colour);
    pen.strokeStyle = css(colours().paper);
    pen.lineWidth = 0.8;
    for (let k = 0; k < points.length; k += 2) {
        const [x, y] = toScreen(points[k], points[k + 1]);
        pen.beginPath();
        if (isDiamond) {
            for (const [across, down] of [[0, -1], [1, 0], [0, 1], [-1, 0]]) {
                pen.lineTo(x + 3.6 * size * across, y + 3.6 * size * down);
            }
            pen.closePath();
        } else {
            pen.arc(x, y, 2.6 * size, 0, 2 * Math.PI);
        }
        pen.fill();
        pen.stroke();
    }
}

/* Draw the game. `cursor` is the point [x, y] that the keyboard moves over a drawing, or null. */
function drawScene(canvas, game, {background, arrows, cursor}) {
    const {pen, width} = penFor(canvas);
    const toScreen = (x, y) => [(x / RANGE + 1) / 2 * width, (1 - y / RANGE) / 2 * width];
    drawBackground(pen, width, BACKGROUNDS[background](game));
    const {real, fake} = colours(), size = Math.min(1, Math.max(0.7, width / 560));
    drawPoints(pen, toScreen, game.shownReal, {colour: real, isDiamond: false, size});
    drawPoints(pen, toScreen, generatedPoints(game), {colour: fake, isDiamond: true, size});
    drawArrows(pen, toScreen, game, ARROWS[arrows](game));
    if (cursor) {
        const [x, y] = toScreen(...cursor);
        pen.lineWidth = 2;
        pen.strokeStyle = css(colours().ink);
        pen.strokeRect(x - 6, y - 6, 12, 12);
    }
}
