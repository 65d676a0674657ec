"""Write the model card of a trained generator."""

import csv
import hashlib
from pathlib import Path

import numpy as np

from ..core import checkpoint, codes, figures, options as command_line, predict
from ..system import launch
from . import clusters, report
from ..system.errors import InputError
from ..system.files import replacing

SEED = 1                                # of the cells in the picture, which are not chosen
COLUMNS, ROWS, STAR_ROWS = 8, 6, 8      # of the picture; a star has a row for each cell
UNKNOWN = "not recorded"


def parser():
    """The command line."""
    p = command_line.Parser(prog="biogans card", description=__doc__, epilog=(
        "Everything in a card is read from files: the weights say by which command, on which machine and with which\n"
        "versions and settings they were made, the log of the training how long it took, the files of biogans evaluate how\n"
        "good they are. Only what no file knows is written by hand, as Markdown: where the images come from, known\n"
        "flaws, and the licence. The picture shows the first cells of a seed, none chosen.\n\n"
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
    p.add_argument("-c", "--checkpoints_dir", metavar="FOLDER", default="checkpoints",
                   help="where FILE is looked for, too; default=checkpoints")
    return p


def card(options):
    """Write the card that the parsed `options` ask for. Raises InputError for a user's mistake."""
    launch.announce()
    path = checkpoint.find(options.input_file, options.checkpoints_dir)
    generator, spec, facts = checkpoint.load_generator(path)
    files = checkpoint.Files(path.parent, spec, facts["training"]["algorithm"])
    target = Path(options.output or files.folder / f"card.{files.run}.md")
    if target.suffix != ".md":
        raise InputError(f"-o {target}: a card is Markdown: end its name with .md")
    picture = target.with_suffix(".png")
    lines = [*_head(path, spec, facts, files, picture, generator.count_params()), *_how_to_draw(path, spec, facts),
             *_how_it_was_made(facts), *_scores(options.evaluation, path, facts),
             *_notes(options.notes, files.folder / f"notes.{files.run}.md")]
    figures.sample_grid(picture, spec, draw(generator, spec), COLUMNS)
    with replacing(target) as temporary:
        temporary.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    print(f"Output card: {target}\nOutput picture: {picture}")


def draw(generator, spec):
    """The first cells of the seed, float32 (number, height, width, channels) in [-1, 1], as predict.py draws them."""
    from ..core.engine import generate as draw_cells
    number = _cells(spec)
    normal = np.concatenate(list(predict.latents(number, spec.nz, SEED, number)))
    return draw_cells(generator, codes.from_normal(normal, spec.codes), number)


def _cells(spec):
    """How many cells the picture shows."""
    return STAR_ROWS if len(spec.separate_factors) > 1 else COLUMNS * ROWS


# ---------------------------------------------------------------------------------------------- the parts of a card

def _head(path, spec, facts, files, picture, weights):
    """What it is, as a picture and a table."""
    training, images, made = facts["training"], facts["images"], _made(facts)
    log = read_log(files.log, facts["iteration"])
    channels = ", ".join(spec.channel_names) if spec.channels > 1 else "one channel"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    rows = {
        "generates": f"cells of {spec.height}x{spec.width} pixels: {channels}",
        "network": f"{spec.architecture}, {spec.ngf} filters, {weights:,} weights ({facts.get('weights', UNKNOWN)})",
        "input": f"latent vector z, {spec.nz} standard normal numbers" if not spec.codes else
                 f"latent vector z, {spec.nz} numbers: standard normal noise, then the codes "
                 + ", ".join(code.name for code in spec.codes),
        "training": f"{training['algorithm']}, {facts['iteration']:,} iterations on batches of "
                        f"{training.get('batch_size', UNKNOWN)}",
        "training images": f"{images.get('number', 0):,} of {', '.join(spec.factors)}; SHA-256 of their pixels "
                           f"`{images.get('sha256', UNKNOWN)}`",
        "training time": f"{_time(log['seconds'])} (iterations only)" if log else UNKNOWN,
        "machine": made["machine"],
        "versions": made["versions"],
        "distance to held-out images": _distance(log),
        "file": f"`{path.name}`, {path.stat().st_size / 1e6:.1f} MB, SHA-256 `{digest}`",
    }
    return [f"# {spec.architecture}, {training['algorithm']}", "", f"![Generated cells]({picture.name})", "",
            f"The first {_cells(spec)} cells of seed {SEED}, without selection.", "", "| | |", "|---|---|",
            *(f"| {name} | {_cell(text)} |" for name, text in rows.items()), ""]


def _how_to_draw(path, spec, facts):
    """The commands, with the file as it was given."""
    own_reds = len(spec.channel_names) > len(spec.cell_channels)
    one = f" -p {spec.separate_factors[0]}" if own_reds else ""
    channels = len(spec.factor_channels[0]) if own_reds else len(spec.cell_channels)
    stack = f"images/stack{channels}.{spec.architecture}.{facts['training']['algorithm']}.h5"
    more = [] if own_reds else [f"biogans explore -i {path}"]
    more += [f"biogans traverse -i {path}"] if spec.codes else []
    return ["## Generate cells", "", "```", f"predict.py -i {path} -n {_cells(spec)} -s {SEED}{one}",
            f"visualize.py -i {stack} -n {_cells(spec)}", *more, "```", ""]


def _how_it_was_made(facts):
    """The command, and all that it amounted to."""
    settings = {name: value for name, value in (facts["network"] | facts["training"]).items() if name != "factors"}
    return ["## Training", "", "```", _made(facts)["command"], "```", "",
            "All settings: " + ", ".join(f"{name} {_plainly(value)}" for name, value in settings.items()) + ".", ""]


def _scores(folder, path, facts):
    """Tables of what biogans evaluate measured. Raises InputError if nothing in a folder that was given is of this model."""
    found = Path(folder or "evaluation")
    splits, meanings = belonging(found, hashlib.sha256(path.read_bytes()).hexdigest(), facts)
    if not (splits or meanings):
        if folder:
            raise InputError(f"{folder}: no results of {path}: evaluate it first, with biogans evaluate -i {path} "
                             f"-d data --fast -o {folder}")
        return []
    lines = ["## Scores", ""]
    if splits:
        commands = dict.fromkeys(result["command"] for result in splits)
        real = any(result["name"] == report.REAL for result in splits)
        lines += ["Means ± standard deviations over random splits of the held-out images. C2ST and distances: 0 is best."
                  + " In the row of real images, training images replace generated ones." * real, "",
                  report.markdown(report.combine(splits)), "```", *commands, "```", ""]
    for meaning in meanings:
        lines += [f"Meaning of the codes in {meaning['images']} held-out images:", "", "```",
                  meaning["command"], "", clusters.table(meaning["rows"]), "```", ""]
    return lines


def _notes(given, beside):
    """What was written by hand. Raises InputError if a file that was given is not there."""
    path = Path(given) if given else beside
    if not path.is_file():
        if given:
            raise InputError(f"{path}: no such file: describe the data, known flaws and the licence there")
        return []
    return [path.read_text(encoding="utf-8")]


# ---------------------------------------------------------------------------------------------- what files say

def read_log(path, iteration):
    """{seconds, last, best, best_iteration} of a training's log up to the `iteration`; {} if it does not come there.

    `last` and `best` are distances to held-out images, None where they were not measured.
    """
    try:
        with open(path, newline="", encoding="utf-8", errors="replace") as file:
            rows = [row for row in csv.DictReader(file) if (row.get("iteration") or "").isdecimal()]
        rows = [row for row in rows if int(row["iteration"]) <= iteration]
        if not rows or int(rows[-1]["iteration"]) != iteration:
            return {}
        measured = [(float(row["held_out_distance"]), int(row["iteration"])) for row in rows
                    if row.get("held_out_distance")]
        best, at = min(measured, default=(None, None))
        return {"seconds": float(rows[-1]["seconds"]), "last": measured[-1][0] if measured else None, "best": best,
                "best_iteration": at}
    except (OSError, csv.Error, KeyError, TypeError, ValueError):
        return {}


def belonging(folder, digest, facts):
    """(results of splits, meanings of codes) in a folder of biogans evaluate that are of the file of this SHA-256.

    Real images come along where they were scored in the same way, with what the model was scored by.
    """
    results = [report.read_file(path) for path in sorted(folder.glob("*.split*.json"))]
    own = [result for result in results if result["source"] and result["source"]["sha256"] == digest]
    if own:
        first = own[0]
        real = [result for result in results if result["name"] == report.REAL
                and (result["critic"], result["seed"]) == (first["critic"], first["seed"])
                and first["held_out"].items() <= result["held_out"].items()]
        own += [{name: value for name, value in result.items() if name in first} |
                {"scores": {factor: result["scores"][factor] for factor in first["scores"]}} for result in real]
    meanings = [report.read_file(path) for path in sorted(folder.glob("codes.*.json"))]
    return own, [meaning for meaning in meanings
                 if (meaning["training"], meaning["iteration"]) == (facts["training"], facts["iteration"])]


def _made(facts):
    """{command, machine, versions} as texts; older files do not say."""
    made = facts.get("made")
    made = made if isinstance(made, dict) else {}
    versions = made.get("versions")
    known = ", ".join(f"{name} {version}" for name, version in versions.items()) if isinstance(versions, dict) else ""
    return {"command": " ".join(str(made.get("command", UNKNOWN)).split()),
            "machine": str(made.get("machine", UNKNOWN)), "versions": known or f"biogans {facts['biogans']}"}


def _time(seconds):
    return f"{seconds / 3600:.1f} hours" if seconds >= 5400 else f"{seconds / 60:.1f} minutes"


def _distance(log):
    """The monitor's distance, in words."""
    if not log or log["best"] is None:
        return UNKNOWN
    return (f"{log['last']:.3g}; best {log['best']:.3g}, in iteration {log['best_iteration']:,} (measured during "
            f"training)")


def _plainly(value):
    return ",".join(map(str, value)) or "none" if isinstance(value, (list, tuple)) else str(value)


def _cell(text):
    """Text for a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def main(arguments=None):
    """Run the command; return its exit status."""
    return launch.run(card, parser().parse_args(arguments))
