"""A stand-in for the Hugging Face hub on this machine: enough of its protocol for the real client library.

with FakeHub() as hub:
    hub.add("owner/model", folder)
    subprocess.run([...], env={**os.environ, **hub.environment(tmp_path / "home")})
"""

import base64
import hashlib
import json
import os
import re
import socket
import struct
import tempfile
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from tests.nursery import nursery

BLOCK = 1 << 16
API = re.compile(
    r"/api/(?:models/|(?=datasets/))(?P<repo>.+?)"
    r"(?:/(?P<verb>revision|tree|paths-info|preupload|commit|branch)/(?P<revision>[^/]+)(?:/(?P<folder>.+?))?)?/?"
)
RESOLVE = re.compile(r"/(?P<repo>(?:datasets/)?[^/]+(?:/[^/]+)?)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")


@dataclass
class Revision:
    files: dict[str, Path]
    etags: dict[str, str]
    commit: str

    @classmethod
    def of(cls, files):
        etags = {name: _sha256(path) for name, path in sorted(files.items())}
        return cls(dict(files), etags, hashlib.sha1(json.dumps(etags).encode()).hexdigest())  # noqa: S324


@dataclass
class Repository:
    token: str | None = None
    gated: bool = False
    revisions: dict[str, Revision] = field(default_factory=dict)

    def at(self, revision):
        by_commit = {found.commit: found for found in self.revisions.values()}
        return self.revisions.get(revision) or by_commit.get(revision)


@dataclass
class Cut:
    after: int
    reset: bool


class FakeHub:
    """Serves folders as repositories, takes uploads, and fails on demand; data sets are named "datasets/owner/name".

    Attributes:
        requests: What was asked so far: (method, path, Range header or None).
        redirects: Path -> address to which its requests are sent on.
        user: Who owns what is pushed under a bare name.
        down: HTTP status with which every request is refused, if any.
    """

    def __init__(self):
        self.repositories: dict[str, Repository] = {}
        self.requests: list[tuple[str, str, str | None]] = []
        self.redirects: dict[str, str] = {}
        self.user = "tester"
        self.down: int | None = None
        self._cuts: dict[tuple[str, str], list[Cut]] = {}
        self._lock = threading.Lock()

    def __enter__(self):
        self._uploads = tempfile.TemporaryDirectory(prefix="fake-hub-")
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._uploads.cleanup()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._server.server_port}"

    def add(self, repo_id, folder, revision="main", token=None, gated=False):
        """Serve the files of a folder as one revision; return its commit. `token` makes the repository private."""
        files = {path.relative_to(folder).as_posix(): path for path in Path(folder).rglob("*") if path.is_file()}
        repository = self.repositories.setdefault(repo_id, Repository())
        repository.token, repository.gated = token, gated
        repository.revisions[revision] = Revision.of(files)
        return repository.revisions[revision].commit

    def address(self, repo_id, filename, revision="main"):
        """Where a file lies, for clients that know nothing of hubs."""
        return f"{self.url}/{repo_id}/resolve/{revision}/{filename}"

    def cut(self, repo_id, filename, after, times=1, reset=False):
        """Cut the next `times` GETs of a file off after so many bytes: closed in silence, or reset like a dead line."""
        self._cuts.setdefault((repo_id, filename), []).extend([Cut(after, reset)] * times)

    def mend(self):
        """Forget the cuts that nobody has met yet."""
        with self._lock:
            self._cuts.clear()

    def gets(self, filename=""):
        """The Range headers of the downloads seen so far of files whose name ends so."""
        asked = [
            (method, path, span) for method, path, span in self.requests if method == "GET" and "/resolve/" in path
        ]
        return [span for _, path, span in asked if path.endswith(filename)]

    def environment(self, home):
        """Variables that point huggingface_hub of another process here, with its cache in `home` and no login."""
        home = Path(home)
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_CACHE": str(home / "hub"),
            "HF_TOKEN_PATH": str(home / "token"),
            "HF_TOKEN": "",
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def python(self, code, home, **variables):
        """Start a Python process that sees this hub and the package under test."""
        return nursery("models").start(code=code, env={**self.environment(home), **variables})

    # What the handler needs: the state of the hub, changed by one request at a time.

    def take_cut(self, repo_id, filename):
        with self._lock:
            waiting = self._cuts.get((repo_id, filename))
            return waiting.pop(0) if waiting else None

    def create(self, repo_id, private, token):
        with self._lock:
            if repo_id in self.repositories:
                return False
            self.repositories[repo_id] = Repository(token if private else None, revisions={"main": Revision.of({})})
            return True

    def branch(self, repo_id, name, start="main"):
        with self._lock:
            revisions = self.repositories[repo_id].revisions
            if name in revisions:
                return False
            revisions[name] = revisions[start]
            return True

    def commit(self, repo_id, revision, lines, as_request):
        """Apply the lines of a commit; return its hash and the name of the revision that now has it."""
        with self._lock:
            repository = self.repositories[repo_id]
            files = dict(repository.at(revision).files)
            folder = Path(tempfile.mkdtemp(dir=self._uploads.name))
            for number, line in enumerate(lines):
                value = line["value"]
                if line["key"] == "file":
                    files[value["path"]] = folder / str(number)
                    files[value["path"]].write_bytes(base64.b64decode(value["content"]))
                elif line["key"] == "deletedFile":
                    files.pop(value["path"], None)
            if as_request:
                requests = [name for name in repository.revisions if name.startswith("refs/pr/")]
                revision = f"refs/pr/{len(requests) + 1}"
            repository.revisions[revision] = Revision.of(files)
            return repository.revisions[revision].commit, revision


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self._read()

    def do_GET(self):
        self._read()

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._note()
        address = urlsplit(self.path)
        match = API.fullmatch(address.path)
        if address.path == "/api/validate-yaml":
            self._json({"warnings": [], "errors": []})
        elif self._token() is None:
            self._refuse(401, None, "Invalid username or password.")
        elif address.path == "/api/repos/create":
            self._create(json.loads(body))
        elif match and (repository := self._repository(match["repo"])):
            self._change(repository, match["repo"], match["verb"], unquote(match["revision"] or ""), body)
        elif not match:
            self._refuse(404, None, "Not found")

    # Reading

    def _read(self):
        self._note()
        path = urlsplit(self.path).path
        if self.hub.down:
            self._refuse(self.hub.down, None, "Out of order")
        elif path in self.hub.redirects:
            self._answer(302, b"", {"Location": self.hub.redirects[path]})
        elif match := RESOLVE.fullmatch(path):
            self._resolve(match["repo"], unquote(match["revision"]), unquote(match["file"]))
        elif path == "/api/whoami-v2":
            if self._token() is None:
                self._refuse(401, None, "Invalid username or password.")
            else:
                self._json({"type": "user", "name": self.hub.user, "orgs": []})
        elif match := API.fullmatch(path):
            self._describe(
                match["repo"], match["verb"], unquote(match["revision"] or "main"), unquote(match["folder"] or "")
            )
        else:
            self._refuse(404, None, "Not found")

    def _resolve(self, repo_id, name, filename):
        found = self._revision(repo_id, name)
        if found is None:
            return
        if filename not in found.files:
            self._refuse(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": found.commit})
            return
        path, etag = found.files[filename], f'"{found.etags[filename]}"'
        size = path.stat().st_size
        start, end = self._range(size, etag)
        headers = {"ETag": etag, "X-Repo-Commit": found.commit, "Accept-Ranges": "bytes"}
        if start >= size > 0:
            self._refuse(416, None, "Range not satisfiable", {"Content-Range": f"bytes */{size}"})
            return
        status = 200
        if (start, end) != (0, size):
            status, headers["Content-Range"] = 206, f"bytes {start}-{end - 1}/{size}"
        self._head(status, end - start, headers)
        if self.command == "GET":
            self._stream(path, start, end, self.hub.take_cut(repo_id, filename))

    def _range(self, size, etag):
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not span or self.headers.get("If-Range", etag) != etag:
            return 0, size
        return int(span[1]), min(int(span[2]) + 1, size) if span[2] else size

    def _stream(self, path, start, end, cut):
        left = end - start if cut is None else min(cut.after, end - start)
        with path.open("rb") as file:
            file.seek(start)
            while left:
                block = file.read(min(BLOCK, left))
                try:
                    self.wfile.write(block)
                except OSError:  # the client has had enough
                    self.close_connection = True
                    return
                left -= len(block)
        if cut is not None:
            self.close_connection = True
            if cut.reset:
                time.sleep(0.1)  # let the client take what was sent: a reset overtakes it
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                os.close(self.connection.detach())

    def _describe(self, repo_id, verb, name, folder=""):
        found = self._revision(repo_id, name)
        if found is None:
            return
        if verb == "tree":
            self._list(found, f"{folder}/" if folder else "", "recursive=true" in self.path.lower())
            return
        self._json(
            {
                "_id": found.commit[:24],
                "id": repo_id,
                "modelId": repo_id,
                "sha": found.commit,
                "private": self.hub.repositories[repo_id].token is not None,
                "tags": [],
                "downloads": 0,
                "siblings": [{"rfilename": file} for file in found.files],
            }
        )

    def _list(self, found, prefix, recursive):
        """Answer with the entries below a folder, those of its folders only if asked to go down."""
        entries = {}
        for file, path in found.files.items():
            if not file.startswith(prefix):
                continue
            first, _, rest = file.removeprefix(prefix).partition("/")
            if rest and not recursive:
                entries[prefix + first] = {"type": "directory", "path": prefix + first, "oid": found.commit}
            else:
                size = path.stat().st_size
                entries[file] = {"type": "file", "path": file, "size": size, "oid": found.etags[file]}
        if entries or not prefix:
            self._json(list(entries.values()))
        else:
            self._refuse(404, "EntryNotFound", "Entry not found")

    # Writing

    def _create(self, wish):
        repo_id = f"{wish.get('organization') or self.hub.user}/{wish['name']}"
        private = wish.get("private") or wish.get("visibility") == "private"
        created = self.hub.create(repo_id, private, self._token())
        answer = {"url": f"{self.hub.url}/{repo_id}", "id": repo_id}
        self._json(
            answer if created else {**answer, "error": "You already created this model repo"}, 200 if created else 409
        )

    def _change(self, repository, repo_id, verb, revision, body):
        if verb == "branch":
            created = self.hub.branch(repo_id, revision)
            self._json({} if created else {"error": "Reference already exists"}, 200 if created else 409)
        elif repository.at(revision) is None:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        elif verb == "preupload":
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            self._json({"files": files})
        elif verb == "commit":
            lines = [json.loads(line) for line in body.splitlines()]
            as_request = "create_pr" in parse_qs(urlsplit(self.path).query)
            commit, revision = self.hub.commit(repo_id, revision, lines, as_request)
            address = f"{self.hub.url}/{repo_id}"
            answer = {"success": True, "commitOid": commit, "commitUrl": f"{address}/commit/{commit}"}
            if as_request:
                answer["pullRequestUrl"] = f"{address}/discussions/{revision.rpartition('/')[2]}"
            self._json(answer)
        else:
            self._refuse(404, None, "Not found")

    # Who may, and how it is said

    def _token(self):
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        return token if scheme == "Bearer" and token else None

    def _repository(self, repo_id):
        """The repository, or None after a refusal. Like the hub, whoever may not see one learns no more than that."""
        repository = self.hub.repositories.get(repo_id)
        if repository is None or repository.token not in (None, self._token()):
            message = "Invalid username or password." if self._token() is None else "Repository not found"
            self._refuse(401 if self._token() is None else 404, "RepoNotFound", message)
            return None
        return repository

    def _revision(self, repo_id, name):
        repository = self._repository(repo_id)
        if repository is None:
            return None
        if repository.gated and "/resolve/" in self.path:  # a gated repository is listed, but its files are not served
            self._refuse(403, "GatedRepo", f"Access to model {repo_id} is restricted")
            return None
        if repository.at(name) is None:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {name}")
        return repository.at(name)

    def _note(self):
        self.hub.requests.append((self.command, urlsplit(self.path).path, self.headers.get("Range")))

    def _head(self, status, length, headers):
        self.send_response(status)
        for name, value in {"Content-Length": str(length), **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _answer(self, status, body, headers):
        self._head(status, len(body), headers)
        if self.command != "HEAD":
            self.wfile.write(body)

    def _json(self, value, status=200):
        self._answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status, code, message, headers=()):
        named = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {}), **dict(headers)}
        body = json.dumps({"error": message}).encode()
        self._answer(status, body, {"Content-Type": "application/json", **named})


def _sha256(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
