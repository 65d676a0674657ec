/* The network: unpacked from this page and run by ONNX Runtime in WebAssembly, without any request to a server. */

/* Decode a base64 element of the page, and remove the element to free its memory. */
function bytesOf(id) {
    const element = document.getElementById(id);
    const text = atob(element.textContent);
    element.remove();
    const bytes = new Uint8Array(text.length);
    for (let k = 0; k < text.length; k++) bytes[k] = text.charCodeAt(k);
    return bytes;
}

async function unzipped(id) {
    const stream = new Blob([bytesOf(id)]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
}

const floatsOf = id => new Float32Array(bytesOf(id).buffer);

/* Open the network; returns an asynchronous function of z, Float32Array (nz), whose result is a Float32Array
(channels * height * width) in [-1, 1]. */
async function openNetwork() {
    const address = URL.createObjectURL(new Blob([bytesOf("runtime")], {type: "text/javascript"}));
    const ort = await import(address);
    URL.revokeObjectURL(address);
    // A page opened from a file has no shared memory, which threads need, and no address to load a worker from.
    Object.assign(ort.env.wasm, {numThreads: 1, proxy: false, wasmBinary: (await unzipped("runtime-wasm")).buffer});
    const session = await ort.InferenceSession.create(await unzipped("network"), {executionProviders: ["wasm"]});
    let last = Promise.resolve();
    return z => {                       // a session cannot run twice at the same time
        const input = {z: new ort.Tensor("float32", Float32Array.from(z), [1, z.length])};
        const drawn = last.then(async () => (await session.run(input)).pixels.data);
        last = drawn.catch(() => {});
        return drawn;
    };
}
