/* The game: losses of critic and generator, one iteration, and measurements. No drawing. */

const WIDTH = 32;                       // units in each of the two hidden layers
const BATCH = 32;
const SHOWN = 400;                      // points on the screen, and in the measurements
const EVERY = 20;                       // iterations between measurements
const CLIP = 0.1, LAMBDA = 3, GAMMA = 0.5;

const sigmoid = score => 1 / (1 + Math.exp(-score));
const softplus = score => Math.max(score, 0) + Math.log1p(Math.exp(-Math.abs(score)));

/* A loss of one score: [its value, its derivative]. */
const isReal = score => [softplus(-score), -sigmoid(-score)];
const isGenerated = score => [softplus(score), sigmoid(score)];
const larger = score => [-score, -1];
const smaller = score => [score, 1];

/* As in gan.py of BioGANs; `real` and `fake` are the critic's losses, `generator` is the generator's.

penalty   from the length of the slope at a point: [its value, its derivative by the length]
at        where: at real points, or between real and generated ones */
const ALGORITHMS = {
    "GAN": {real: isReal, fake: isGenerated, generator: isReal, probability: true, beta2: 0.999,
            defaults: {updates: 1, rateD: 2e-3, rateG: 1e-3, momentum: 0.5}},
    "WGAN": {real: larger, fake: smaller, generator: larger, clip: CLIP, beta2: 0.99,
             defaults: {updates: 5, rateD: 1e-3, rateG: 1e-3, momentum: 0}},
    "WGAN-GP": {real: larger, fake: smaller, generator: larger, at: "between", beta2: 0.9,
                penalty: length => [LAMBDA * (length - 1) ** 2, 2 * LAMBDA * (length - 1)],
                defaults: {updates: 5, rateD: 3e-3, rateG: 1.5e-3, momentum: 0}},
    "R1": {real: isReal, fake: isGenerated, generator: isReal, probability: true, at: "real", beta2: 0.99,
           penalty: length => [GAMMA / 2 * length ** 2, GAMMA * length],
           defaults: {updates: 1, rateD: 2e-3, rateG: 1e-3, momentum: 0}},
};

/* A game at its start. `settings`: {algorithm, target, drawn, seed, updates, rateD, rateG, momentum}. */
function newGame(settings) {
    const {seed, target, drawn} = settings, stream = purpose => randomStream(seed, purpose);
    const generator = buildNetwork([2, WIDTH, WIDTH, 2], stream("generator"));
    const critic = buildNetwork([2, WIDTH, WIDTH, 1], stream("critic"));
    const shownReal = realPoints(target, SHOWN, stream("shown real"), drawn);
    const withinReal = meanDistance(shownReal, shownReal);
    const game = {
        settings, generator, critic, shownReal, iteration: 0,
        adamG: buildAdam(generator.weights.length), adamD: buildAdam(critic.weights.length),
        real: stream("real"), noise: stream("noise"), between: stream("between"),
        shownNoise: normalPoints(SHOWN, stream("shown noise")), history: [], sums: [0, 0],
        withinReal, floor: 2 * withinReal / (SHOWN - 1),        // expected distance of two sets of real points
    };
    measure(game);
    return game;
}

const generatedPoints = game => forward(game.generator, game.shownNoise).outputs;

/* Mean loss of the scores; `derivatives` receives the derivative by each score. */
function meanLoss(loss, scores, derivatives) {
    let sum = 0;
    for (let k = 0; k < scores.length; k++) {
        const [value, derivative] = loss(scores[k]);
        sum += value;
        derivatives[k] = derivative / scores.length;
    }
    return sum / scores.length;
}

/* [critic's loss, its gradient] for real and generated points; `shares` (count) place the points in between. */
function criticLoss(critic, algorithm, real, fake, shares) {
    const gradient = new Float64Array(critic.weights.length), layers = layersOf(critic.sizes, gradient);
    let loss = 0;
    for (const [points, judged] of [[real, algorithm.real], [fake, algorithm.fake]]) {
        const trace = forward(critic, points), byScore = new Float64Array(trace.outputs.length);
        loss += meanLoss(judged, trace.outputs, byScore);
        backward(critic, trace, byScore, layers);
    }
    if (algorithm.penalty) {
        const points = algorithm.at === "real" ? real
            : real.map((value, k) => shares[k >> 1] * value + (1 - shares[k >> 1]) * fake[k]);
        loss += addPenalty(critic, algorithm.penalty, points, layers);
    }
    return [loss, gradient];
}

/* The mean penalty at `points`; its gradient is added to `layers`. */
function addPenalty(critic, penalty, points, layers) {
    const trace = forward(critic, points), slopes = slopesOfScore(critic, trace), count = points.length / 2;
    let sum = 0;
    for (let k = 0; k < slopes.length; k += 2) {
        const length = Math.sqrt(slopes[k] ** 2 + slopes[k + 1] ** 2 + 1e-12), [value, derivative] = penalty(length);
        sum += value;
        slopes[k] *= derivative / length / count;
        slopes[k + 1] *= derivative / length / count;
    }
    addSlopeGradient(critic, trace, slopes, layers);
    return sum / count;
}

/* [generator's loss, its gradient] for latent vectors `z` (count * 2). */
function generatorLoss({generator, critic}, algorithm, z) {
    const gradient = new Float64Array(generator.weights.length), trace = forward(generator, z);
    const judged = forward(critic, trace.outputs), byScore = new Float64Array(judged.outputs.length);
    const loss = meanLoss(algorithm.generator, judged.outputs, byScore);
    backward(generator, trace, backward(critic, judged, byScore), layersOf(generator.sizes, gradient));
    return [loss, gradient];
}

/* One iteration: some updates of the critic, then one of the generator. */
function iterate(game) {
    const {settings, critic, generator} = game, algorithm = ALGORITHMS[settings.algorithm];
    const step = rate => ({rate, beta1: settings.momentum, beta2: algorithm.beta2});
    for (let k = 0; k < settings.updates; k++) {
        const real = realPoints(settings.target, BATCH, game.real, settings.drawn);
        const fake = forward(generator, normalPoints(BATCH, game.noise)).outputs;
        const shares = Float64Array.from({length: BATCH}, game.between.uniform);
        const [loss, gradient] = criticLoss(critic, algorithm, real, fake, shares);
        adamStep(game.adamD, critic.weights, gradient, step(settings.rateD));
        if (algorithm.clip) critic.weights.forEach((weight, j) => {
            critic.weights[j] = Math.max(-algorithm.clip, Math.min(algorithm.clip, weight));
        });
        game.sums[0] += loss / settings.updates / EVERY;
    }
    const [loss, gradient] = generatorLoss(game, algorithm, normalPoints(BATCH, game.noise));
    adamStep(game.adamG, generator.weights, gradient, step(settings.rateG));
    game.sums[1] += loss / EVERY;
    game.iteration++;
    if (game.iteration % EVERY === 0) measure(game);
}

/* Add {iteration, mean losses since the last one, energy distance} of the shown points to the history.

The energy distance is 0 for equal sets (Székely and Rizzo 2013, "Energy statistics", eq. 5). */
function measure(game) {
    const generated = generatedPoints(game);
    const between = meanDistance(game.shownReal, generated);
    const distance = 2 * between - game.withinReal - meanDistance(generated, generated);
    const [critic, generator] = game.iteration ? game.sums : [null, null];
    game.history.push({iteration: game.iteration, critic, generator, distance});
    game.sums = [0, 0];
}
