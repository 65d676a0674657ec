"""Requests to stop that arrive before there is anything to save."""

import os
import signal

import pytest

from biogans.system.errors import InputError
from biogans.system.stop import StopRequest, record_progress


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_library_that_catches_everything_does_not_hide_a_stop(number, status, capsys):
    """As Keras does while it infers shapes; what it then raises is not an error of the run."""
    with pytest.raises(SystemExit) as end, StopRequest() as stop, stop.at_once():
        try:
            signal.raise_signal(number)
        except BaseException:
            raise ValueError("not a shape") from None
    assert end.value.code == status and "before the first iteration" in capsys.readouterr().out


def test_other_errors_pass():
    with pytest.raises(InputError, match="no images here"), StopRequest() as stop, stop.at_once():
        raise InputError("no images here")


def test_progress_is_recorded_by_removing_the_link_of_the_batch_script(tmp_path, monkeypatch):
    """Nothing but a link is removed."""
    link, file = tmp_path / ".unsaved-7", tmp_path / "file"
    file.touch()
    link.symlink_to("1 new")
    for path in (link, file, link):
        monkeypatch.setenv("BG_UNSAVED", str(path))
        record_progress()
    monkeypatch.delenv("BG_UNSAVED")
    record_progress()
    assert os.listdir(tmp_path) == ["file"]
