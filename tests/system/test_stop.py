"""Requests to stop that arrive before there is anything to save."""

import signal

import pytest

from biogans.system.errors import InputError
from biogans.system.stop import StopRequest


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
