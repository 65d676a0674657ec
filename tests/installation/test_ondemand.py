"""The app for Open OnDemand: its templates, rendered by ruby, and its job, between the lines of Open OnDemand's own."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar

import pytest

from conftest import ROOT
from hpc.cluster import TOOLS, need

APP, PORTAL = ROOT / "hpc/ondemand", "https://portal.example.org"
RENDER = """context = OpenStruct.new(JSON.parse(ARGV[1]))
puts ERB.new(File.read(ARGV[0]), trim_mode: "-").result(context.instance_eval { context = self; binding })"""
# What Open OnDemand's template `basic` does around the two scripts.
JOB = """find_port () { "$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])'; }
create_passwd () { tr -cd a-zA-Z0-9 < /dev/urandom | head -c "$1"; }
module () { [ "$*" = "load biogans" ] && export BG_HOME="$TEST_HOME" PATH="$TEST_HOME/bin:$PATH"; }
host=n1
source ./before.sh
printf '{"host": "%s", "port": %s, "password": "%s"}' "$host" "$port" "$password" > connection.part
mv connection.part connection.json
exec ./script.sh
"""


def ruby(*words, text=None):
    """What ruby prints; skips the test where there is none."""
    if not shutil.which("ruby"):
        pytest.skip("no ruby")
    done = subprocess.run(["ruby", *words], input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def render(name, **values):
    return ruby("-rerb", "-rjson", "-rostruct", "-e", RENDER, APP / name, json.dumps(values))


def in_yaml(text):
    """YAML as ruby reads it, which Open OnDemand is written in."""
    return json.loads(ruby("-ryaml", "-rjson", "-e", "puts YAML.load(STDIN.read).to_json", text=text))


@pytest.fixture
def job(tmp_path):
    """A function that starts the job, with the installation's Jupyter; `module load` sets BG_HOME."""
    home = tmp_path / "installation"
    shutil.copytree(ROOT / "course", home / "course", ignore=shutil.ignore_patterns("cells*", "work_*", "solutions"))
    (home / ".venv/bin").mkdir(parents=True)
    (tmp_path / "user").mkdir()
    for name in ("before.sh", "script.sh"):
        (tmp_path / name).write_text(render(f"template/{name}.erb", module="biogans", portal=PORTAL))
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "user"), "TEST_HOME": str(home),
                   "PYTHON": sys.executable, "PYTHONPATH": "/wrong", "LC_ALL": "C.UTF-8"}
    started = []

    def start(jupyter):
        (home / ".venv/bin/jupyter").symlink_to(jupyter)
        with open(tmp_path / "output.log", "w") as log:
            started.append(subprocess.Popen(["bash", "-c", JOB], cwd=tmp_path, env=environment, stdout=log, stderr=log))
        return started[-1], tmp_path
    yield start
    for process in started:
        process.terminate()
        process.wait(timeout=30)


def test_form_and_submission():
    form = in_yaml((APP / "form.yml").read_text())
    assert {"cluster", "module", "portal"} <= {*form, *form["attributes"]}
    assert {*form["attributes"]} <= {*form["form"]}
    assert in_yaml((APP / "manifest.yml").read_text())["role"] == "batch_connect"
    submission = in_yaml(render("submit.yml.erb", cores="2"))
    assert submission == {"batch_connect": {"template": "basic"},
                          "script": {"native": ["--cpus-per-task=2", "--mem=4g"]}}


def test_the_job_starts_jupyter(job, tmp_path):
    """In a copy of the course that is the user's own; without another module's PYTHONPATH, and with a private log."""
    jupyter = tmp_path / "jupyter"
    jupyter.write_text('#!/bin/sh\necho "$@"\necho "${PYTHONPATH-none} $JUPYTER_TOKEN"\n')
    jupyter.chmod(0o755)
    process, folder = job(jupyter)
    assert process.wait(timeout=30) == 0
    connection = json.loads((folder / "connection.json").read_text())
    words, surroundings = (folder / "output.log").read_text().splitlines()
    assert f"--port={connection['port']}" in words and f"--ServerApp.allow_origin={PORTAL}" in words
    assert f"--ServerApp.base_url=/node/n1/{connection['port']}/ " in words
    assert surroundings == f"none {connection['password']}" and len(connection["password"]) == 32
    assert (folder / "output.log").stat().st_mode & 0o077 == 0
    assert (folder / "user/biogans-course/1_game.ipynb").is_file()


def test_a_copy_of_the_course_is_kept(job, tmp_path):
    (tmp_path / "user/biogans-course").mkdir()
    (tmp_path / "user/biogans-course/mine.ipynb").touch()
    process, folder = job("/bin/true")
    assert process.wait(timeout=30) == 0
    assert os.listdir(folder / "user/biogans-course") == ["mine.ipynb"]


@pytest.mark.hpc
def test_the_form_of_a_session_logs_in(job):
    """With a real Jupyter: the button's form opens it, for requests that come from the portal; nobody else gets in."""
    need("jupyter")
    process, folder = job(TOOLS / "jupyter/bin/jupyter")
    (folder / "user/.jupyter").mkdir()
    (folder / "user/.jupyter/jupyter_server_config.json").write_text('{"ServerApp": {"allow_root": true}}')
    until = time.monotonic() + 60
    while "is running at" not in (folder / "output.log").read_text():
        assert process.poll() is None and time.monotonic() < until, (folder / "output.log").read_text()
        time.sleep(0.2)
    page = render("view.html.erb", **json.loads((folder / "connection.json").read_text()))
    action, = re.findall(r'action="(.*?)"', page)
    fields = dict(re.findall(r'name="(\w+)" value="(\w+)"', page))
    port = int(re.match(r"/node/n1/(\d+)/", action)[1])
    here = f"http://127.0.0.1:{port}"
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    browser.addheaders = [("Origin", PORTAL)]
    contents = f"{here}/node/n1/{port}/api/contents"
    for wrong in (fields | {"token": "x", "password": "x"}, {}):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            browser.open(here + action, urllib.parse.urlencode(wrong).encode() or b"_=", timeout=30)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        browser.open(contents, timeout=30)
    with browser.open(here + action, urllib.parse.urlencode(fields).encode(), timeout=30) as answer:
        assert answer.status == 200 and answer.url == f"{here}/node/n1/{port}/lab"
    with browser.open(contents, timeout=30) as answer:
        assert "1_game.ipynb" in {item["name"] for item in json.load(answer)["content"]}
    browser.addheaders = [("Origin", "https://elsewhere.example.org")]
    with pytest.raises(urllib.error.HTTPError, match="40[34]"):
        browser.open(contents, timeout=30)
