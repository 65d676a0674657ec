"""Write a web page with sliders for a generator: one file, no server, no network access."""

import getpass
import gzip
import hashlib
import hmac
import html
import json
import re
import secrets
import socket
import urllib.parse
from typing import NamedTuple

import numpy as np

from ..core import codes, figures, options as command_line, trained
from ..exchange import onnx_graph
from ..system import arguments, launch
from ..system.errors import InputError
from ..system.files import write
from ..system.palettes import fitted
from ..system.progress import reading
from . import pages
from .channels import has_red_tower
from .slider_names import SAMPLE, measured_meanings

SCRIPTS = ("explore_network", "explore_latent", "explore_view", "explore_gif", "explore")  # in the order of the page
NUMBERED = 1000             # random cells that have a number on the page: those of predict.py -s 0 to 999
CELLS = 16                  # cells at which directions are measured, and transmitted light is recognised
STEP = 0.1                  # of each latent variable, for the differences that approximate derivatives
PORT = 8000


class Group(NamedTuple):
    """A part of z, z[start:start + size], whose directions get sliders; `short` names them."""

    title: str
    short: str
    note: str
    start: int
    size: int


def parser():
    """The command line."""
    p = arguments.Parser(prog="biogans explore", description=__doc__, epilog=(
        "The page contains the network itself. Sliders set the codes of an InfoGAN, and move z in the directions that\n"
        "change a cell most. Cells can be kept, compared, blended into each other, and saved as PNG, as GIF or as\n"
        "latent vectors (JSON), from which predict.py --z generates them again. Give the file to anyone: it needs\n"
        "nothing but a browser.\n\n"
        "examples:\n"
        "  biogans explore -i checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.6.h5\n"
        "      images/explorer7.DCGAN-starshaped.WGAN-GP.html: copy it to your computer and open it\n"
        "  biogans explore -i FILE -o cells.html --serve\n"
        "      the same, also on http://127.0.0.1:8000/, with a token that others on this machine do not have; prints\n"
        "      the whole address, and the ssh command for a tunnel to it"))
    page = p.add_argument_group("page")
    command_line.add_generator(page)
    page.add_argument("-o", "--output", metavar="FILE.html",
                      help="the page; default: images/explorer7.…, where 7 is the number of channels")
    command_line.add_checkpoints_dir(page)
    server = p.add_argument_group("server, where the file can't be copied")
    server.add_argument("--serve", action="store_true",
                        help="serve the page to browsers on this machine, and print how to reach it from another one")
    server.add_argument("--port", type=_port, default=PORT, metavar="N",
                        help=f"port of --serve; 0 for any free one; default={PORT}")
    return p


_port = arguments.checked(int, lambda number: 0 <= number < 65536, "a port, from 0 to 65535")


def explore(options):
    """Write the page as the parsed `options` say, and serve it on request. Raises InputError for a user error."""
    launch.announce()
    generator = trained.load_generator(options.input_file, options.checkpoints_dir)
    spec = generator.spec
    if len(spec.channel_names) > len(spec.cell_channels):
        raise InputError(f"{generator.path} generates each factor in a cell of its own, and the page shows one cell: "
                         f"give another model")
    page = pages.page_path(options.output or
                           trained.IMAGES / f"explorer{len(spec.channel_names)}.{generator.name}.html")
    content = page_of(generator)
    write(page, content)
    print(f"Output page to file: {page} ({len(content) / 1e6:.1f} MB)", flush=True)
    if options.serve:
        serve(content, options.port)


# ---------------------------------------------------------------------------------------------- directions of z

def groups_of(network, spec):
    """The Groups of directions: all of z but the codes of an InfoGAN, which come last in it, and noise maps."""
    noise = spec.codes[0].start if spec.codes else spec.nz - spec.noise_size
    if not has_red_tower(network):
        note = "directions of z, strongest first"
        return [Group("Noise", "noise", f"all of z but the codes: {note}", 0, noise) if spec.codes else
                Group("Directions", "direction", note, 0, noise)]
    red, order = spec.red_nz, "strongest directions first"
    return [Group("Red half", "red", f"determines the growth marker, and with it the factors; {order}", 0, red),
            Group("Green half", "green", f"determines the factors only; {order}", red, noise - red)]


def directions(network, groups, seed=0):
    """For each of `groups`: directions (size, size), orthonormal rows, strongest first, and their strengths (size,).

    Directions are ranked by how much they change the image: they are the eigenvectors of the mean of J^T J over random
    cells, where J is the derivative of the pixels by the group's part of z, approximated by differences (Wang & Ponce
    2021, "The geometry of deep generative image models and its applications", eq. 3 and sec. 3, with squared
    differences of pixels as the distance). The strength is the root of the eigenvalue, per pixel: the root mean squared
    change of the pixels of all channels, in gray levels of 256, per unit of a small step; large steps saturate.
    """
    from ..core.engine import generate

    nz = network.input_shape[1]
    moves = STEP * np.eye(nz, dtype=np.float32)
    moves = np.concatenate([moves[group.start:group.start + group.size] for group in groups])
    means = [np.zeros((group.size, group.size)) for group in groups]
    for z in reading("directions", "cell")(np.random.default_rng(seed).standard_normal((CELLS, nz), np.float32)):
        moved = generate(network, np.concatenate([z[None], z + moves]))
        derivatives = (moved[1:] - moved[0]).reshape(len(moves), -1) / STEP * 127.5
        for mean, part in zip(means, np.split(derivatives, np.cumsum([group.size for group in groups[:-1]]))):
            mean += part @ part.T / part.shape[1] / CELLS
    return [_strongest_first(mean) for mean in means]


def _strongest_first(matrix):
    """(eigenvectors as rows, roots of the eigenvalues), largest first; the largest component of a row is positive."""
    values, vectors = np.linalg.eigh(matrix)
    rows = vectors.T[::-1]
    largest = np.take_along_axis(rows, np.abs(rows).argmax(axis=1)[:, None], axis=1)
    return rows * np.sign(largest), np.sqrt(np.maximum(values[::-1], 0))


def named_directions(generator, groups):
    """The directions of `groups`, with what they change.

    Returns (result of `directions`, for each group a list of a Meaning or None for each direction, {code: Meaning}).
    A direction of which a quantity would decrease is reversed, so that a slider moved to the right means more of it.
    """
    found = directions(generator.network, groups)
    rows = np.zeros((sum(group.size for group in groups), generator.spec.nz))
    ends = np.cumsum([group.size for group in groups])
    for group, end, (own, _) in zip(groups, ends, found):
        rows[end - group.size:end, group.start:group.start + group.size] = own
    meanings, of_codes = measured_meanings(generator, rows)
    signs = np.array([-1 if meaning and meaning.r < 0 else 1 for meaning in meanings])
    meanings = [meaning and meaning.times(sign) for meaning, sign in zip(meanings, signs)]
    parts = [slice(end - group.size, end) for group, end in zip(groups, ends)]
    return ([(own * signs[part, None], strengths) for (own, strengths), part in zip(found, parts)],
            [meanings[part] for part in parts], of_codes)


def described_codes(generator, meanings):
    """The layout of the codes, for JSON, with what they generate: Meanings of continuous codes, labels of categories.

    meanings   {code: slider_names.Meaning}
    """
    layout, labels = codes.code_layout(generator.spec.codes), codes.read_labels(generator)
    for code, entry in zip(generator.spec.codes, layout, strict=True):
        if code.name in meanings:
            entry["meaning"] = meanings[code.name]._asdict()
        if code.name in labels:
            entry["labels"] = [{"short": label.short, "line": "".join(codes.label_lines({code: k}, labels))}
                               for k, label in enumerate(labels[code.name])]
    return layout


# ---------------------------------------------------------------------------------------------- the page

def page_of(generator):
    """The page of a trained.TrainedGenerator: the bytes of one HTML file."""
    spec, metadata = generator.spec, generator.metadata
    groups, numbered = groups_of(generator.network, spec), numbered_latents(generator).astype("<f4")
    palette = fitted("red-green", (generator.generate(numbered[:CELLS]) + 1) / 2)
    found, meanings, of_codes = named_directions(generator, groups)
    facts = {
        "network": {"file": str(generator.path), "sha256": hashlib.sha256(generator.path.read_bytes()).hexdigest(),
                    "architecture": spec.architecture, "algorithm": metadata.training.algorithm,
                    "iteration": metadata.iteration},
        "size": {"height": spec.height, "width": spec.width, "pixel_size_um": metadata.pixel_size_um},
        "channels": figures.shown_names(spec.channel_names, palette), "transmitted": palette.transmitted,
        "nz": spec.nz, "numbered": NUMBERED, "measured": SAMPLE, "codes": described_codes(generator, of_codes),
        "groups": [group._asdict() | {"strengths": np.round(strengths, 3).tolist(),
                                      "meanings": [meaning and meaning._asdict() for meaning in each]}
                   for group, (_, strengths), each in zip(groups, found, meanings)],
    }
    data = {
        "directions": np.concatenate([rows.ravel() for rows, _ in found]).astype("<f4").tobytes(),
        "numbered": numbered.tobytes(),
        "network": gzip.compress(onnx_graph.serialize(generator.network), mtime=0),
        "runtime": (pages.PARTS / "onnxruntime-web.mjs").read_bytes(),
        "runtime-wasm": (pages.PARTS / "onnxruntime-web.wasm.gz").read_bytes(),
    }
    return pages.assemble_page(
        "explore", html.escape(f"Cell explorer: {spec.architecture}, {metadata.training.algorithm}"), SCRIPTS,
        allowed=("'wasm-unsafe-eval'", "blob:"),
        facts=json.dumps(facts).replace("<", r"\u003c"),        # so that no name in it ends the element
        data="\n".join(pages.data_element(*item) for item in data.items()))


def numbered_latents(generator):
    """z (NUMBERED, nz), float32, of the cells that `predict.py -s` generates with 0, 1, …"""
    normal = [next(trained.normal_latents(1, generator.spec.nz, seed, 1)) for seed in range(NUMBERED)]
    return codes.from_normal(np.concatenate(normal), generator.spec.codes)


# ---------------------------------------------------------------------------------------------- serving

def serve(page, port):
    """Serve the bytes `page` on this machine only, until Ctrl-C. Raises InputError if the port is taken."""
    from http import server as http

    token = secrets.token_urlsafe(24)

    class Page(http.BaseHTTPRequestHandler):
        """Answers requests that have the token with the page."""

        def do_GET(self):
            allowed = is_local(self.headers.get("Host", "")) and has_token(self.path, token)
            content = page if allowed else b"Open the whole address that biogans explore has printed, with its token."
            self.send_response(200 if allowed else 403)
            self.send_header("Content-Type", f"text/{'html' if allowed else 'plain'}; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Referrer-Policy", "no-referrer")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            """Requests are not logged."""

    try:
        server = http.ThreadingHTTPServer(("127.0.0.1", port), Page)
    except OSError as problem:
        raise InputError(f"--port {port} is not available ({problem.strerror}): choose another, or 0 for any free "
                         f"one") from None
    port = server.server_address[1]
    print(f"Open http://127.0.0.1:{port}/?token={token} on this machine. On another one, first run\n"
          f"    ssh -N -L {port}:127.0.0.1:{port} {getpass.getuser()}@{socket.gethostname()}\n"
          f"there, and then open the same address. Ctrl-C stops the server.", flush=True)
    with server:
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


def is_local(host):
    """Whether the header Host names this machine: a page of another site can lead its own name to 127.0.0.1."""
    return bool(re.fullmatch(r"(127\.0\.0\.1|localhost|\[::1\])(:\d+)?", host))


def has_token(address, token):
    """Whether the address of a request ends with the token."""
    given = urllib.parse.parse_qs(urllib.parse.urlsplit(address).query).get("token", [""])[0]
    return hmac.compare_digest(given.encode(), token.encode())


def main(arguments=None):
    return launch.run(explore, parser().parse_args(arguments))
