"""A web server on this machine for tests of downloads: with ranges, or without, or breaking off."""

import contextlib
import http.server
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with server.files; the rest of a file where a Range is asked for of the same version (If-Range)."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server, name = self.server, self.path.lstrip("/")
        server.asked.append((name, self.headers.get("Range")))
        if name not in server.files:
            return self.send_error(404)
        content = server.files[name]
        asked = self.headers.get("Range")
        first = int(asked[6:-1]) if asked and server.version and self.headers.get("If-Range") == server.version else 0
        if first and first >= len(content):
            return self.send_error(416)
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        if server.version:
            self.send_header("ETag", server.version)
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        self.wfile.write(content[first:server.breaks_at])
        self.close_connection = True

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    """files: {path: bytes}; asked: [(path, Range)]; version: the ETag, or None; breaks_at: the byte where it ends."""

    daemon_threads = True

    def __init__(self, files):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.asked, self.version, self.breaks_at = files, [], '"1"', None
        self.url = f"http://127.0.0.1:{self.server_port}"


@contextlib.contextmanager
def serving(files):
    """A server of `files` while the context lasts."""
    with Server(files) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
