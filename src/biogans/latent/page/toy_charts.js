/* Curves over the iterations: losses, and the distance between real and generated points. */

const MARGIN = {left: 40, right: 10, top: 8, bottom: 20};
const WILD = 0.02;                      // of the values at either end, which do not count for the limits of the losses

/* Round numbers between two limits, about four of them. */
function ticksBetween(least, most) {
    const rough = (most - least) / 4, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map(digit => digit * power).find(step => step >= rough);
    const first = Math.ceil(least / step - 1e-9);
    return Array.from({length: Math.floor(most / step + 1e-9) - first + 1}, (_, k) => (first + k) * step);
}

const shortNumber = number => `${+number.toPrecision(3)}`.replace("-", "−");

/* Limits that leave out the wildest values, widened a little. */
function limitsOf(values) {
    const sorted = values.slice().sort((a, b) => a - b), last = sorted.length - 1;
    const least = sorted[Math.floor(WILD * last)], most = sorted[Math.ceil((1 - WILD) * last)];
    const room = 0.08 * (most - least) || 0.5;
    return [least - room, most + room];
}

/* Draw curves.

series   {iterations, values, colour, dash} each
axis     {limits: [least, most], ticks, place: value -> share of the height, from 0 at the bottom to 1} */
function drawChart(canvas, series, last, axis) {
    const {pen, width, height} = penFor(canvas), {ink} = colours();
    const across = iteration => MARGIN.left + (width - MARGIN.left - MARGIN.right) * iteration / Math.max(last, 1);
    const up = value => height - MARGIN.bottom - (height - MARGIN.top - MARGIN.bottom) * axis.place(value);
    pen.font = "12px system-ui, sans-serif";
    pen.fillStyle = css(ink, 0.8);
    pen.strokeStyle = css(ink, 0.15);
    pen.lineWidth = 1;
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    for (const tick of axis.ticks) {
        pen.fillText(shortNumber(tick), MARGIN.left - 6, up(tick));
        line(pen, [[MARGIN.left, up(tick)], [width - MARGIN.right, up(tick)]]);
    }
    pen.textBaseline = "alphabetic";
    for (const tick of ticksBetween(0, Math.max(last, 1)).filter(Number.isInteger)) {
        pen.textAlign = tick ? across(tick) > width - 30 ? "right" : "center" : "left";
        pen.fillText(tick.toLocaleString("en"), Math.min(across(tick), width - 2), height - 5);
    }
    pen.save();
    pen.beginPath();
    pen.rect(MARGIN.left, MARGIN.top, width - MARGIN.left - MARGIN.right, height - MARGIN.top - MARGIN.bottom);
    pen.clip();
    pen.lineWidth = 2;
    for (const {iterations, values, colour, dash} of series) {
        pen.setLineDash(dash);
        pen.strokeStyle = css(colour);
        line(pen, values.map((value, k) => [across(iterations[k]), up(value)]));
    }
    pen.restore();
}

function line(pen, places) {
    pen.beginPath();
    for (const [x, y] of places) pen.lineTo(x, y);
    pen.stroke();
}

function drawLosses(canvas, {history}) {
    const rows = history.slice(1), iterations = rows.map(row => row.iteration), {critic, fake} = colours();
    const limits = rows.length ? limitsOf(rows.flatMap(row => [row.critic, row.generator])) : [0, 1];
    drawChart(canvas, [{iterations, values: rows.map(row => row.critic), colour: critic, dash: []},
                       {iterations, values: rows.map(row => row.generator), colour: fake, dash: [6, 4]}],
              history.at(-1).iteration,
              {ticks: ticksBetween(...limits), place: value => (value - limits[0]) / (limits[1] - limits[0])});
}

/* The distance on a logarithmic axis, and the distance of other real points. */
function drawDistance(canvas, {history, floor}) {
    const iterations = history.map(row => row.iteration), values = history.map(row => row.distance);
    const {ink, real} = colours(), last = history.at(-1).iteration;
    const least = Math.log10(Math.min(0.008, floor / 1.5)), most = Math.log10(Math.max(1, ...values) * 1.3);
    drawChart(canvas, [{iterations: [0, Math.max(last, 1)], values: [floor, floor], colour: real, dash: [2, 4]},
                       {iterations, values, colour: ink, dash: []}], last,
              {ticks: [0.01, 0.1, 1, 10].filter(tick => Math.log10(tick) < most),
               place: value => (Math.log10(Math.max(value, 1e-9)) - least) / (most - least)});
}
