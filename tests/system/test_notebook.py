"""Commands in the cells of a notebook: real processes, what is shown of them, and how they end."""

import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest

from biogans.system import notebook
from conftest import SMALL, write_images

SCRIPT = "import sys, time; print('half done', flush=True); print('oh', file=sys.stderr); time.sleep(0.6); sys.exit(3)"


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr(notebook, "SECONDS_BETWEEN_LINES", 0.1)


def test_a_program_is_shown_while_it_runs(tmp_path, capsys):
    status, printed = notebook.run_process([sys.executable, "-c", SCRIPT], tmp_path)
    assert status == 3 and printed.splitlines() == ["half done", "oh"]
    shown = capsys.readouterr()
    assert re.search(r": \d+ s, oh", shown.err) and shown.out == ""
    lines = shown.err.split("\r")
    assert len(lines) >= 4 and not lines[-1] and not lines[-2].strip()          # nothing is left of it


def test_the_environment_and_folder_are_those_given(tmp_path):
    code = "import os; print(os.getcwd(), os.environ['COLOUR'])"
    _, printed = notebook.run_process([sys.executable, "-c", code], tmp_path, os.environ | {"COLOUR": "magenta"})
    assert printed == f"{tmp_path} magenta\n"


def test_the_stop_button_ends_the_program(tmp_path):
    """Jupyter sends SIGINT to the kernel; the program gets SIGTERM, and may save."""
    code = ("import signal, sys, time, pathlib\n"
            "signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path('saved').touch(), sys.exit(75)))\n"
            "pathlib.Path('ready').touch(); time.sleep(60)")
    ready = tmp_path / "ready"

    def press(*_):
        if ready.exists():
            raise KeyboardInterrupt
        signal.setitimer(signal.ITIMER_REAL, 0.1)

    before = signal.signal(signal.SIGALRM, press)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    begun = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            notebook.run_process([sys.executable, "-c", code], tmp_path)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert (tmp_path / "saved").exists() and time.monotonic() - begun < 50


def test_a_mistake_is_the_message_of_the_command(tmp_path):
    with pytest.raises(RuntimeError) as problem:
        notebook.run_command("predict", "-i", "nothing.h5", folder=tmp_path / "new")
    assert "nothing.h5" in str(problem.value) and len(str(problem.value).splitlines()) == 1


def test_a_training_ends_after_some_seconds_and_is_saved(tmp_path, capsys):
    """The seconds count from its first iteration; pictures are shown on the way."""
    data, pictures = write_images(tmp_path / "data"), []
    printed = notebook.run_command(
        "train", "-d", data, "-m", "DCGAN", *SMALL, "-e", 1_000_000, "-M", 3, folder=tmp_path, seconds=1,
        preview=lambda: pictures.extend(tmp_path.glob("images/fake_samples.*.3.png")))
    assert "stopped by SIGTERM" in printed and pictures
    assert list((tmp_path / "checkpoints").glob("weights.generator.*.h5"))
    assert "iteration" in capsys.readouterr().err


def test_the_newest_picture_replaces_older_ones(tmp_path, monkeypatch):
    """`Preview` displays once, and then updates what it has displayed."""
    pytest.importorskip("IPython")                  # part of Jupyter
    shown = []

    class Handle:
        def update(self, picture):
            shown.append(("update", picture.data))

    def display(picture, display_id):
        shown.append(("display", picture.data))
        return Handle()

    monkeypatch.setattr("IPython.display.display", display)
    preview = notebook.Preview(tmp_path)
    preview()
    for k, content in enumerate((b"first", b"second")):
        path = Path(tmp_path, f"fake_samples.DCGAN.{k}.png")
        path.write_bytes(content)
        os.utime(path, (k, k))
        preview()
        preview()
    assert shown == [("display", b"first"), ("update", b"second")]
