/* The network: unpacked from this page, and run by ONNX Runtime in WebAssembly. Nothing is asked from any server. */

/* The bytes of a base64 text of the page, which is then dropped: it is larger than all the rest of the page. */
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

/* Returns draw(z), which promises Float32Array (channels * height * width) in [-1, 1] for z, Float32Array (nz). */
async function openNetwork() {
    const address = URL.createObjectURL(new Blob([bytesOf("runtime")], {type: "text/javascript"}));
    const ort = await import(address);
    URL.revokeObjectURL(address);
    // A page that is opened from a file has neither shared memory, for threads, nor an address to load a worker from.
    Object.assign(ort.env.wasm, {numThreads: 1, proxy: false, wasmBinary: (await unzipped("runtime-wasm")).buffer});
    const session = await ort.InferenceSession.create(await unzipped("network"), {executionProviders: ["wasm"]});
    let last = Promise.resolve();
    return z => {                       // a session can't do two things at the same time
        const input = {z: new ort.Tensor("float32", Float32Array.from(z), [1, z.length])};
        const drawn = last.then(async () => (await session.run(input)).pixels.data);
        last = drawn.catch(() => {});
        return drawn;
    };
}
