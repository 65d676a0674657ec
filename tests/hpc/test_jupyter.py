"""jupyter.sbatch: the log gives an address where a notebook can import the package; nobody else gets in."""

import json
import re
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from .cluster import ROOT, TOOLS, Job, need, show


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def test_jupyter(cluster, work):
    need("jupyter")
    job = Job(cluster | {"PATH": f"{TOOLS}/jupyter/bin:{cluster['PATH']}", "USER": "someone"}, work, "sbatch",
              "--parsable", "--cpus-per-task=1", "--mem=1000", ROOT / "hpc/jupyter.sbatch", "--allow-root",
              log="biogans-jupyter-{}.out")
    job.wait_for_log("is running at")
    show("sbatch jupyter.sbatch", *job.log.splitlines()[:10])
    node, port = re.search(r"ssh -N -L 8888:(\S+):(\d+) someone@LOGIN_NODE", job.log).groups()
    token = re.search(r"http://localhost:8888/lab\?token=(\w+)", job.log)[1]
    assert node in ("n1", "n2") and job.path.stat().st_mode & 0o077 == 0
    here = f"http://127.0.0.1:{port}/api"
    assert get(f"{here}/status?token={token}")["kernels"] == 0
    with pytest.raises(urllib.error.HTTPError, match="403"):
        get(f"{here}/status")
    kernel = urllib.request.Request(f"{here}/kernels?token={token}", method="POST")
    with urllib.request.urlopen(kernel, timeout=60) as answer:
        number = json.load(answer)["id"]
    (process,) = subprocess.run(["pgrep", "-f", f"ipykernel.*{number}"], capture_output=True, text=True).stdout.split()
    entries = Path(f"/proc/{process}/environ").read_text().split("\0")
    settings = dict(entry.split("=", 1) for entry in entries if "=" in entry)
    python = subprocess.run(["readlink", "-f", f"/proc/{process}/exe"], capture_output=True, text=True).stdout.strip()
    done = subprocess.run([python, "-c", "import biogans.core.models, tifffile; print(biogans.__file__)"], cwd=work,
                          env=settings, capture_output=True, text=True)
    assert done.stdout == f"{ROOT}/src/biogans/__init__.py\n", done.stderr
    show(f"a kernel imports {done.stdout}")
    job.run("scancel", job.number)
    assert job.wait() == "CANCELLED"
