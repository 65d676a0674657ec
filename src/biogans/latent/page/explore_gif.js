/* GIF89a encoder: frames of RGBA pixels -> the bytes of a looping movie. */

/* All frames share one table of 256 colours from a median cut (Heckbert 1982), so nothing flickers. */
function gif(frames, width, height, milliseconds) {
    const {table, indexOf} = colourTable(frames);
    const word = number => [number & 255, number >> 8];
    const text = letters => [...letters].map(letter => letter.charCodeAt(0));
    const parts = [[...text("GIF89a"), ...word(width), ...word(height), 0xf7, 0, 0], table.flat(),
                   [0x21, 0xff, 11, ...text("NETSCAPE2.0"), 3, 1, 0, 0, 0]];
    for (const frame of frames) {
        const pixels = new Uint8Array(width * height);
        for (let k = 0; k < pixels.length; k++) pixels[k] = indexOf[coarse(frame, 4 * k)];
        parts.push([0x21, 0xf9, 4, 0, ...word(Math.round(milliseconds / 10)), 0, 0],
                   [0x2c, 0, 0, 0, 0, ...word(width), ...word(height), 0, 8], compressed(pixels), [0]);
    }
    return new Blob([...parts.map(part => Uint8Array.from(part)), Uint8Array.of(0x3b)], {type: "image/gif"});
}

/* Quantise a colour to 15 bits. */
const coarse = (pixels, at) => pixels[at] >> 3 << 10 | pixels[at + 1] >> 3 << 5 | pixels[at + 2] >> 3;

function colourTable(frames) {
    const counts = new Uint32Array(1 << 15), sums = new Float64Array(3 << 15);
    for (const frame of frames) {
        for (let at = 0; at < frame.length; at += 4) {
            const colour = coarse(frame, at);
            counts[colour]++;
            for (let c = 0; c < 3; c++) sums[3 * colour + c] += frame[at + c];
        }
    }
    const part = (colour, c) => colour >> 5 * (2 - c) & 31;
    const widest = colours => {
        const ranges = [0, 1, 2].map(c => {
            let [low, high] = [31, 0];
            for (const colour of colours) [low, high] = [Math.min(low, part(colour, c)), Math.max(high, part(colour, c))];
            return high - low;
        });
        const range = Math.max(...ranges);
        return {colours, range, axis: ranges.indexOf(range)};
    };
    const boxes = [widest([...counts.keys()].filter(colour => counts[colour]))];
    while (boxes.length < 256) {
        const at = boxes.reduce((best, box, k) => box.range > boxes[best].range ? k : best, 0), {colours, range, axis} = boxes[at];
        if (range === 0) break;
        colours.sort((a, b) => part(a, axis) - part(b, axis));
        let middle = colours.length >> 1;       // the change of value nearest to the middle of the box
        while (middle > 1 && part(colours[middle - 1], axis) === part(colours[middle], axis)) middle--;
        if (part(colours[middle - 1], axis) === part(colours[middle], axis)) {
            while (part(colours[middle - 1], axis) === part(colours[middle], axis)) middle++;
        }
        boxes.splice(at, 1, widest(colours.slice(0, middle)), widest(colours.slice(middle)));
    }
    const indexOf = new Uint8Array(1 << 15);
    const table = Array.from({length: 256}, () => [0, 0, 0]);
    boxes.forEach(({colours}, index) => {
        const pixels = colours.reduce((sum, colour) => sum + counts[colour], 0);
        table[index] = [0, 1, 2].map(c => Math.round(colours.reduce((sum, colour) => sum + sums[3 * colour + c], 0) / pixels));
        for (const colour of colours) indexOf[colour] = index;
    });
    return {table, indexOf};
}

/* LZW with codes of 9 to 12 bits, in blocks of at most 255 bytes. */
function compressed(pixels) {
    const CLEAR = 256, END = 257;
    const bytes = [];
    let bits = 0, held = 0, size, next, known;
    const put = code => {
        held |= code << bits;
        for (bits += size; bits >= 8; bits -= 8, held >>>= 8) bytes.push(held & 255);
    };
    const begin = () => {
        put(CLEAR);
        [size, next, known] = [9, 258, new Map()];
    };
    size = 9;
    begin();
    let prefix = pixels[0];
    for (let k = 1; k < pixels.length; k++) {
        const key = prefix << 8 | pixels[k];
        if (known.has(key)) {
            prefix = known.get(key);
            continue;
        }
        put(prefix);
        prefix = pixels[k];
        if (next === 4096) {
            begin();
            continue;
        }
        if (next === 1 << size) size++;
        known.set(key, next++);
    }
    put(prefix);
    if (next === 1 << size && size < 12) size++;
    put(END);
    if (bits) bytes.push(held & 255);
    const blocks = [];
    for (let at = 0; at < bytes.length; at += 255) {
        const block = bytes.slice(at, at + 255);
        blocks.push(block.length, ...block);
    }
    return blocks;
}
