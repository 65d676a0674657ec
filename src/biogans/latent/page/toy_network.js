/* Fully connected networks with leaky ReLU, their derivatives by back-propagation, and Adam.

All weights of a network are one array, and gradients have its layout. A batch of points is one array, row by row; the
number of its rows is a multiple of 4. */

const LEAK = 0.2;                       // slope of the activation below 0

/* Views of the kernel (outputs * inputs) and the bias (outputs) of each layer in an array of all weights. */
function layersOf(sizes, weights) {
    let at = 0;
    return sizes.slice(1).map((outputs, k) => {
        const inputs = sizes[k], kernel = weights.subarray(at, at += inputs * outputs);
        return {inputs, outputs, kernel, bias: weights.subarray(at, at += outputs)};
    });
}

/* {sizes, weights, layers}; `sizes` are the numbers of units from the input to the output. Initial kernels are as in
He et al. 2015: normal, with the variance 2 / inputs. */
function buildNetwork(sizes, random) {
    const weights = new Float64Array(sizes.slice(1).reduce((sum, outputs, k) => sum + outputs * (sizes[k] + 1), 0));
    const layers = layersOf(sizes, weights);
    for (const {inputs, kernel} of layers) {
        for (let k = 0; k < kernel.length; k++) kernel[k] = random.normal() * Math.sqrt(2 / inputs);
    }
    return {sizes, weights, layers};
}

/* Products (count * outputs) of a kernel with each row of a batch (count * inputs), plus the bias if there is one.

The three functions with two inner loops take four rows at a time: this halves their time, which is that of the page. */
function times({inputs, outputs, kernel}, rows, bias) {
    const count = rows.length / inputs, result = new Float64Array(count * outputs);
    for (let row = 0; row < count; row += 4) {
        const a = row * inputs, b = a + inputs, c = b + inputs, d = c + inputs;
        for (let j = 0, at = row * outputs; j < outputs; j++, at++) {
            let first = bias ? bias[j] : 0, second = first, third = first, fourth = first;
            for (let k = 0, w = j * inputs; k < inputs; k++) {
                const weight = kernel[w + k];
                first += weight * rows[a + k];
                second += weight * rows[b + k];
                third += weight * rows[c + k];
                fourth += weight * rows[d + k];
            }
            result[at] = first;
            result[at + outputs] = second;
            result[at + 2 * outputs] = third;
            result[at + 3 * outputs] = fourth;
        }
    }
    return result;
}

/* What back-propagation needs: {outputs, inputs of each layer, slopes of the activation of each hidden unit}. */
function forward({layers}, batch) {
    const inputs = [batch], slopes = [];
    layers.forEach((layer, k) => {
        const values = times(layer, inputs[k], layer.bias);
        if (k < layers.length - 1) {
            slopes.push(new Float64Array(values.length));
            for (let at = 0; at < values.length; at++) values[at] *= slopes[k][at] = values[at] > 0 ? 1 : LEAK;
        }
        inputs.push(values);
    });
    return {outputs: inputs.pop(), inputs, slopes};
}

/* The derivative of a loss by the input (count * inputs), from its derivative by the output (count * outputs).

gradients   the layers of an array to which the derivatives by the weights are added; none: they are not computed
bias        whether the loss depends on the biases */
function backward({layers}, {inputs, slopes}, byOutput, gradients, bias = true) {
    let error = byOutput;
    for (let k = layers.length - 1; k >= 0; k--) {
        if (gradients) addGradient(gradients[k], inputs[k], error, bias);
        error = timesTransposed(layers[k], error);
        if (k > 0) for (let at = 0; at < error.length; at++) error[at] *= slopes[k - 1][at];
    }
    return error;
}

/* Products (count * inputs) of the transposed kernel with each row (count * outputs). */
function timesTransposed({inputs, outputs, kernel}, errors) {
    const count = errors.length / outputs, result = new Float64Array(count * inputs);
    for (let row = 0; row < count; row += 4) {
        const a = row * inputs, b = a + inputs, c = b + inputs, d = c + inputs;
        for (let j = 0, at = row * outputs; j < outputs; j++, at++) {
            const first = errors[at], second = errors[at + outputs];
            const third = errors[at + 2 * outputs], fourth = errors[at + 3 * outputs];
            for (let k = 0, w = j * inputs; k < inputs; k++) {
                const weight = kernel[w + k];
                result[a + k] += first * weight;
                result[b + k] += second * weight;
                result[c + k] += third * weight;
                result[d + k] += fourth * weight;
            }
        }
    }
    return result;
}

/* Add the products of errors (count * outputs) and inputs (count * inputs) of a layer to its gradient. */
function addGradient({inputs, outputs, kernel, bias}, rows, errors, withBias) {
    const count = rows.length / inputs;
    for (let row = 0; row < count; row += 4) {
        const a = row * inputs, b = a + inputs, c = b + inputs, d = c + inputs;
        for (let j = 0, at = row * outputs; j < outputs; j++, at++) {
            const first = errors[at], second = errors[at + outputs];
            const third = errors[at + 2 * outputs], fourth = errors[at + 3 * outputs];
            if (withBias) bias[j] += first + second + third + fourth;
            for (let k = 0, w = j * inputs; k < inputs; k++) {
                kernel[w + k] += first * rows[a + k] + second * rows[b + k] + third * rows[c + k]
                    + fourth * rows[d + k];
            }
        }
    }
}

/* Gradients (count * 2) of the score with respect to each point of a trace of `forward`. */
function slopesOfScore(critic, trace) {
    return backward(critic, trace, new Float64Array(trace.outputs.length).fill(1));
}

/* Add the gradient of a penalty on slopes to `gradients`, given its derivative (count * 2) by the slope at each point.

Let g be the slope of the score f at a point and v the derivative of the penalty by g. By the chain rule, the penalty
has the gradient of v · g with respect to the weights, with v held constant; v · g is the derivative of f along v. That
derivative is the output of the same network with v as its input, without biases, and with the slopes of the activations
at the point in place of the activations (Pearlmutter 1994, "Fast exact multiplication by the Hessian", applied to the
input). These slopes are constant, except at the kinks of the leaky ReLU. So the second derivative of the network is a
back-propagation through this linear one. */
function addSlopeGradient(critic, trace, bySlope, gradients) {
    const inputs = [bySlope];
    critic.layers.slice(0, -1).forEach((layer, k) => {
        const values = times(layer, inputs[k]);
        for (let at = 0; at < values.length; at++) values[at] *= trace.slopes[k][at];
        inputs.push(values);
    });
    const ones = new Float64Array(trace.outputs.length).fill(1);
    backward(critic, {inputs, slopes: trace.slopes}, ones, gradients, false);
}

/* Adam (Kingma and Ba 2015, algorithm 1) for an array of weights. */
function buildAdam(length) {
    return {first: new Float64Array(length), second: new Float64Array(length), steps: 0};
}

function adamStep(adam, weights, gradient, {rate, beta1, beta2}) {
    const {first, second} = adam, steps = ++adam.steps;
    const size = rate * Math.sqrt(1 - beta2 ** steps) / (1 - beta1 ** steps);
    for (let k = 0; k < weights.length; k++) {
        first[k] = beta1 * first[k] + (1 - beta1) * gradient[k];
        second[k] = beta2 * second[k] + (1 - beta2) * gradient[k] ** 2;
        weights[k] -= size * first[k] / (Math.sqrt(second[k]) + 1e-8);
    }
}
