"""The README's commands run as typed (with fewer iterations)."""

import os
import re
import subprocess

import pytest

from conftest import ROOT


@pytest.mark.slow
def test_the_commands_of_the_readme(tmp_path):
    """All its sh blocks run in order, in one shell."""
    text = (ROOT / "README.md").read_text()
    script = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
    assert script.count("train.py") >= 4 and script.count("predict.py") >= 2
    script = re.sub(r"-e \d+", "-e 2", script)
    result = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=ROOT, capture_output=True, text=True,
                            env={name: value for name, value in os.environ.items() if "DISPLAY" not in name}
                            | {"TMPDIR": str(tmp_path)})
    assert result.returncode == 0 and result.stderr == "", result.stdout + result.stderr
    (example,) = tmp_path.glob("tmp.*")
    for line in re.findall(r"Output .* to file: (.*)", result.stdout):
        assert (example / line).is_file()
    assert result.stdout.count("Output image stack to file: images/stack") == script.count("predict.py -i")


def test_the_readme_is_short():
    """Details belong in docs/README.md."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120
