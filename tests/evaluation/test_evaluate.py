"""biogans evaluate: rows of models and real images, splits as jobs of their own, tables, figures, the page."""

import contextlib
import functools
import itertools
import json
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from biogans.core import c2st, dataloader, train
from biogans.core.settings import Metadata
from biogans.core.trained import TrainedGenerator
from biogans.evaluation import evaluate, features, outlines, results, scoring, stages, tables
from biogans.system.errors import InputError
from conftest import SMALL, train_small_networks, write_images
from networks import spec

STAR = "checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.2.h5"
PLAIN = "checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5"
ROW = "DCGAN-starshaped WGAN-GP 2"
find_classifier = evaluate.find_classifier


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """A fast mode that takes moments, without features."""
    monkeypatch.setattr(c2st, "FAST", {"iterations": 12, "batch_size": 8, "ndf": 4, "init": "he", "pool": 64})
    monkeypatch.setattr(evaluate, "find_classifier", lambda *arguments: None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A user's folder after training a star of two factors and a DCGAN on both, with joint cells of the two."""
    folder = tmp_path_factory.mktemp("evaluate")
    y, x = np.mgrid[:16, :24]
    blob = 255 * np.exp(-((y - 8) ** 2 + (x - 12) ** 2) / 30)
    with h5py.File(folder / "joint.h5", "w") as file:
        noise = np.random.default_rng(0).uniform(0.7, 1, (12, 16, 24, 3))
        file.create_dataset("stack", data=(blob[..., None] * noise).astype(np.uint8)).attrs["channel_names"] = [
            "Bgs4", "Alp14", "Tea1"]
    train_small_networks(folder, training=20, held_out=16)
    return folder


@pytest.fixture
def here(folder, monkeypatch, tmp_path):
    """Links to that folder's content in a new current folder."""
    for name in ("data", "checkpoints", "joint.h5"):
        (tmp_path / name).symlink_to(folder / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments):
    return evaluate.main(["-d", "data", "--fast", *arguments])


def stored(name, split=0):
    return json.loads(Path(f"evaluation/{name}.split{split}.json").read_text())


def test_a_model_beside_real_images(here, capsys, monkeypatch):
    monkeypatch.setattr(evaluate, "find_classifier", find_classifier)
    monkeypatch.setattr(features, "train_classifier", functools.partial(features.train_classifier, updates=20))
    shutil.copytree("data", "with joint cells")
    shutil.copy("joint.h5", "with joint cells/joint_test.h5")
    for arguments in ([], ["-i", STAR], ["-i", PLAIN]):
        assert evaluate.main(["-d", "with joint cells", "--fast", "--splits", "1", *arguments]) == 0
    result = stored("DCGAN-starshaped.WGAN-GP.2")
    assert result["name"] == ROW and result["joint_scores"].keys() == {ROW} and result["seed"] == 0
    assert result["scores"].keys() == {"Alp14", "Tea1"}
    assert result["scores"]["Alp14"].keys() == {"c2st", *tables.FEATURES}
    assert stored("real")["scores"].keys() == {"Alp14", "Tea1", c2st.EVERYTHING}
    assert stored("DCGAN.WGAN-GP.2")["scores"].keys() == {c2st.EVERYTHING}
    assert result["versions"]["keras"] and result["command"] and result["source"]["sha256"]
    assert 0 < result["classifier_accuracy"] <= 1
    text = Path("evaluation/tables.md").read_text()
    assert text.index("| real images |") < text.index(f"| {ROW} |") and "| greens of any cells |" in text
    said = capsys.readouterr().out
    for name in ("c2st", "correlations", "localisation"):
        assert Image.open(f"evaluation/{name}.png").width > 500 and f"Output: evaluation/{name}.png" in said


@pytest.mark.usefixtures("quick_runs")
@pytest.mark.parametrize("architecture", ["DCGAN-multichannel", "DCGAN-separable-independent"])
def test_other_models_of_all_factors_beside_true_cells(here, architecture):
    """Every factor has a score, and cells with all greens are compared, with the channels in the same order."""
    train.main([*SMALL, "-d", "data", "-m", architecture, "-e", "2", "-c", "others"])
    path = f"others/weights.generator.{architecture}.WGAN-GP.2.h5"
    assert run("-i", path, "--joint", "joint.h5", "--split", "0") == 0
    result = stored(f"{architecture}.WGAN-GP.2")
    assert result["scores"].keys() == {"Alp14", "Tea1"} == set(result["source"]["factors"])
    joint_scores = result["joint_scores"][f"{architecture} WGAN-GP 2"]
    assert np.shape(joint_scores["correlations"]) == (3, 3) and np.isfinite(joint_scores["c2st"])


class Flat:
    """A network each of whose channels has one constant brightness, in [-1, 1]."""

    def __init__(self, levels):
        self.levels = levels

    def predict_on_batch(self, z):
        return np.broadcast_to(self.levels, (len(z), 4, 6, len(self.levels)))


def test_samples_of_a_factor_have_its_own_red():
    """A cell with all factors has the first one's."""
    for architecture, own in (("DCGAN-independent", True), ("DCGAN-starshaped", False)):
        shape = spec(architecture)
        levels = np.linspace(-1, 1, len(shape.channel_names))
        generator = TrainedGenerator(Path("flat.h5"), functools.partial(Flat, levels), Metadata(shape, None, {}))
        samples = c2st.Generated(generator).samples(3, 2, c2st.Split(0, 0))
        bright = np.rint((levels + 1) * 127.5)
        for k, (name, (training, held_out)) in enumerate(samples.items()):
            assert name == shape.factors[k] and len(training) == 3 and len(held_out) == 2
            assert training[0, 0, 0].tolist() == [bright[2 * k if own else 0], bright[2 * k + 1 if own else 1 + k]]
        assert generator.cells(2, np.random.default_rng(0))[0, 0, 0, shape.cell_channels].tolist() == [
            bright[k] for k in ((0, 1, 3) if own else (0, 1, 2))]


def test_splits_as_separate_jobs_give_the_same_as_one_run(here):
    assert run("-i", STAR, "--splits", "2", "-o", "together") == 0
    for split in ("1", "0"):
        assert run("-i", STAR, "--split", split, "-o", "apart") == 0
    assert not Path("apart/tables.md").exists()
    assert evaluate.main(["--combine", "-o", "apart"]) == 0
    assert [path.name for path in sorted(Path("apart").glob("*.png"))] == [
        path.name for path in sorted(Path("together").glob("*.png"))]
    together, apart = (results.combine(results.read_results(Path(name))) for name in ("together", "apart"))
    for factor, scores in together.rows[ROW].items():
        assert apart.rows[ROW][factor]["c2st"] == pytest.approx(scores["c2st"], rel=1e-3, abs=1e-3)


def test_existing_results_are_not_computed_again(here, capsys):
    run("--split", "0")
    before = Path("evaluation/real.split0.json").stat().st_mtime_ns
    assert run("--split", "0") == 0
    assert "exists already" in capsys.readouterr().out
    assert Path("evaluation/real.split0.json").stat().st_mtime_ns == before


def test_results_of_earlier_versions_count(here, capsys):
    """They describe the same weights with fewer settings."""
    assert run("-i", PLAIN, "--split", "0") == 0
    path = Path("evaluation/DCGAN.WGAN-GP.2.split0.json")
    result = json.loads(path.read_text())
    del result["source"]["training"]["r1_gamma"]
    path.write_text(json.dumps(result))
    assert run("-i", PLAIN, "--split", "0") == 0 and "exists already" in capsys.readouterr().out
    result["source"]["sha256"] = "0"
    path.write_text(json.dumps(result))
    assert run("-i", PLAIN, "--split", "0") == 2 and "other source" in capsys.readouterr().err


def test_pairs_of_factors(here, capsys):
    assert run("--pairs", "--splits", "2", "-o", "pairs") == 0
    combined = results.combine(results.read_results(Path("pairs")))
    assert combined.pairs.keys() == {("Alp14", "Tea1"), ("Tea1", "Alp14")}
    text = Path("pairs/tables.md").read_text()
    same = combined.rows[results.REAL]["Tea1"]["c2st"]
    assert f"{same[0]:.1f} ± {same[1]:.1f} |" in text and Path("pairs/pairs.png").exists()


@pytest.mark.usefixtures("quick_runs")
def test_models_of_one_factor_make_up_one_row(here):
    for factor in ("Alp14", "Tea1"):
        train.main([*SMALL, "-d", "data", "-p", factor, "-m", "DCGAN", "-e", "1", "-c", factor])
        assert run("-i", f"{factor}/weights.generator.DCGAN.WGAN-GP.1.h5", "--name", "one-class", "--split", "0") == 0
    rows = results.combine(results.read_results(Path("evaluation"))).rows
    assert rows["one-class"].keys() == {"Alp14", "Tea1", results.OVERALL}
    assert rows["one-class"][results.OVERALL]["c2st"][0] == pytest.approx(
        np.mean([rows["one-class"][factor]["c2st"][0] for factor in ("Alp14", "Tea1")]))


def test_the_page_needs_no_network(here):
    assert run("--splits", "1", "--joint", "joint.h5", "--report") == 0
    page = Path("evaluation/report.html").read_text()
    assert not re.search(r"(src|href)=\"(?!data:)", page) and page.count("data:image/png;base64,") == 3
    for text in ("real images", "iterations", "keras", "C2ST"):
        assert text in page


def test_means_and_errors_over_splits(tmp_path):
    def result(split, alp14, tea1):
        return {"format": 1, "name": "m", "split": split, "critic": {}, "seed": 0, "held_out": {},
                "scores": {"Alp14": {"c2st": alp14}, "Tea1": {"c2st": tea1}}}
    row = results.combine([result(0, 1.0, 5.0), result(1, 3.0, 5.0), result(2, 5.0, 5.0)]).rows["m"]
    assert row["Alp14"]["c2st"] == pytest.approx((3, 2)) and row["Tea1"]["c2st"] == pytest.approx((5, 0))
    assert row[results.OVERALL]["c2st"] == pytest.approx((4, 1))


def test_rows_are_ordered_by_training():
    names = "star 50", "star 1000", "one", results.REAL
    combined = results.combine([{"format": 1, "name": name, "split": 0, "critic": {}, "seed": 0, "held_out": {},
                                 "scores": {"Alp14": {"c2st": 1.0}}} for name in names])
    assert list(combined.rows) == [results.REAL, "one", "star 50", "star 1000"]


def test_the_classifier_learns_is_stored_and_is_refused_when_damaged(tmp_path):
    write_images(tmp_path / "LIN_train", number=60)
    images = dataloader.load(tmp_path / "LIN_train")
    network = features.train_classifier(images, updates=400)
    path = tmp_path / "weights.classifier.h5"
    saved = features.save_classifier(path, network, images, images)
    loaded = features.load_classifier(path)
    assert saved.accuracy > 0.9
    assert loaded.training_sha256 == images.fingerprint
    assert (loaded.factors, loaded.accuracy) == (images.factors, saved.accuracy)
    here, there = (features.extract(each, images.pixels)[0] for each in (network, loaded.network))
    np.testing.assert_allclose(here, there, atol=1e-5)
    assert abs(here.mean()) < 0.3 and 0.6 < here.std() < 1.5
    with h5py.File(path, "r+") as file:
        file["classifier/0000"][0, 0, 0, 0] += 1
    with pytest.raises(InputError, match="damaged"):
        features.load_classifier(path)


@pytest.mark.slow
def test_the_classifier_does_not_depend_on_its_last_batch(tmp_path, monkeypatch):
    """Its learning rate falls to 0, so that a black last batch changes no weight."""
    images, kernels = dataloader.load(write_images(tmp_path / "LIN_train")), []
    batches = features.training_batches
    for black in (29, None):
        monkeypatch.setattr(features, "training_batches", lambda *arguments, black=black: (
            (pixels * (k != black), labels) for k, (pixels, labels) in enumerate(batches(*arguments))))
        kernels.append(features.train_classifier(images, updates=30).get_layer("logits").kernel.numpy())
    assert abs(kernels[0] - kernels[1]).max() < 3e-5
    assert abs(kernels[0] - features.build_classifier(16, 24, 2, 2).get_layer("logits").kernel.numpy()).max() > 0.01


# ---------------------------------------------------------------------------------------------- stages of a training

@pytest.mark.usefixtures("quick_runs")
def test_the_checkpoints_of_a_training_make_a_chart_with_samples(here):
    """One curve for each training, from one command, and a strip of samples beside every row."""
    train.main([*SMALL, "-d", "data", "-m", "DCGAN", "-e", "3", "--keep_every", "1", "-c", "kept"])
    kept = [f"kept/weights.combined_model.DCGAN.WGAN-GP.1.{k}.h5" for k in (1, 2, 3)]
    assert run("--splits", "1") == 0
    assert not Path("evaluation/training.png").exists()
    assert run("-i", *kept, "-i", STAR, "--splits", "1") == 0
    combined = results.combine(results.read_results(Path("evaluation")))
    trainings = stages.find_trainings(combined)
    assert trainings == {"DCGAN WGAN-GP": {k: f"DCGAN WGAN-GP {k}" for k in (1, 2, 3)}}
    lines = stages.sample_lines(combined, trainings)
    assert [line.iteration for line in lines] == ["1", "2", "3", ""] and lines[-1].training == results.REAL
    assert lines[2].score == tables.plus_minus(combined.rows["DCGAN WGAN-GP 3"]["all images"]["c2st"], 1)
    strips = [np.asarray(Image.open(line.strip)) for line in lines]
    assert {strip.shape for strip in strips} == {(16, 6 * 24 + 5 * 2, 3)}
    assert min(abs(one.astype(int) - two).max() for one, two in itertools.combinations(strips, 2)) > 0
    assert np.asarray(Image.open("evaluation/training.png").convert("L")).std() > 20


def test_two_trainings_of_one_name_are_two_curves():
    """Rows belong together only if all settings agree; few of many stages are listed, the last one among them."""
    def result(iteration, seed):
        name = f"DCGAN GAN {iteration} {seed}"
        return {"format": 1, "name": name, "split": 0, "critic": {}, "seed": 0, "held_out": {}, "strip": Path("none"),
                "source": {"network": {"architecture": "DCGAN"}, "training": {"algorithm": "GAN", "seed": seed},
                           "iteration": iteration}, "scores": {"all images": {"c2st": float(seed)}}}
    combined = results.combine([result(k, seed) for seed in (1, 2) for k in range(10, 210, 10)] + [result(10, 3)])
    trainings = stages.find_trainings(combined)
    assert {name: len(rows) for name, rows in trainings.items()} == {"DCGAN GAN": 20, "DCGAN GAN (2)": 20}
    lines = stages.sample_lines(combined, trainings)
    assert [line.iteration for line in lines[:5]] == ["10", "60", "110", "150", "200"] and len(lines) == 10


# ---------------------------------------------------------------------------------------------- some of the factors

def test_fewer_factors_than_were_evaluated_need_nothing_new(here, capsys):
    """Neither scores nor a classifier: those of all factors are there."""
    assert run("--splits", "1", "--pairs") == 0 and run("-i", STAR, "--splits", "1") == 0
    before = {path: path.stat().st_mtime_ns for path in Path("evaluation").glob("*.json")}
    for arguments in (["--pairs"], [], ["-i", STAR]):
        assert run(*arguments, "-p", "Tea1", "--splits", "1") == 0
        assert "exists already" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in Path("evaluation").glob("*.json")} == before


@pytest.mark.usefixtures("quick_runs")
def test_some_factors_beside_a_model_of_all(here, capsys):
    """Its images of all factors together are others than those of some factors, so only single factors are added."""
    shutil.copytree("data/LIN_train/Tea1", "three/LIN_train/Sid2")
    shutil.copytree("data/LIN_test/Tea1", "three/LIN_test/Sid2")
    for part in ("LIN_train", "LIN_test"):
        for factor in ("Alp14", "Tea1"):
            shutil.copytree(f"data/{part}/{factor}", f"three/{part}/{factor}")
    train.main([*SMALL, "-d", "three", "-m", "DCGAN", "-e", "1", "-c", "three"])
    fast = ["-d", "three", "--fast", "--splits", "1"]
    assert evaluate.main([*fast, "-i", "three/weights.generator.DCGAN.WGAN-GP.1.h5"]) == 0
    assert evaluate.main([*fast, "-p", "Alp14,Tea1"]) == 0
    assert stored("real")["scores"].keys() == {"Alp14", "Tea1"}
    assert evaluate.main([*fast, "-p", "Alp14,Tea1", "-o", "apart"]) == 0
    assert "all images" in Path("apart/tables.md").read_text()


def test_what_no_table_can_hold_is_refused_before_it_is_computed(here, capsys, monkeypatch):
    assert run("--split", "0") == 0
    monkeypatch.setattr(c2st, "score_halves", None)
    assert evaluate.main(["-d", "data", "--split", "0", "-i", STAR]) == 2
    assert "scored with another critic" in capsys.readouterr().err


def test_some_factors_of_a_star(here, capsys):
    assert run("-i", STAR, "-p", "Tea1", "--split", "0") == 0
    assert stored("DCGAN-starshaped.WGAN-GP.2")["scores"].keys() == {"Tea1"}
    assert run("-i", STAR, "-p", "Sid2", "--split", "0") == 2 and "can't generate Sid2" in capsys.readouterr().err
    assert run("-i", PLAIN, "-p", "Tea1", "--split", "0") == 2 and "can't generate Tea1" in capsys.readouterr().err
    assert run("-i", STAR, "--split", "0") == 2 and "other held-out images" in capsys.readouterr().err


@pytest.mark.usefixtures("quick_runs")
def test_the_classifier_of_all_factors_serves_some_of_them(here, capsys, monkeypatch):
    """Whether they are chosen with -p or by their folder; but not factors that it does not know."""
    monkeypatch.setattr(evaluate, "find_classifier", find_classifier)
    monkeypatch.setattr(features, "train_classifier", lambda images: features.build_classifier(
        *images.pixels.shape[1:], len(images.factors)))
    assert run("-p", "Tea1", "--split", "0") == 0
    assert features.load_classifier(Path("evaluation/weights.classifier.h5")).factors == ("Alp14", "Tea1")
    assert "right_factor" in stored("real")["scores"]["Tea1"]
    monkeypatch.delattr(features, "train_classifier")
    train.main([*SMALL, "-d", "data", "-p", "Alp14", "-m", "DCGAN", "-e", "1", "-c", "one"])
    shutil.copytree("data/LIN_train/Alp14", "one factor/LIN_train/Alp14")
    shutil.copytree("data/LIN_test/Alp14", "one factor/LIN_test/Alp14")
    one = ["-i", "one/weights.generator.DCGAN.WGAN-GP.1.h5", "--fast", "--split", "0"]
    capsys.readouterr()
    assert evaluate.main([*one, "-d", "one factor"]) == 0
    assert "trained on other images than those of -d; its features serve" in capsys.readouterr().out
    assert "frechet" in stored("DCGAN.WGAN-GP.1.Alp14")["scores"]["Alp14"]
    (here / "one factor/LIN_train/Alp14").rename(here / "one factor/LIN_train/Sid2")
    (here / "one factor/LIN_test/Alp14").rename(here / "one factor/LIN_test/Sid2")
    assert evaluate.main(["--fast", "--split", "1", "-d", "one factor"]) == 2
    assert "other factors" in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------- progress

def test_every_step_of_the_progress_is_taken(here, monkeypatch):
    """Of real images, pairs and models, with cells of all channels and without: none is left, and none is missing."""
    titles = []

    @contextlib.contextmanager
    def counted(title, unit, number):
        steps = iter(range(number))
        yield steps
        titles.append(title)
        assert not list(steps) and number > 12
    monkeypatch.setattr(evaluate, "shared_steps", counted)
    for arguments in (["--pairs", "--joint", "joint.h5"], ["-i", STAR, "--joint", "joint.h5"], ["-i", PLAIN]):
        assert run(*arguments, "--splits", "2") == 0
    assert titles[:3] == ["real images, split 1 of 2", "real images, split 2 of 2", "pairs, split 1 of 2"]
    assert titles[-1] == "DCGAN WGAN-GP 2, split 2 of 2" and len(titles) == 8


def test_a_table_says_which_way_is_better_and_what_is_far():
    """A distance beyond those between factors is no number to compare."""
    def result(name, distance):
        scores = dict.fromkeys(tables.FEATURES, 0.5) | {"c2st": 1.0, "frechet": distance, "kernel": distance}
        return {"format": 1, "name": name, "split": 0, "critic": {}, "seed": 0, "held_out": {},
                "scores": {"Alp14": scores}}
    text = tables.markdown(results.combine([result("early", 2.65e6), result("late", 3.0)]))
    assert "| early | far | far | 0.50 |" in text and "| late | 3.00 | 3.00 | 0.50 |" in text
    assert "far: further than images of different factors" in text and "2650000" not in text
    assert "Fréchet ↓" in text and "recall ↑" in text and "↓: 0 is best; ↑: 1 is best" in text
    assert "far" not in tables.markdown(results.combine([result("late", 3.0)]))


def test_torn_cells_have_a_column_and_images_without_outlines_a_dash():
    """Also for a single factor, which has no features, and beside results of earlier versions."""
    def result(name, scores, **more):
        return {"format": 1, "name": name, "split": 0, "critic": {}, "seed": 0, "held_out": {},
                "scores": {"Alp14": {"c2st": 1.0} | scores}} | more
    features_only = dict.fromkeys(tables.FEATURES, 0.5)
    text = tables.markdown(results.combine([result("new", features_only | {"torn": 19.66}, true_outlines={}),
                                            result("old", features_only), result("plain", {"torn": 1.0})]))
    header, lines = text.split("Fréchet ↓")[1].splitlines()[0], text.splitlines()
    assert header.endswith("| torn, % ↓ |") and "of which 1 % count as torn" in text
    assert [line.split("|")[-2].strip() for line in lines if line.startswith(("| new", "| old", "| plain"))][3:] == [
        "19.7", "–", "1.0"]
    digits = tables.markdown(results.combine([result("digits", features_only, true_outlines=None)]))
    assert "torn, % ↓" in digits and digits.splitlines()[-1].endswith("| – |")
    assert "torn" not in tables.markdown(results.combine([result("old", features_only)]))


def test_torn_cells_of_a_row_are_in_its_result(here, monkeypatch):
    """Of real images and of a star, whose factors share their cells."""
    limits = outlines.TrueOutlines(0.0, 0.1, 0.5, 300)
    monkeypatch.setattr(outlines, "calibrate", lambda red: limits)
    monkeypatch.setattr(outlines, "percent_torn", lambda red, true: float(len(red)))
    monkeypatch.setattr(scoring, "MEASURED", 9)
    assert run("-i", STAR, "--split", "0") == 0 and run("--split", "0") == 0
    for name in ("DCGAN-starshaped.WGAN-GP.2", "real"):
        result = stored(name)
        assert {scores["torn"] for scores in result["scores"].values()} == {9.0}
        assert result["true_outlines"] == limits._asdict()


# ---------------------------------------------------------------------------------------------- errors

@pytest.mark.parametrize("arguments, remark", [
    ([], "-d"), (["-d", "data", "-i", STAR, "--pairs"], "leave out -i"), (["-d", "data", "-i", "none.h5"], "none.h5"),
    (["-d", "nowhere"], "nowhere"), (["--combine"], "no results here yet"),
    (["-d", "data/LIN_test/Alp14", "--fast"], "_train"), (["-d", "data", "--joint", "none.h5"], "none.h5")])
def test_errors_are_one_line(here, arguments, remark, capsys):
    assert evaluate.main(arguments) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and remark in message


def test_results_that_are_not_comparable(here, capsys):
    run("--split", "0")
    assert evaluate.main(["-d", "data", "--fast", "--split", "0", "-s", "1"]) == 2
    assert "another evaluation (other seed)" in capsys.readouterr().err
    other = stored("real") | {"seed": 1, "name": "other"}
    Path("evaluation/other.split0.json").write_text(json.dumps(other))
    assert evaluate.main(["--combine"]) == 2 and "another seed" in capsys.readouterr().err
    Path("evaluation/other.split0.json").write_text("{")
    assert evaluate.main(["--combine"]) == 2 and "other.split0.json" in capsys.readouterr().err


def test_too_few_images(here, capsys):
    shutil.copytree("data/LIN_train", "few/LIN_train")
    write_images(here / "few" / "LIN_test", number=5)
    assert evaluate.main(["-d", "few", "--fast"]) == 2
    assert "at least 12" in capsys.readouterr().err


def test_the_help_has_examples_and_explains_the_fast_mode():
    text = evaluate.parser().format_help()
    assert "examples:" in text and "--combine --report" in text and "misses fine differences" in " ".join(text.split())


@pytest.mark.parametrize("words", [(), ("-i", PLAIN, STAR), ("-p", "Tea1")])
def test_held_out_images_that_are_training_images(folder, here, capsys, words):
    """One line, however many models are evaluated."""
    (here / "data").unlink()
    shutil.copytree(folder / "data", here / "data")
    for k in range(3):
        shutil.copy(here / "data" / "LIN_train" / "Tea1" / f"cell00{k}.png", here / "data" / "LIN_test" / "Tea1")
    run("--split", "0", *words)
    number = 16 if "-p" in words else 32
    assert capsys.readouterr().err.count(f"warning: 3 of {number} held-out images are training images: ") == 1


def test_masks_beside_the_factors_of_a_model(folder, here, capsys):
    """The training was without them, so nothing asks about them, although no -p is given."""
    (here / "data").unlink()
    shutil.copytree(folder / "data", here / "data")
    for split in ("LIN_train", "LIN_test"):
        shutil.copytree(here / "data" / split / "Tea1", here / "data" / split / "masks")
    assert run("--split", "0", "-i", STAR) == 0
    assert run("--split", "0") == 2
    assert "masks may hold masks or labels" in capsys.readouterr().err
    assert run("--split", "0", "-p", "Alp14,Tea1") == 0
