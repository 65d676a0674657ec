"""biogans card: every fact in a card comes from a file. The included models are intact and never overwritten."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from biogans.core import c2st, predict, train, trained, visualize
from biogans.evaluation import card, evaluate
from biogans.io import drawings
from biogans.system import hdf5, seal
from conftest import ROOT, SMALL, train_small_networks

PLAIN = "checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5"
STAR = "checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.2.h5"
SHIPPED = ROOT / "data_48-80" / "checkpoints"
WEIGHTS = sorted(path.relative_to(SHIPPED.parent) for path in SHIPPED.rglob("weights.generator.*.h5"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder after training a star and a DCGAN with train.py, and two splits of a quick evaluation of each."""
    folder = tmp_path_factory.mktemp("card")
    train_small_networks(folder, training=20, held_out=16)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(c2st, "FAST", {"iterations": 4, "batch_size": 8, "ndf": 4, "init": "he", "pool": 32})
        patch.setattr(evaluate, "find_classifier", lambda *arguments: None)
        for model in ([], ["-i", PLAIN], ["-i", STAR]):
            assert evaluate.main(["-d", "data", "--fast", "--splits", "2", *model]) == 0
    return folder


@pytest.fixture
def here(folder, tmp_path, monkeypatch):
    """A copy of that folder as the working directory."""
    shutil.copytree(folder, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def written(*arguments, name="checkpoints/card.DCGAN.WGAN-GP.1.md"):
    assert card.main(["-i", PLAIN, *arguments]) == 0
    return Path(name).read_text()


def row(text, name):
    """The right cell of a row in the card's table."""
    return re.search(rf"^\| {re.escape(name)} \| (.*) \|$", text, re.MULTILINE)[1]


# ---------------------------------------------------------------------------------------------- the facts of a card

def test_the_table_agrees_with_the_files(here):
    text = written()
    generator = trained.load_generator(PLAIN)
    made, images = generator.metadata.made, generator.metadata.images
    for value in (made["command"], f"`{images['sha256']}`", "40 of Alp14, Tea1", "2 iterations",
                  "batches of 4", "lrG 0.0002", "seed 42", "16x24 pixels", "red, green"):
        assert value in text, value
    assert row(text, "machine") == made["machine"] and "CPU core" in row(text, "machine")
    assert row(text, "versions").startswith("biogans 1.0.0, python 3")
    assert f"{generator.network.count_params():,} weights (moving average)" in row(text, "network")
    digest = subprocess.run(["sha256sum", PLAIN], capture_output=True, text=True).stdout.split()[0]
    assert digest in row(text, "file")


def test_the_time_is_that_of_the_log(here):
    """Up to the iteration of the weights: the log may continue, or belong to another run."""
    log = Path("checkpoints/log.DCGAN.WGAN-GP.1.csv")
    header, *lines = log.read_text().splitlines()
    columns = header.split(",")
    assert columns.index("seconds") == 3
    fake = [line.split(",") for line in lines]
    for fields, seconds in zip(fake, ("60", "150")):
        fields[3] = seconds
    fake.append(["3", "0", "0", "99999", *fake[1][4:]])
    log.write_text("\n".join([header, *map(",".join, fake)]))
    text = written()
    assert row(text, "training time") == "2.5 minutes (iterations only)"
    distance = f"{float(fake[1][columns.index('held_out_distance')]):.3g}"
    assert row(text, "distance to held-out images").startswith(f"{distance}; best {distance}, in iteration 2 ")
    for content in ("\n".join([header, ",".join(fake[0])]), "nonsense", ""):
        log.write_text(content)
        assert row(written(), "training time") == "not recorded"
    log.unlink()
    assert row(written(), "training time") == "not recorded"


def test_hours():
    assert card.duration(5399) == "90.0 minutes" and card.duration(7200) == "2.0 hours"


def test_scores_of_this_model_and_of_real_images(here):
    text = written()
    splits = [json.loads(Path(f"evaluation/DCGAN.WGAN-GP.2.split{k}.json").read_text()) for k in range(2)]
    values = [split["scores"]["all images"]["c2st"] for split in splits]
    mean, deviation = np.mean(values), np.std(values, ddof=1)
    assert f"| DCGAN WGAN-GP 2 | {mean:.1f} ± {deviation:.1f} |" in text.replace("| -0.0 ", "| 0.0 ")
    assert "| real images |" in text and splits[0]["command"] in text
    assert "DCGAN-starshaped WGAN-GP" not in text and "Alp14 |" not in text
    star = Path(STAR).with_name("card.DCGAN-starshaped.WGAN-GP.2.md")
    assert card.main(["-i", STAR]) == 0
    assert "| Alp14 | Tea1 |" in star.read_text() and "DCGAN WGAN-GP 2" not in star.read_text()


@pytest.mark.usefixtures("quick_runs")
def test_scores_of_other_weights_are_ignored(here, capsys):
    """The same settings, trained with another seed."""
    shutil.rmtree("checkpoints")
    train.main([*SMALL, "-d", "data", "-m", "DCGAN", "-e", "2", "-s", "7"])
    assert "## Scores" not in written()
    assert card.main(["-i", PLAIN, "--evaluation", "evaluation"]) == 2
    assert f"biogans evaluate -i {PLAIN}" in capsys.readouterr().err


def test_notes_are_copied_unchanged(here):
    assert "## Licence" not in written()
    Path("checkpoints/notes.DCGAN.WGAN-GP.1.md").write_text("## Licence\n\nOurs | yours\n")
    assert written().endswith("\n\n## Licence\n\nOurs | yours\n")
    Path("mine.md").write_text("## Known flaws\n\nNone? Look again.\n")
    text = written("--notes", "mine.md", "-o", "sub/README.md", name="sub/README.md")
    assert "Look again." in text and "Ours" not in text and "(README.png)" in text and Path("sub/README.png").is_file()


def test_the_picture_shows_the_cells_of_predict(here):
    """With the commands of the card itself."""
    text = written()
    commands = re.search(r"## Generate cells\n\n```\n(.*?)```", text, re.DOTALL)[1].splitlines()
    assert [line.split(" -")[0] for line in commands] == ["predict.py", "visualize.py", "biogans explore"]
    assert predict.main(commands[0].split()[1:]) == 0
    assert visualize.main([*commands[1].split()[1:], "-o", "one.png"]) == 0
    cells = drawings.read_drawing(Path(commands[1].split()[2]), 0, card.COLUMNS * card.ROWS).cells
    generator = trained.load_generator(PLAIN)
    spec = generator.spec
    np.testing.assert_allclose(2 * cells - 1, card.first_cells(generator), atol=1e-6)
    with Image.open("checkpoints/card.DCGAN.WGAN-GP.1.png") as picture:
        assert picture.width >= 8 * spec.width and picture.height >= 6 * spec.height


def test_older_files_without_provenance(here):
    """Damaged or hostile provenance appears as plain text."""
    for made in (None, [], {"command": ["a\n```", 1], "versions": 7, "machine": "x | y\n# z"}):
        path = Path("old.h5")
        shutil.copy(PLAIN, path)
        with h5py.File(path, "r+") as file:
            description = json.loads(file.attrs["biogans"])
            description.pop("made", None)
            hdf5.describe(file, description | ({} if made is None else {"made": made}))
        seal_again(path)
        assert card.main(["-i", "old.h5", "-o", "old.md"]) == 0
        text = Path("old.md").read_text()
        assert row(text, "versions") == "biogans 1.0.0"
        assert row(text, "machine") == ("x \\| y # z" if made else "not recorded")


def test_texts_of_files_never_become_html_or_links(here):
    path = Path("odd.h5")
    shutil.copy(PLAIN, path)
    with h5py.File(path, "r+") as file:
        description = json.loads(file.attrs["biogans"])
        description["network"]["factors"] = ["</td><script>alert(1)</script>", "[a](javascript:b)"]
        description["training"]["optimizer"] = "*adam*"
        made = {"command": "`x` ```\n<script>", "machine": "<img src=x onerror=alert(3)>|x",
                "versions": {"_a_": "&lt;"}}
        hdf5.describe(file, description | {"made": made})
    seal_again(path)
    Path("notes.md").write_text("## Licence <script>x</script>\n[ours](LICENSE) [theirs](javascript:x) "
                                "<https://example.org> 3 < 4\n[ref]: data:text/html;x\n")
    assert card.main(["-i", "odd.h5", "--notes", "notes.md", "-o", "odd.md"]) == 0
    text = Path("odd.md").read_text()
    outside = re.sub(r"^```\n.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    assert not re.search(r"<(?!https://example)[a-z/!]", outside)
    assert not re.search(r"(?<!\\)\]\(javascript", outside)
    assert row(text, "machine") == r"&lt;img src=x onerror=alert(3)&gt;\|x"
    assert row(text, "versions") == r"\_a\_ &amp;lt;"
    assert r"optimizer \*adam\*" in text and "[ours](LICENSE)" in text and "\n\\[ref]: data" in text
    assert text.count("\n```\n") % 2 == 0


def test_notes_that_are_not_utf8(here, capsys):
    Path("latin.md").write_bytes("Münster".encode("latin-1"))
    assert card.main(["-i", PLAIN, "--notes", "latin.md"]) == 2
    assert "latin.md: not a text in UTF-8" in capsys.readouterr().err


def seal_again(path):
    """Update the checksum of a modified file."""
    content = path.read_bytes().split(seal.MARK)[0]
    path.write_bytes(content + seal.trailer(content))


@pytest.mark.parametrize("arguments, words", [
    (["-i", "missing.h5"], "no such file"), (["-i", PLAIN, "-o", "card.txt"], "end its name with .md"),
    (["-i", PLAIN, "--notes", "missing.md"], "missing.md"),
    (["-i", PLAIN, "--evaluation", "data"], "biogans evaluate -i"),
    (["-i", "checkpoints/weights.critic.DCGAN.WGAN-GP.1.h5"], "generates nothing")])
def test_mistakes(here, capsys, arguments, words):
    before = {*here.rglob("*")}
    assert card.main(arguments) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1 and {*here.rglob("*")} == before


@pytest.mark.usefixtures("quick_runs")
@pytest.mark.parametrize("architecture", ["InfoGAN", "DCGAN-separable-independent", "DCGAN-multichannel"])
def test_the_commands_on_the_cards_of_other_architectures_work(here, architecture):
    algorithm = "WGAN-GP"
    train.main([*SMALL, "-z", "24", "--ngf", "8", "-d", "data", "-m", architecture, "-e", "1"])
    path, = Path("checkpoints").glob(f"weights.generator.{architecture}.{algorithm}.*.h5")
    assert card.main(["-i", str(path)]) == 0
    text = Path(str(path).replace("weights.generator", "card")).with_suffix(".md").read_text()
    commands = re.search(r"## Generate cells\n\n```\n(.*?)```", text, re.DOTALL)[1].splitlines()
    assert predict.main(commands[0].split()[1:]) == 0
    assert visualize.main([*commands[1].split()[1:], "-o", "one.png"]) == 0


# ---------------------------------------------------------------------------------------------- the included models

def test_the_trained_models_of_the_interface_exist():
    assert {str(path).removeprefix("checkpoints/").replace("weights.generator.", "") for path in WEIGHTS} == {
        "DCGAN-starshaped.WGAN-GP.48_80.1.6.h5", "DCGAN-starshaped.GAN.48_80.1.6.h5",
        "DCGAN-separable.WGAN-GP.48_80.1.1.h5", "DCGAN-separable.GAN.48_80.1.1.h5", "DCGAN.WGAN-GP.48_80.1.1.h5",
        "InfoGAN.GAN.28_28.1.0.h5", "real_cells/InfoGAN.GAN.40_40.1.1.h5", "real_cells/DCGAN.WGAN-GP.40_40.1.1.h5"}
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*")) < 60e6


@pytest.mark.parametrize("path", WEIGHTS, ids=lambda path: f"{path.parent.name}/{path.stem[18:]}")
def test_a_trained_model_is_intact_and_its_card_is_current(path, tmp_path, monkeypatch):
    """A newly written card equals the stored one."""
    assert seal.find_corruption(SHIPPED.parent / path) is None
    shutil.copytree(SHIPPED, tmp_path / "checkpoints")
    monkeypatch.chdir(tmp_path)
    run = path.stem.removeprefix("weights.generator.")
    beside = path.with_name(f"card.{run}.md")
    before = beside.read_text()
    assert card.main(["-i", str(path), "--evaluation", "checkpoints/evaluation"]) == 0
    assert beside.read_text() == before
    for part in ("## Scores", "## Data", "## Known flaws", "## Licence", "train.py"):
        assert part in before, part
    assert "not recorded" not in before and "/work" not in before
    generator = trained.load_generator(path)
    cells = card.first_cells(generator)
    assert np.isfinite(cells).all() and cells.std(axis=0).mean() > 0.01      # not all the same
    model = path.with_name(f"model.generator.{run}.h5")
    if model.exists():
        same = trained.load_generator(model)
        assert all(map(np.array_equal, same.network.get_weights(), generator.network.get_weights()))


@pytest.mark.usefixtures("quick_runs")
def test_a_new_training_touches_no_trained_model(tmp_path, monkeypatch, capsys):
    """A name without the size means the user's own generator, once there is one; -w has no checkpoint to resume."""
    shutil.copytree(SHIPPED.parent, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    small = ["-d", "data", "-m", "DCGAN", "--ngf", "4", "--ndf", "4", "-b", "4", "--num_D_iters", "1", "-e", "1"]
    before = {path: path.read_bytes() for path in (tmp_path / "checkpoints").rglob("*") if path.is_file()}
    own = ["-i", "checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5"]
    assert predict.main(own) == 0
    assert "using weights.generator.DCGAN.WGAN-GP.48_80.1.1.h5, which is included" in capsys.readouterr().out
    assert train.main([*small, "-w"]) == 2
    refusal = capsys.readouterr().err
    assert "no such checkpoint" in refusal and "--start_from" in refusal
    assert train.main(small) == 0 and "moved to" not in capsys.readouterr().out
    assert all(path.read_bytes() == content for path, content in before.items())
    assert predict.main(own) == 0
    told = capsys.readouterr().out
    assert "which is included" not in told and "trained for 1 of 1 iterations only" in told
    assert "checkpoints/weights.generator.DCGAN.WGAN-GP.48_80.1.1.h5 has 2,600" in told
