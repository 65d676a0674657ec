"""Write a web page with sliders for a generator: one file, no server, no network."""

import base64
import getpass
import gzip
import hashlib
import html
import json
import socket
import string
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..core import checkpoint, codes, models, options as command_line, predict
from ..system import launch
from ..exchange import onnx_graph
from ..system.errors import InputError
from ..system.files import write

PAGE = Path(__file__).parent / "page"
SCRIPTS = ("network", "latent", "view", "gif")      # explore_….js, put one after another before explore.js
NUMBERED = 1000             # random cells that the page knows: those of predict.py -s 0 to 999
CELLS = 16                  # cells around which directions are measured
STEP = 0.1                  # of each number of z, for the differences that stand for derivatives
PORT = 8000


class Group(NamedTuple):
    """A part of z, z[start:start + size], whose directions get sliders; `short` names them."""

    title: str
    short: str
    note: str
    start: int
    size: int


def explore(options):
    """Write the page as the parsed `options` say, and serve it if asked to. Raises InputError for a user's mistake."""
    launch.announce()
    path = checkpoint.find(options.input_file, options.checkpoints_dir)
    generator, spec, facts = checkpoint.load_generator(path)
    if len(spec.channel_names) > len(spec.cell_channels):
        raise InputError(f"{path} draws each factor in a cell of its own, and the page shows one: give another model")
    name = f"explorer{len(spec.channel_names)}.{spec.architecture}.{facts['training']['algorithm']}.html"
    page = Path(options.output) if options.output else predict.IMAGES / name
    if page.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"-o {page}: a browser opens it by its ending: end it with .html")
    content = page_of(path, generator, spec, facts)
    write(page, content)
    print(f"Output page to file: {page} ({len(content) / 1e6:.1f} MB)", flush=True)
    if options.serve:
        serve(content, options.port)


# ---------------------------------------------------------------------------------------------- directions of z

def groups_of(generator, spec):
    """The Groups of the noise in z: of all of it but the codes of an InfoGAN, which z ends with."""
    noise = spec.codes[0].start if spec.codes else spec.nz
    if not models.has_red_tower(generator):
        note = "directions of z, the strongest first"
        return [Group("Noise", "noise", f"all that is not a code: {note}", 0, noise) if spec.codes else
                Group("Directions", "direction", note, 0, noise)]
    red = spec.red_nz
    order = "the strongest directions first"
    return [Group("Red half", "red", f"what the growth marker is drawn from, and the factors with it; {order}", 0, red),
            Group("Green half", "green", f"what only the factors are drawn from; {order}", red, spec.nz - red)]


def directions(generator, groups, seed=0):
    """For each of `groups` (directions (size, size), strengths (size,)): orthonormal rows, the strongest first.

    A direction is as strong as it changes the image: they are the eigenvectors of the mean of J^T J over random
    cells, where J is the derivative of the pixels by the group's part of z, taken by differences (Wang & Ponce 2021,
    "The geometry of deep generative image models and its applications", eq. 3 and sec. 3, with squared differences of
    pixels as the distance). The strength is the root of the eigenvalue, per pixel: the root mean squared change of
    the pixels of all channels, in gray levels of 256, for a unit of a small step; a large one saturates.
    """
    from tqdm import tqdm
    from ..core.engine import generate

    nz = generator.input_shape[1]
    means = [np.zeros((group.size, group.size)) for group in groups]
    for z in tqdm(np.random.default_rng(seed).standard_normal((CELLS, nz), np.float32), desc="directions", unit="cell",
                  disable=None, leave=False):
        moved = generate(generator, np.concatenate([z[None], z + STEP * np.eye(nz, dtype=np.float32)]))
        derivatives = (moved[1:] - moved[0]).reshape(nz, -1) / STEP * 127.5
        for mean, group in zip(means, groups):
            part = derivatives[group.start:group.start + group.size]
            mean += part @ part.T / part.shape[1] / CELLS
    return [_strongest_first(mean) for mean in means]


def _strongest_first(matrix):
    """(eigenvectors as rows, roots of the eigenvalues), the largest first; a row's largest number is positive."""
    values, vectors = np.linalg.eigh(matrix)
    rows = vectors.T[::-1]
    largest = np.take_along_axis(rows, np.abs(rows).argmax(axis=1)[:, None], axis=1)
    return rows * np.sign(largest), np.sqrt(np.maximum(values[::-1], 0))


# ---------------------------------------------------------------------------------------------- the page

def page_of(path, generator, spec, facts):
    """The page, as the bytes of one HTML file, of a generator that was loaded from `path`."""
    groups = groups_of(generator, spec)
    found = directions(generator, groups)
    about = {
        "network": {"file": str(path), "sha256": hashlib.sha256(Path(path).read_bytes()).hexdigest(),
                    "architecture": spec.architecture, "algorithm": facts["training"]["algorithm"],
                    "iteration": facts["iteration"]},
        "size": {"height": spec.height, "width": spec.width, "pixel_size_um": facts["pixel_size_um"]},
        "channels": ["image"] if len(spec.channel_names) == 1 else list(spec.channel_names),
        "nz": spec.nz, "numbered": NUMBERED, "codes": codes.layout(spec.codes),
        "groups": [group._asdict() | {"strengths": np.round(strengths, 3).tolist()}
                   for group, (_, strengths) in zip(groups, found)],
    }
    data = {
        "directions": np.concatenate([rows.ravel() for rows, _ in found]).astype("<f4").tobytes(),
        "numbered": numbered(spec).astype("<f4").tobytes(),
        "network": gzip.compress(onnx_graph.serialize(generator), mtime=0),
        "runtime": (PAGE / "onnxruntime-web.mjs").read_bytes(),
        "runtime-wasm": (PAGE / "onnxruntime-web.wasm.gz").read_bytes(),
    }
    template = string.Template((PAGE / "explore.html").read_text())
    scripts = [*(f"explore_{part}" for part in SCRIPTS), "explore"]
    elements = [f'<script type="application/octet-stream" id="{name}">{base64.b64encode(content).decode()}</script>'
                for name, content in data.items()]
    return template.substitute(
        title=html.escape(f"{spec.architecture}, {facts['training']['algorithm']}"),
        style=(PAGE / "explore.css").read_text(),
        script="\n".join((PAGE / f"{name}.js").read_text() for name in scripts),
        facts=json.dumps(about).replace("<", r"\u003c"),        # so that no name in it ends the element
        data="\n".join(elements)).encode()


def numbered(spec):
    """z (NUMBERED, nz), float32, of the cells that `predict.py -s` draws with 0, 1, …"""
    normal = np.concatenate([next(predict.latents(1, spec.nz, seed, 1)) for seed in range(NUMBERED)])
    return codes.from_normal(normal, spec.codes)


# ---------------------------------------------------------------------------------------------- serving

def serve(page, port):
    """Offer the bytes `page` on this machine only, until Ctrl-C. Raises InputError if the port is taken."""
    from http import server as http

    class Page(http.BaseHTTPRequestHandler):
        """Answers with the page, whatever the address."""

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_):
            """Visits are not told."""

    try:
        server = http.ThreadingHTTPServer(("127.0.0.1", port), Page)
    except OSError as problem:
        raise InputError(f"--port {port} can't be had ({problem.strerror}): choose another, or 0 for any that is "
                         f"free") from None
    port = server.server_address[1]
    print(f"Open http://127.0.0.1:{port}/ on this machine. From another one, first\n"
          f"    ssh -N -L {port}:127.0.0.1:{port} {getpass.getuser()}@{socket.gethostname()}\n"
          f"there, and then open the same address. Ctrl-C ends it.", flush=True)
    with server:
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


def parser():
    """The command line."""
    p = command_line.Parser(prog="biogans explore", description=__doc__, epilog=(
        "The page draws cells with the network itself: sliders move the codes of an InfoGAN, and the directions of z\n"
        "that change a cell most of any other generator. Cells can be kept, compared, blended into each other, and\n"
        "saved as PNG, GIF or numbers (JSON), from which predict.py --z draws them again. Give the file to anyone:\n"
        "a browser is all it needs.\n\n"
        "examples:\n"
        "  biogans explore -i checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.6.h5\n"
        "      images/explorer7.DCGAN-starshaped.WGAN-GP.html: copy it to your computer and open it\n"
        "  biogans explore -i FILE -o cells.html --serve\n"
        "      the same, on http://127.0.0.1:8000/ too, with the line that opens a tunnel to it"))
    what = p.add_argument_group("the page")
    command_line._add_generator(what)
    what.add_argument("-o", "--output", metavar="FILE.html",
                      help="the page; default: images/explorer7.…, where 7 is the number of channels")
    command_line._add_checkpoints_dir(what)
    offer = p.add_argument_group("where it can't be copied")
    offer.add_argument("--serve", action="store_true",
                       help="offer the page to browsers on this machine, and print how to reach it from another one")
    offer.add_argument("--port", type=_port, default=PORT, metavar="N",
                       help=f"port of --serve; 0 takes one that is free; default={PORT}")
    return p


_port = command_line._number(int, lambda value: 0 <= value < 65536, "a port, from 0 to 65535")


def main(arguments=None):
    return launch.run(explore, parser().parse_args(arguments))
