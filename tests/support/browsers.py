"""Browsers for the tests of pages: Chromium through Playwright, and Firefox through WebDriver BiDi.

Playwright drives only its own build of Firefox, which it downloads.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest


@contextlib.contextmanager
def chromium():
    """A headless Chromium or Chrome (Playwright's Browser); skips the test if there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install 'biogans[test]'")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
    with playwright.sync_playwright() as driver:
        try:
            browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        except playwright.Error as problem:
            pytest.skip(f"no Chromium: make browsers, or playwright install chromium ({str(problem).splitlines()[0]})")
        yield browser
        browser.close()


class Firefox:
    """One page of a headless Firefox. `requests` are the addresses that it has requested."""

    def __init__(self, port):
        import websocket

        self.requests, self._count = [], 0
        self._socket = websocket.create_connection(f"ws://127.0.0.1:{port}/session", timeout=120, suppress_origin=True)
        self._send("session.new", capabilities={})
        self._send("session.subscribe", events=["network.beforeRequestSent"])
        self._context = self._send("browsingContext.getTree")["contexts"][0]["context"]

    def open(self, address):
        self._send("browsingContext.navigate", context=self._context, url=address, wait="complete")

    def evaluate(self, expression):
        """The value of a JavaScript expression, through JSON; promises are awaited."""
        answer = self._send("script.evaluate", expression=f"(async () => JSON.stringify(await ({expression})))()",
                            target={"context": self._context}, awaitPromise=True, userActivation=True)
        assert answer["type"] == "success", answer
        return json.loads(answer["result"].get("value", "null"))

    def wait_for(self, expression, seconds=120):
        end = time.monotonic() + seconds
        while not self.evaluate(expression):
            assert time.monotonic() < end, f"{expression} did not come true in {seconds} s"
            time.sleep(0.05)

    def close(self):
        self._socket.close()

    def _send(self, method, **parameters):
        self._count += 1
        self._socket.send(json.dumps({"id": self._count, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("method") == "network.beforeRequestSent":
                self.requests.append(message["params"]["request"]["url"])
            elif message.get("id") == self._count:
                assert message["type"] == "success", message
                return message["result"]


@contextlib.contextmanager
def firefox():
    """A headless Firefox with one empty page; skips the test if there is none."""
    pytest.importorskip("websocket", reason="no websocket-client: pip install 'biogans[test]'")
    program = shutil.which("firefox") or shutil.which("firefox-esr")
    if not program:
        pytest.skip("no Firefox: make browsers")
    with tempfile.TemporaryDirectory() as profile, open(f"{profile}/log", "w+") as log:
        process = subprocess.Popen([program, "--headless", "--no-remote", "--profile", profile,
                                    "--remote-debugging-port", "0"], stdout=log, stderr=log,
                                   env=os.environ | {"HOME": profile})
        try:
            end = time.monotonic() + 120
            while not (found := re.search(r"WebDriver BiDi listening on ws://[^:]+:(\d+)", Path(log.name).read_text())):
                assert process.poll() is None and time.monotonic() < end, Path(log.name).read_text()
                time.sleep(0.1)
            page = Firefox(found[1])
            yield page
            page.close()
        finally:
            process.terminate()
            process.wait(60)
