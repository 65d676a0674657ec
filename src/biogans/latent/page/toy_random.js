/* Random numbers that a seed determines: sfc32 of Chris Doty-Humphrey (PractRand), and normal ones by Box and Muller.

Each purpose has its own stream, so that, for example, more updates of the critic do not change the initial weights. */

const STREAMS = ["generator", "critic", "real", "noise", "between", "shown real", "shown noise"];

function randomStream(seed, purpose) {
    let [a, b, c, counter] = [seed | 0, seed / 2 ** 32 | 0, STREAMS.indexOf(purpose) + 1, 1], spare = null;
    const bits = () => {
        const sum = (a + b + counter) | 0;
        counter = (counter + 1) | 0;
        a = b ^ (b >>> 9);
        b = (c + (c << 3)) | 0;
        c = (((c << 21) | (c >>> 11)) + sum) | 0;
        return sum >>> 0;
    };
    for (let k = 0; k < 20; k++) bits();                // until every bit of the seed has reached every other one
    const uniform = () => bits() / 2 ** 32;             // in [0, 1)
    const normal = () => {
        if (spare !== null) {
            const kept = spare;
            spare = null;
            return kept;
        }
        const radius = Math.sqrt(-2 * Math.log(1 - uniform())), angle = 2 * Math.PI * uniform();
        spare = radius * Math.sin(angle);
        return radius * Math.cos(angle);
    };
    return {uniform, normal, below: count => Math.floor(count * uniform())};
}

/* Points (count * 2) of a standard normal distribution. */
function normalPoints(count, random) {
    return Float64Array.from({length: 2 * count}, random.normal);
}
