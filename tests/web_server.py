"""Web server of a folder on this machine, with ranges, versions, and troubles that a test asks for."""

import hashlib
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Site:
    """What the server does.

    Attributes:
        url: Its address.
        ranges: Whether it gives ranges of bytes.
        busy: Number of next requests that it answers with 503.
        cut: Number of next ranges that it breaks off in the middle.
        floods: Whether it gives everything for a range.
        redirect: Where it sends everybody; None: nowhere.
        requests: Method, path and range of every request.
    """

    def __init__(self, folder):
        self.folder, self.url = folder, ""
        self.ranges, self.busy, self.cut, self.redirect, self.requests = True, 0, 0, None, []
        self.floods = False

    def fetched(self):
        """Return the number of bytes of the ranges that were asked for."""
        spans = [asked[6:].split("-") for method, _, asked in self.requests if method == "GET" and asked]
        return sum(int(stop) - int(start) + 1 for start, stop in spans)


@contextmanager
def web_server(folder):
    """Serve a folder; yield the site."""
    site = Site(folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self):
            self.answer(False)

        def do_GET(self):
            self.answer(True)

        def answer(self, whole):
            asked = self.headers.get("Range", "")
            site.requests.append((self.command, self.path, asked))
            path = site.folder / self.path.partition("?")[0].lstrip("/")
            if site.redirect is not None:
                self.begin(302, 0, Location=site.redirect)
            elif site.busy:
                site.busy -= 1
                self.begin(503, 0)
            elif not path.is_file():
                self.begin(404, 0)
            else:
                self.give(path.read_bytes(), asked, whole)

        def give(self, content, asked, whole):
            tag = f'"{hashlib.sha256(content).hexdigest()}"'
            if self.headers.get("If-Match", tag) != tag:
                self.begin(412, 0)
                return
            if asked and site.ranges:
                start, stop = asked[6:].split("-")
                total, content = len(content), content if site.floods else content[int(start) : int(stop) + 1]
                self.begin(206, len(content), tag, **{"Content-Range": f"bytes {start}-{stop}/{total}"})
            else:
                self.begin(200, len(content), tag)
            if whole and asked and site.cut:
                site.cut -= 1
                self.wfile.write(content[: len(content) // 2])
                self.close_connection = True
            elif whole:
                self.wfile.write(content)

        def begin(self, status, length, tag=None, **headers):
            self.send_response(status)
            for name, value in {"Content-Length": str(length), **({"ETag": tag} if tag else {}), **headers}.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    site.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
