"""JSON that others wrote: whatever it is, readers meet a ValueError, which they report in one line."""

import pytest

from biogans.evaluation import results
from biogans.system.errors import InputError
from biogans.system.json_text import read_json
from biogans.video.settings import read_settings

BAD = ["[" * 100_000, '{"a":' * 100_000, "[" + "9" * 5000 + "]", "", b"\xff\xfe[", b"\xe9"]


@pytest.mark.parametrize("content", BAD, ids=range(len(BAD)))
def test_texts_that_are_no_json(tmp_path, content):
    path = tmp_path / "odd.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError):
        read_json(path)
    for read in (results.read_result, read_settings):
        with pytest.raises(InputError, match="odd.json"):
            read(path)
