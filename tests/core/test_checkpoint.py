"""Weights on disk: exact resume, verified reading, and files that plain Keras opens."""

import dataclasses
import json
import os
import resource
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest
from hypothesis import given, settings as examples, strategies as st

from biogans.core import checkpoint
from biogans.core.engine import Engine, generate
from biogans.core.trained import earlier_checkpoints, find, load_generator, read_weights
from biogans.system import hdf5, seal
from biogans.system.errors import InputError
from networks import EVERY_PAIR, SCHEDULE, batches, images, settings, spec


def trained(architecture, algorithm, iterations, folder=None, **changes):
    """(Engine, paths, metadata) after some iterations from the 25th on, saved in `folder` if that is given.

    In earlier iterations WGAN takes 100 updates of the critic.
    """
    run = Engine(spec(architecture, algorithm), settings(algorithm, **changes))
    data = batches(architecture, run.settings)
    for iteration in range(25, 25 + iterations):
        run.iterate(iteration, data)
    paths = folder and checkpoint.RunPaths(folder, run.spec, algorithm)
    metadata = checkpoint.run_metadata(run.spec, run.settings, images())
    if paths:
        checkpoint.save(paths, run, metadata, 25 + iterations)
    return run, paths, metadata


def state(run):
    return [variable.numpy() for variables in run.variables.values() for variable in variables]


def two_halves_equal_one_run(architecture, algorithm, folder, **changes):
    """One run is saved on its way, which changes nothing in it; another one begins with that checkpoint."""
    whole, _, metadata = trained(architecture, algorithm, 3, **changes)
    before, paths = state(whole), checkpoint.RunPaths(folder, whole.spec, algorithm)
    checkpoint.save(paths, whole, metadata, 28)
    assert all(map(np.array_equal, state(whole), before))
    rest = Engine(spec(architecture, algorithm), settings(algorithm, **changes))
    assert checkpoint.restore(paths.combined, rest, metadata) == 28
    for run in (whole, rest):
        for iteration in range(28, 31):
            run.iterate(iteration, batches(architecture, run.settings))
    assert rest.position == whole.position
    assert all(np.array_equal(a, b) for a, b in zip(state(whole), state(rest), strict=True))


@pytest.mark.parametrize("architecture, algorithm", EVERY_PAIR)
def test_two_halves_equal_one_run(architecture, algorithm, tmp_path):
    """6 iterations equal 3, a save, and 3 more in new objects, bit for bit: weights, optimizers, averages."""
    two_halves_equal_one_run(architecture, algorithm, tmp_path)


@pytest.mark.parametrize("algorithm, changes", [
    ("WGAN-GP", {"augment": ("affine",)}), ("RpGAN", SCHEDULE), ("GAN", SCHEDULE)])
def test_two_halves_with_augmentation_or_a_schedule_equal_one_run(tmp_path, algorithm, changes):
    two_halves_equal_one_run("DCGAN", algorithm, tmp_path, **changes)


def test_a_setting_that_a_checkpoint_lacks_had_its_default(star, tmp_path):
    """Checkpoints of versions without the setting are resumed with its default, but with no other value."""
    run, paths, metadata = star
    older = tmp_path / "older.h5"
    older.write_bytes(paths.combined.read_bytes())
    with h5py.File(older, "r+") as file:
        stored = json.loads(file.attrs["biogans"])
        del stored["training"]["augment"]
        hdf5.describe(file, stored)
    assert checkpoint.restore(older, run, metadata) == 27
    other = dataclasses.replace(metadata, training=settings(augment=("affine",)))
    with pytest.raises(InputError, match="augment: .* there, .'affine'. here"):
        checkpoint.restore(older, run, other)


@pytest.fixture(scope="module")
def star(tmp_path_factory):
    """A star-shaped WGAN-GP of two factors and its paths."""
    return trained("DCGAN-starshaped", "WGAN-GP", 2, tmp_path_factory.mktemp("checkpoints"))


def test_names_of_the_files(star, tmp_path):
    _, paths, _ = star
    assert {path.name for path in paths.folder.iterdir()} == {
        "weights.generator.DCGAN-starshaped.WGAN-GP.2.h5", "model.generator.DCGAN-starshaped.WGAN-GP.2.h5",
        "weights.combined_model.DCGAN-starshaped.WGAN-GP.2.h5",
        "weights.critic[0].DCGAN-starshaped.WGAN-GP.2.h5", "weights.critic[1].DCGAN-starshaped.WGAN-GP.2.h5"}
    trained("DCGAN-separable", "GAN", 1, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "weights.generator.DCGAN-separable.GAN.1.h5", "model.generator.DCGAN-separable.GAN.1.h5",
        "weights.combined_model.DCGAN-separable.GAN.1.h5", "weights.discriminator.DCGAN-separable.GAN.1.h5"}


def test_weights_files_hold_weights_and_nothing_else(star):
    run, paths, _ = star
    with h5py.File(paths.generator) as file:
        assert "model_config" not in file.attrs and list(file) == ["model_weights"]
        stored = []
        file.visititems(lambda name, item: stored.append(name) if isinstance(item, h5py.Dataset) else None)
    assert len(stored) == len(run.generator.weights)


def test_each_file_generates_the_same_cells(star):
    run, paths, _ = star
    z = np.random.default_rng(0).standard_normal((3, 6)).astype("float32")
    expected = generate(run.average, z)
    for path in (paths.generator, paths.model, paths.combined):
        generator = load_generator(path)
        assert np.array_equal(generator.generate(z), expected)
        assert generator.spec == run.spec and generator.metadata.iteration == 27


PLAIN_KERAS = """
import sys
import numpy as np
import keras
model = keras.models.load_model(sys.argv[1])
np.save(sys.argv[2], model.predict(np.load(sys.argv[3]), verbose=0))
same = keras.models.clone_model(model)
same.load_weights(sys.argv[4])
assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), same.get_weights()))
assert "biogans" not in sys.modules
"""


def test_plain_keras_reads_the_files(star, tmp_path):
    """With keras.models.load_model and load_weights, in a process that can't import biogans."""
    run, paths, _ = star
    z = np.random.default_rng(0).standard_normal((3, 6)).astype("float32")
    np.save(tmp_path / "z.npy", z)
    blocked = tmp_path / "biogans.py"
    blocked.write_text("raise ImportError('plain Keras must not need it')")
    result = subprocess.run([sys.executable, "-c", PLAIN_KERAS, paths.model, tmp_path / "cells.npy", tmp_path / "z.npy",
                             paths.generator], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    np.testing.assert_allclose(np.load(tmp_path / "cells.npy"), generate(run.average, z), atol=1e-6)


def test_names_with_the_image_size(star):
    _, paths, _ = star
    older = paths.folder / "weights.generator.DCGAN-starshaped.WGAN-GP.16_24.1.2.h5"
    assert find(older) == find(older.name, paths.folder) == paths.generator
    with pytest.raises(InputError, match="no such file"):
        find(paths.folder / "weights.generator.DCGAN.GAN.16_24.1.2.h5")


def test_included_files_are_found_by_the_names_that_training_gives(star, tmp_path, capsys):
    """The included files have the image size in their names; a file of one's own comes first."""
    _, paths, _ = star
    included = tmp_path / "weights.generator.DCGAN-starshaped.WGAN-GP.16_24.1.2.h5"
    shutil.copy(paths.generator, included)
    assert find(tmp_path / paths.generator.name) == included
    assert f"no such file: using {included.name}" in capsys.readouterr().out
    shutil.copy(paths.generator, tmp_path)
    assert find(tmp_path / paths.generator.name) == tmp_path / paths.generator.name
    assert find(included) == included


def test_a_file_for_another_image_size_is_never_substituted(star):
    _, paths, _ = star
    with pytest.raises(InputError, match=r"96_160.1.2.h5: no such file: .* generates images of 16x24 pixels"):
        find(paths.folder / "weights.generator.DCGAN-starshaped.WGAN-GP.96_160.1.2.h5")


def test_names_of_older_versions(star):
    _, paths, _ = star
    assert find(paths.folder / "weights.combined_model[0].DCGAN-starshaped.WGAN-GP.2.h5") == paths.combined


@pytest.mark.parametrize("name, content, words", [
    (".", None, "this is a folder"), ("cell.png", b"\x89PNG\r\n", "is an image, not a file of weights"),
    ("stack.h5", "stack", "is an image stack, not a file of weights: visualize.py -i"),
    ("notes.txt", b"text", "not a readable weights file"), ("other.pth", b"PK", "biogans import_torch"),
    ("nothing.h5", None, "no such file")])
def test_a_wrong_file_is_named_for_what_it_is(star, tmp_path, name, content, words):
    """With a generator that is there, if there is one."""
    _, paths, _ = star
    shutil.copy(paths.generator, tmp_path)
    if content == "stack":
        with h5py.File(tmp_path / name, "w") as file:
            file["stack"] = np.zeros((1, 8, 8, 2), np.float32)
    elif content:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as mistake:
        load_generator(tmp_path / name)
    assert words in str(mistake.value)
    if content is None:
        assert f"such as {tmp_path / paths.generator.name}" in str(mistake.value)


def test_other_settings_are_refused_with_the_differences(star):
    run, paths, _ = star
    other = Engine(run.spec, settings(lrD=0.5, batch_size=5))
    metadata = checkpoint.run_metadata(other.spec, other.settings, images(seed=1))
    before = state(other)
    with pytest.raises(InputError) as refused:
        checkpoint.restore(paths.combined, other, metadata)
    for difference in ("lrD: 0.0001 there, 0.5 here", "batch_size: 4 there, 5 here", "images sha256"):
        assert difference in str(refused.value)
    assert all(np.array_equal(a, b) for a, b in zip(before, state(other)))


def test_a_critic_is_no_generator_and_a_generator_no_checkpoint(star):
    run, paths, metadata = star
    with pytest.raises(InputError, match="critic 1, which generates nothing"):
        load_generator(paths.critic("critic", 1))
    with pytest.raises(InputError, match="only weights.combined_model"):
        checkpoint.restore(paths.generator, run, metadata)


@pytest.mark.parametrize("where", [0.1, 0.5, 0.9])
def test_flipped_bits_are_detected(star, tmp_path, where):
    """In arrays, which HDF5 itself does not check."""
    _, paths, _ = star
    content = bytearray(paths.generator.read_bytes())
    with h5py.File(paths.generator) as file:
        array = file["model_weights/red_0_projection/red_0_projection/kernel"]
        offset = array.id.get_offset() + int(where * array.nbytes)
    content[offset] ^= 0x10
    damaged = tmp_path / "damaged.h5"
    damaged.write_bytes(content)
    with pytest.raises(InputError, match="damaged.h5 is damaged"):
        load_generator(damaged)


def test_a_changed_description_is_detected(star, tmp_path):
    _, paths, _ = star
    damaged = tmp_path / "damaged.h5"
    damaged.write_bytes(paths.generator.read_bytes())
    with h5py.File(damaged, "r+") as file:
        metadata = json.loads(file.attrs["biogans"])
        metadata["network"]["ngf"] = 8
        file.attrs["biogans"] = json.dumps(metadata)
    with pytest.raises(InputError, match="damaged"):
        load_generator(damaged)


def test_absurd_networks_are_refused_before_they_are_built(star, tmp_path):
    """Even if the checksum is right: a file of a few bytes must not make Keras allocate terabytes."""
    _, paths, _ = star
    for change in ({"ngf": 10**9}, {"height": "48"}, {"architecture": "Lambda"}, {"factors": 3}, {"surprise": 1},
                   {"red_ngf": 10**9}, {"red_ngf": 9.5}, {"red_ngf": -1}, {"noise": "yes"}, {"noise": True},
                   {"noise": True, "height": 1 << 16, "width": 1 << 16}):
        bomb = tmp_path / "bomb.h5"
        bomb.write_bytes(paths.generator.read_bytes())
        with h5py.File(bomb, "r+") as file:
            metadata = json.loads(file.attrs["biogans"])
            metadata["network"] |= change
            hdf5.describe(file, metadata)
        with pytest.raises(InputError, match="can't build"):
            load_generator(bomb)


def test_a_huge_network_is_compared_with_the_arrays_before_it_gets_memory(star, tmp_path):
    _, paths, _ = star
    path = tmp_path / "huge.h5"
    shutil.copy(paths.generator, path)
    with h5py.File(path, "r+") as file:
        metadata = json.loads(file.attrs["biogans"])
        metadata["network"]["ngf"] = 1 << 16
        hdf5.describe(file, metadata)
    seal.append_trailer(path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match="huge.h5: .* has the shape"):
        generate(load_generator(path).network, np.zeros((1, 6), np.float32))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000        # kilobytes
    assert load_generator(paths.generator).network.count_params() > 0


def test_compressed_weights_are_refused(star, tmp_path):
    """No weights file has any, and HDF5 would load what decompresses them from a folder of plugins."""
    path = tmp_path / "packed.h5"
    shutil.copy(star[1].generator, path)
    with h5py.File(path, "r+") as file:
        file.create_dataset("more", data=np.zeros(99, np.float32), chunks=(9,), compression="gzip")
    with pytest.raises(InputError, match="packed.h5 is not a readable weights file .*compressed"):
        read_weights(path)


def test_data_outside_of_the_file_is_not_read(star, tmp_path):
    """Links to other files are ignored, and sizes above that of the file are refused."""
    _, paths, _ = star
    for name, plant in {"link": lambda file: file.__setitem__("other", h5py.ExternalLink(str(paths.model), "/")),
                        "size": lambda file: file.create_dataset("huge", (10**12,), "float32", chunks=(1024,))}.items():
        path = tmp_path / f"{name}.h5"
        path.write_bytes(paths.generator.read_bytes())
        with h5py.File(path, "r+") as file:
            plant(file)
        if name == "size":
            with pytest.raises(InputError, match="more bytes than the file"):
                load_generator(path)
        else:
            assert "other" not in "".join(read_weights(path)[0])


def test_an_earlier_run_is_set_aside(star, tmp_path):
    run, paths, _ = star
    own = checkpoint.RunPaths(tmp_path, run.spec, "WGAN-GP")
    other = tmp_path / "weights.generator.DCGAN.GAN.1.h5"
    for path in (own.generator, own.critic("critic", 0), own.log, other):
        path.write_text("old")
    aside = own.set_aside()
    assert sorted(path.name for path in aside.iterdir()) == sorted(
        path.name for path in (own.generator, own.critic("critic", 0), own.log))
    assert other.read_text() == "old" and own.set_aside() is None


def test_a_new_run_does_not_follow_a_link(star, tmp_path):
    run, _, _ = star
    (tmp_path / "theirs").mkdir()
    paths = checkpoint.RunPaths(tmp_path, run.spec, "WGAN-GP")
    paths.generator.write_text("old")
    (tmp_path / f".new.{paths.name}").symlink_to(tmp_path / "theirs")
    with pytest.raises(InputError, match="this is a link"), paths.locked():
        paths.begin()
    assert not list((tmp_path / "theirs").iterdir())


@pytest.mark.parametrize("killed", ["before the first checkpoint", "after the first checkpoint", "while moving"])
def test_files_of_a_new_run_take_their_places_with_its_first_checkpoint(star, tmp_path, killed):
    """If the process is killed meanwhile, the next run finds either the old files or the new ones, all of them."""
    run, _, metadata = star
    old = checkpoint.RunPaths(tmp_path, run.spec, "WGAN-GP")
    old.generator.write_text("old")
    new = checkpoint.RunPaths(tmp_path, run.spec, "WGAN-GP")
    with new.locked():
        new.begin()
        new.log.write_text("new")
        new.tensorboard.mkdir(parents=True)
        (new.tensorboard / "events").write_text("new")
        assert old.generator.read_text() == "old" and not old.log.exists()
        if killed != "before the first checkpoint":
            checkpoint.save(new, run, metadata, 27)
        if killed == "while moving":
            new.set_aside()
            moved = new.combined.parent.rename(tmp_path / f".complete.{new.name}")
            os.replace(moved / new.log.name, old.log)
    later = checkpoint.RunPaths(tmp_path, run.spec, "WGAN-GP")
    with later.locked():
        pass
    assert not [path for path in tmp_path.iterdir() if path.name[0] == "."]
    if killed == "before the first checkpoint":
        assert [path.name for path in tmp_path.iterdir()] == [old.generator.name]
        return
    assert read_weights(later.combined)[1].iteration == 27 and later.log.read_text() == "new"
    assert (later.tensorboard / "events").read_text() == "new"
    aside, = tmp_path.glob("replaced-*")
    assert (aside / old.generator.name).read_text() == "old"


# ---------------------------------------------------------------------------------------------- history

def iterations(paths):
    return {path.name.split(".2.")[-1]: read_weights(path)[1].iteration for path in paths}


@pytest.mark.parametrize("keep, keep_every, expected", [
    (1, 0, {"h5": 60}), (2, 0, {"h5": 60, "previous-50.h5": 50}),
    (3, 25, {"h5": 60, "previous-50.h5": 50, "previous-45.h5": 45, "50.h5": 50})])
def test_history(star, tmp_path, keep, keep_every, expected):
    run, _, metadata = star
    paths = checkpoint.RunPaths(tmp_path, run.spec, "WGAN-GP", keep, keep_every)
    for iteration in (31, 40, 45, 50, 60, 60):      # a run that is stopped may save an iteration again
        checkpoint.save(paths, run, metadata, iteration)
        newest, others = paths.combined, earlier_checkpoints(paths.combined)
        assert read_weights(newest)[1].iteration == iteration
        assert len([path for path in others if "previous" in path.name]) <= keep - 1
    assert iterations([newest, *others]) == expected
    assert load_generator(paths.generator).metadata.iteration == 60


@pytest.fixture
def history(star, tmp_path):
    """(paths, metadata) of a folder with checkpoints of iterations 30, 40 and 50, all with the same weights."""
    run, _, metadata = star
    paths = checkpoint.RunPaths(tmp_path, run.spec, "WGAN-GP", keep=3)
    for iteration in (30, 40, 50):
        checkpoint.save(paths, run, metadata, iteration)
    return paths, metadata


def test_a_damaged_checkpoint_is_replaced_by_an_earlier_one(star, history, capsys):
    """It is kept under another name, and the files of the networks are written again from the earlier one."""
    paths, metadata = history
    for path in (paths.combined, paths.previous(40)):
        path.write_bytes(path.read_bytes()[:-5000])
    assert checkpoint.resume(paths, star[0], metadata) == 30
    first, second = capsys.readouterr().out.splitlines()
    assert str(paths.combined) in first and "resuming from the one before it" in first and "previous-30" in first
    assert "written again" in second and paths.generator.name in second
    assert read_weights(paths.combined)[1] == read_weights(paths.previous(30))[1]
    for path in (paths.generator, paths.model, paths.critic("critic", 0), paths.critic("critic", 1)):
        assert read_weights(path)[1].iteration == 30
    damaged = sorted(path.name for path in paths.folder.glob("*.damaged.h5"))
    assert len(damaged) == 2 and not paths.previous(40).exists()
    checkpoint.save(paths, star[0], metadata, 41)
    assert set(iterations([paths.combined, *earlier_checkpoints(paths.combined)]).values()) == {41, 30}


def test_a_missing_checkpoint_is_replaced_by_an_earlier_one(star, history, capsys):
    paths, metadata = history
    paths.combined.unlink()
    assert checkpoint.resume(paths, star[0], metadata) == 40
    assert "is not there: resuming from the one before it" in capsys.readouterr().out


def test_without_an_intact_checkpoint_nothing_is_changed(star, history):
    paths, metadata = history
    for path in paths.checkpoints():
        path.write_bytes(b"")
    before = sorted(paths.folder.iterdir())
    with pytest.raises(InputError, match="not a readable weights file"):
        checkpoint.resume(paths, star[0], metadata)
    assert sorted(paths.folder.iterdir()) == before


def test_an_interrupted_save_is_completed(star, history, tmp_path, capsys):
    """After a kill, the networks' files may be older than the combined file, or missing; they are written again."""
    paths, metadata = history
    old = tmp_path / "old"
    shutil.copytree(paths.folder, old)
    checkpoint.save(paths, star[0], metadata, 60)
    shutil.copy(old / paths.generator.name, paths.generator)
    paths.critic("critic", 1).unlink()
    assert checkpoint.resume(paths, star[0], metadata) == 60
    line = capsys.readouterr().out
    assert paths.generator.name in line and "critic[1]" in line and paths.model.name not in line
    assert {read_weights(path)[1].iteration for path in (paths.generator, paths.critic("critic", 1))} == {60}
    checkpoint.resume(paths, star[0], metadata)
    assert not capsys.readouterr().out


def test_the_message_about_damage_names_an_earlier_checkpoint(history):
    paths, _ = history
    paths.combined.write_bytes(paths.combined.read_bytes()[:-5000])
    with pytest.raises(InputError, match=r"use another copy, such as .*previous-40.h5, or train again"):
        load_generator(paths.combined)


# ---------------------------------------------------------------------------------------------- damage and hostility

def test_files_without_a_seal_are_read(star, tmp_path):
    """Earlier versions wrote such files, and h5py leaves them after a change."""
    _, paths, _ = star
    plain = tmp_path / "plain.h5"
    plain.write_bytes(paths.combined.read_bytes().split(seal.MARK)[0])
    arrays, metadata = read_weights(plain)
    assert metadata == read_weights(paths.combined)[1] and len(arrays) > 50


def test_a_damaged_file_is_refused_before_hdf5_reads_it(star, tmp_path, monkeypatch):
    damaged = tmp_path / "damaged.h5"
    content = bytearray(star[1].combined.read_bytes())
    content[100] ^= 1
    damaged.write_bytes(content)
    monkeypatch.setattr(h5py, "File", None)
    with pytest.raises(hdf5.Damaged, match="checksum"):
        read_weights(damaged)


@examples(max_examples=40, deadline=None)
@given(data=st.data(), sealed=st.booleans())
def test_changed_bytes_are_detected_or_do_not_matter(star, tmp_path_factory, data, sealed):
    content = star[1].generator.read_bytes()
    content = bytearray(content if sealed else content.split(seal.MARK)[0])
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=5)):
        content[place] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("fuzz") / "mutant.h5"
    path.write_bytes(content)
    try:
        arrays, metadata = read_weights(path)
    except InputError as refusal:
        assert "\n" not in str(refusal) and "mutant.h5" in str(refusal)
    else:
        expected, described = read_weights(star[1].generator)
        assert metadata == described and arrays.keys() == expected.keys()
        assert all(np.array_equal(arrays[name], expected[name]) for name in arrays)


@pytest.mark.parametrize("change", [{"training": {"algorithm": "../../x"}}, {"training": {"lr_schedule": "x"}},
                                    {"iteration": "7"}, {"position": -1},
                                    {"images": None}, {"pixel_size_um": "x"}, {"pixel_size_um": -1},
                                    {"pixel_size_um": float("nan")}, {"iteration": 10**30}, {"holds": ["x"]},
                                    {"images": {"number": "<b>"}}, {"training": {"batch_size": {"a": 1}}},
                                    {"training": {"optimizer": "\ud800"}}])
def test_a_nonsensical_description_is_refused(star, tmp_path, change):
    """Even if checksums are right. The algorithm, for example, becomes a part of file names."""
    path = tmp_path / "odd.h5"
    shutil.copy(star[1].generator, path)
    with h5py.File(path, "r+") as file:
        metadata = json.loads(file.attrs["biogans"])
        for name, value in change.items():
            metadata[name] = metadata[name] | value if isinstance(value, dict) else value
        hdf5.describe(file, metadata)
    with pytest.raises(InputError, match="odd.h5 describes a training unknown"):
        load_generator(path)
