"""A web server on this machine for tests of downloads: with or without ranges, or breaking off."""

import contextlib
import http.server
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with server.files, or with the rest of a file if a Range of the same version (If-Range) is requested."""

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
        if server.announces:
            self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        self.wfile.write(content[first:server.breaks_at])
        self.close_connection = True

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    """A server of files from memory.

    files       {path: bytes}
    asked       [(path, Range)] of the requests so far
    version     the ETag, or None for a server without ranges
    announces   whether it states the length of a file
    breaks_at   the number of bytes after which a connection breaks, or None
    """

    daemon_threads = True

    def __init__(self, files):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.asked, self.version, self.announces, self.breaks_at = files, [], '"1"', True, None
        self.url = f"http://127.0.0.1:{self.server_port}"


@contextlib.contextmanager
def serving(files):
    """A context with a running Server of `files`."""
    with Server(files) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
