/* The latent vector z and its coordinates.

z (nz numbers) is divided into groups. The sliders of a group are the coordinates of its part of z along orthonormal
directions, {start, size, strengths, directions: Float32Array (size * size), one row each}; the codes of an InfoGAN,
{name, kind, indices}, are elements of z themselves. */

function coordinate(z, group, k) {
    let sum = 0;
    for (let j = 0; j < group.size; j++) sum += z[group.start + j] * group.directions[k * group.size + j];
    return sum;
}

/* A copy of z with coordinate `value` along direction k of the group. */
function movedAlong(z, group, k, value) {
    const step = value - coordinate(z, group, k), result = Float32Array.from(z);
    for (let j = 0; j < group.size; j++) result[group.start + j] += step * group.directions[k * group.size + j];
    return result;
}

/* The value of a code: a category, counted from 0, or a number. */
function codeValue(z, code) {
    if (code.kind !== "categorical") return z[code.indices[0]];
    const numbers = code.indices.map(k => z[k]);
    return numbers.indexOf(Math.max(...numbers));
}

function withCode(z, code, value) {
    const result = Float32Array.from(z);
    code.indices.forEach((index, k) => { result[index] = code.kind === "categorical" ? Number(k === value) : value; });
    return result;
}

/* Interpolate between two cells, t in [0, 1]: noise along a sphere, near which random z lie (Shoemake 1985; White
2016), as in biogans interpolate; continuous codes linearly; categories change in the middle. */
function between(first, second, t, codes) {
    const coded = new Set(codes.flatMap(code => code.indices));
    const noise = [...first.keys()].filter(k => !coded.has(k));
    const length = z => Math.max(Math.hypot(...noise.map(k => z[k])), 1e-12), lengths = [length(first), length(second)];
    const cosine = noise.reduce((sum, k) => sum + first[k] * second[k], 0) / lengths[0] / lengths[1];
    const angle = Math.acos(Math.min(1, Math.max(-1, cosine)));
    // Opposite directions have no shortest arc, and equal ones have none at all: interpolate both linearly.
    const straight = angle < 1e-6 || Math.PI - angle < 1e-6;
    const shares = straight ? [1 - t, t] : [Math.sin((1 - t) * angle), Math.sin(t * angle)].map(x => x / Math.sin(angle));
    const now = (1 - t) * lengths[0] + t * lengths[1];
    let result = Float32Array.from(first);
    for (const k of noise) {
        result[k] = straight ? shares[0] * first[k] + shares[1] * second[k]
            : now * (shares[0] * first[k] / lengths[0] + shares[1] * second[k] / lengths[1]);
    }
    for (const code of codes) {
        const values = [codeValue(first, code), codeValue(second, code)];
        result = withCode(result, code, code.kind === "categorical" ? values[Math.round(t)]
            : (1 - t) * values[0] + t * values[1]);
    }
    return result;
}
