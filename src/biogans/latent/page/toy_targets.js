/* Distributions of real points in the square [-3, 3] x [-3, 3]. */

const RANGE = 3;
const RING = Array.from({length: 8}, (_, k) => [2 * Math.cos(Math.PI * k / 4), 2 * Math.sin(Math.PI * k / 4)]);
const JITTER = 0.05;                    // standard deviation of a mode of the ring, and of points around drawn ones

const around = ([x, y], width, random) => [x + width * random.normal(), y + width * random.normal()];

/* {name: function (random, drawn points) -> one point}; the ring is that of notebook 1 of the course. */
const TARGETS = {
    "ring of eight modes": random => around(RING[random.below(8)], JITTER, random),
    "two moons": random => {
        const angle = Math.PI * random.uniform(), upper = random.uniform() < 0.5;
        const moon = upper ? [1.5 * Math.cos(angle) - 0.75, 1.5 * Math.sin(angle) - 0.4]
            : [0.75 - 1.5 * Math.cos(angle), 0.4 - 1.5 * Math.sin(angle)];
        return around(moon, 0.08, random);
    },
    "one Gaussian": random => around([1, 0.5], 0.5, random),
    "your own points": (random, drawn) => around(drawn[random.below(drawn.length)], JITTER, random),
};

/* Real points (count * 2). */
function realPoints(target, count, random, drawn) {
    const points = new Float64Array(2 * count);
    for (let k = 0; k < count; k++) points.set(TARGETS[target](random, drawn), 2 * k);
    return points;
}

/* Number of modes of the ring that have at least 2 % of the points (count * 2) within 0.3 of their centre. */
function modesCovered(points) {
    const near = RING.map(([x, y]) => {
        let count = 0;
        for (let k = 0; k < points.length; k += 2) count += Math.hypot(points[k] - x, points[k + 1] - y) < 0.3;
        return count;
    });
    return near.filter(count => count >= 0.02 * points.length / 2).length;
}

/* Mean distance of a point of `a` to a point of `b`. */
function meanDistance(a, b) {
    let sum = 0;
    for (let j = 0; j < a.length; j += 2) {
        for (let k = 0; k < b.length; k += 2) sum += Math.sqrt((a[j] - b[k]) ** 2 + (a[j + 1] - b[k + 1]) ** 2);
    }
    return sum / (a.length / 2) / (b.length / 2);
}
