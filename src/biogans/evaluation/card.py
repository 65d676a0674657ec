"""Write the model card of a trained generator."""

import dataclasses
import hashlib
import shlex
import urllib.parse
from pathlib import Path

import numpy as np

from ..core import figures, trained
from ..core.options import add_checkpoints_dir
from ..system import arguments, captions, launch
from ..system.errors import InputError
from ..system.files import replacing
from ..system.progress import read_log
from . import clusters, markdown_text, results, tables
from .json_files import to_json

SEED = 1                                # of the cells in the picture, which are not selected
COLUMNS, ROWS, STAR_ROWS = 8, 6, 8      # of the picture; a star has a row for each cell
UNKNOWN = "not recorded"


def parser():
    """The command line."""
    p = arguments.Parser(prog="biogans card", description=__doc__, epilog=(
        "A card is filled in from files. The weights record the command, machine, versions and settings of the\n"
        "training, its log the duration, and the files of biogans evaluate the scores. The rest is written by hand,\n"
        "as Markdown: where the images come from, known flaws, and the licence. The picture shows the first cells of\n"
        "a seed, none chosen.\n\n"
        "examples:\n"
        "  biogans evaluate -i checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5 -d data --fast\n"
        "  biogans card -i checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5\n"
        "      checkpoints/card.DCGAN.WGAN-GP.1.md and .png; by hand: checkpoints/notes.DCGAN.WGAN-GP.1.md\n"
        "  biogans card -i FILE --evaluation scores --notes notes.md -o README.md"))
    p.add_argument("-i", "--input_file", metavar="FILE", required=True,
                   help="weights.generator or model.generator file, required")
    p.add_argument("--evaluation", metavar="FOLDER",
                   help="folder of biogans evaluate's JSON files, of which those of this model and of real images are "
                        "taken; default: evaluation, if there")
    p.add_argument("--notes", metavar="FILE.md",
                   help="what no file knows: data, known flaws, licence; default: notes.….md beside FILE, if there")
    p.add_argument("-o", "--output", metavar="FILE.md",
                   help="the card; its picture has the same name with .png; default: card.….md beside FILE")
    add_checkpoints_dir(p)
    return p


def card(options):
    """Run the command with parsed options. Raises InputError."""
    launch.announce()
    generator = trained.load_generator(options.input_file, options.checkpoints_dir)
    target = Path(options.output or generator.beside("card", ".md"))
    if target.suffix != ".md":
        raise InputError(f"-o {target}: a card is Markdown: end its name with .md")
    picture = target.with_suffix(".png")
    lines = [*_head(generator, picture), *_how_to_generate(generator), *_how_it_was_made(generator.metadata),
             *_scores(options.evaluation, generator), *_notes(options.notes, generator.beside("notes", ".md"))]
    origin = captions.origin_of_cells({"architecture": generator.spec.architecture, "seed": SEED,
                                       "algorithm": generator.metadata.training.algorithm,
                                       "iteration": generator.metadata.iteration})
    figures.sample_grid(picture, generator.spec, first_cells(generator), COLUMNS, origin, "magenta-green")
    with replacing(target) as temporary:
        temporary.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    print(f"Output card: {target}\nOutput picture: {picture}")


def first_cells(generator):
    """The first cells of SEED, float32 (cells, height, width, channels) in [-1, 1], as predict.py generates them."""
    number = _cells(generator.spec)
    return generator.generate(np.concatenate(list(generator.latents(number, SEED))), number)


def _cells(spec):
    """Number of cells in the picture."""
    return STAR_ROWS if len(spec.separate_factors) > 1 else COLUMNS * ROWS


# ---------------------------------------------------------------------------------------------- the parts of a card

def _head(generator, picture):
    """The title, the picture, and a table of what the files say about the generator."""
    path, spec, metadata = generator.path, generator.spec, generator.metadata
    training, images, made = metadata.training, metadata.images, _made(metadata)
    log, weights = summary_of_log(generator.beside("log", ".csv"), metadata.iteration), generator.network.count_params()
    channels = markdown_text.plain(", ".join(spec.channel_names)) if spec.channels > 1 else "one channel"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    rows = {
        "generates": f"cells of {spec.height}x{spec.width} pixels: {channels}",
        "network": f"{spec.architecture}, {spec.ngf} filters, {weights:,} weights "
                   f"({markdown_text.plain(metadata.weights or UNKNOWN)})",
        "input": f"latent vector z, {spec.nz} standard normal numbers" if not spec.codes else
                 f"latent vector z, {spec.nz} numbers: standard normal noise, then the codes "
                 + ", ".join(code.name for code in spec.codes),
        "training": f"{training.algorithm}, {metadata.iteration:,} iterations on batches of {training.batch_size}",
        "training images": f"{images.get('number', 0):,} of {markdown_text.plain(', '.join(spec.factors))}; SHA-256 of "
                           f"their pixels {markdown_text.code(images.get('sha256', UNKNOWN))}",
        "training time": f"{duration(log['seconds'])} (iterations only)" if log else UNKNOWN,
        "machine": markdown_text.plain(made["machine"]),
        "versions": markdown_text.plain(made["versions"]),
        "distance to held-out images": _distance(log),
        "file": f"{markdown_text.code(path.name)}, {path.stat().st_size / 1e6:.1f} MB, SHA-256 `{digest}`",
    }
    return [f"# {spec.architecture}, {training.algorithm}", "",
            f"![Generated cells]({urllib.parse.quote(picture.name)})", "",
            f"The first {_cells(spec)} cells of seed {SEED}, without selection.", "", "| | |", "|---|---|",
            *(markdown_text.row(cells) for cells in rows.items()), ""]


def _how_to_generate(generator):
    """Commands, with the name of the file as it was given."""
    path, spec = shlex.quote(str(generator.path)), generator.spec
    own_reds = len(spec.channel_names) > len(spec.cell_channels)
    one = f" -p {shlex.quote(spec.separate_factors[0])}" if own_reds else ""
    channels = len(spec.factor_channels[0]) if own_reds else len(spec.cell_channels)
    stack = f"images/stack{channels}.{generator.name}.h5"
    more = [] if own_reds else [f"biogans explore -i {path}"]
    more += [f"biogans traverse -i {path}"] if spec.codes else []
    return ["## Generate cells", "", *markdown_text.block(f"predict.py -i {path} -n {_cells(spec)} -s {SEED}{one}",
                                                     f"visualize.py -i {stack} -n {_cells(spec)}", *more), ""]


def _how_it_was_made(metadata):
    """The command, and all settings that resulted from it."""
    settings = dataclasses.asdict(metadata.network) | dataclasses.asdict(metadata.training)
    settings = {name: value for name, value in settings.items() if name != "factors"}
    known = ", ".join(f"{name} {markdown_text.plain(_in_words(value))}" for name, value in settings.items())
    return ["## Training", "", *markdown_text.block(_made(metadata)["command"]), "", f"All settings: {known}.", ""]


def _scores(folder, generator):
    """Tables of biogans evaluate's results. Raises InputError if a folder was given that has none of this model."""
    path = generator.path
    splits, meanings = matching_results(Path(folder or "evaluation"), generator)
    if not (splits or meanings):
        if folder:
            raise InputError(f"{folder}: no results of {path}: evaluate it first, with biogans evaluate -i {path} "
                             f"-d data --fast -o {folder}")
        return []
    lines = ["## Scores", ""]
    if splits:
        commands = dict.fromkeys(result["command"] for result in splits)
        real = any(result["name"] == results.REAL for result in splits)
        lines += ["Means ± standard deviations over random splits of the held-out images. C2ST and distances: 0 is "
                  "best." + " In the row of real images, training images replace generated ones." * real, "",
                  tables.markdown(results.combine(splits)), *markdown_text.block(*commands), ""]
    for meaning in meanings:
        lines += [f"Meaning of the codes in {markdown_text.plain(meaning['images'])} held-out images:", "",
                  *markdown_text.block(meaning["command"], "", clusters.format_rows(meaning["rows"])), ""]
    return lines


def _notes(given, beside):
    """What was written by hand. Raises InputError if a file that was given does not exist."""
    path = Path(given) if given else beside
    if not path.is_file():
        if given:
            raise InputError(f"{path}: no such file: describe the data, known flaws and the licence there")
        return []
    try:
        return [markdown_text.without_html(path.read_text(encoding="utf-8"))]
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text in UTF-8: save it as UTF-8") from None


# ---------------------------------------------------------------------------------------------- reading files

def summary_of_log(path, iteration):
    """{seconds, last, best, best_iteration} of a training's log up to the `iteration`; {} if the log ends before it.

    `last` and `best` are distances to held-out images, None if they were not measured.
    """
    try:
        columns = read_log(path)
    except InputError:
        return {}
    iterations, seconds = columns["iteration"].astype(int).tolist(), columns.get("seconds")
    if iteration not in iterations or seconds is None or not np.isfinite(seconds[iterations.index(iteration)]):
        return {}
    end = iterations.index(iteration) + 1
    distances = columns.get("held_out_distance", np.full(len(iterations), np.nan))[:end].tolist()
    measured = [(distance, at) for distance, at in zip(distances, iterations) if np.isfinite(distance)]
    best, at = min(measured, default=(None, None))
    return {"seconds": float(seconds[end - 1]), "last": measured[-1][0] if measured else None, "best": best,
            "best_iteration": at}


def matching_results(folder, generator):
    """(results of splits, meanings of codes) of this generator in a folder of biogans evaluate.

    The splits include real images that were scored by the same critic with the same seed and held-out images, with the
    scores of the model's factors.
    """
    digest = hashlib.sha256(generator.path.read_bytes()).hexdigest()
    splits = [results.read_result(path) for path in sorted(folder.glob("*.split*.json"))]
    own = [result for result in splits if result["source"] and result["source"]["sha256"] == digest]
    if own:
        first = own[0]
        real = [result for result in splits if result["name"] == results.REAL
                and (result["critic"], result["seed"]) == (first["critic"], first["seed"])
                and first["held_out"].items() <= result["held_out"].items()]
        own += [{name: value for name, value in result.items() if name in first} |
                {"scores": {factor: result["scores"][factor] for factor in first["scores"]}} for result in real]
    meanings = [results.read_result(path) for path in sorted(folder.glob("codes.*.json"))]
    return own, [meaning for meaning in meanings if meaning["iteration"] == generator.metadata.iteration
                 and _same_training(meaning["training"], generator.metadata.training)]


def _same_training(stored, training):
    """Whether the settings in a result file, of which older ones lack some, are those of a TrainingSettings."""
    defaults = {field.name: field.default for field in dataclasses.fields(training)
                if field.default is not dataclasses.MISSING}
    return to_json(defaults) | stored == to_json(dataclasses.asdict(training))


def _made(metadata):
    """{command, machine, versions} as texts; older files lack them."""
    made = metadata.made if isinstance(metadata.made, dict) else {}
    versions = made.get("versions")
    known = ", ".join(f"{name} {version}" for name, version in versions.items()) if isinstance(versions, dict) else ""
    return {"command": " ".join(str(made.get("command", UNKNOWN)).split()),
            "machine": str(made.get("machine", UNKNOWN)), "versions": known or f"biogans {metadata.biogans}"}


def duration(seconds):
    """Seconds in words: hours from an hour and a half on, else minutes."""
    return f"{seconds / 3600:.1f} hours" if seconds >= 5400 else f"{seconds / 60:.1f} minutes"


def _distance(log):
    """The monitor's distance in words."""
    if not log or log["best"] is None:
        return "not measured during the training"
    return (f"{log['last']:.3g}; best {log['best']:.3g}, in iteration {log['best_iteration']:,} (measured during "
            f"training)")


def _in_words(value):
    if value is None:
        return "by default"
    return ",".join(map(str, value)) or "none" if isinstance(value, (list, tuple)) else str(value)


def main(arguments=None):
    """Run the command; return its exit status."""
    return launch.run(card, parser().parse_args(arguments))
