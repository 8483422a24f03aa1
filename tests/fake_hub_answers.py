"""The protocol of the stand-in for the Hugging Face hub: its requests, and who is refused."""

import json
import os
import re
import socket
import struct
import time
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    from tests.fake_hub import FakeHub

BLOCK = 1 << 16
API = re.compile(
    r"/api/(?:models/|(?=datasets/))(?P<repo>.+?)"
    r"(?:/(?P<verb>revision|tree|paths-info|preupload|commit|branch)/(?P<revision>[^/]+)(?:/(?P<folder>.+?))?)?/?"
)
RESOLVE = re.compile(r"/(?P<repo>(?:datasets/)?[^/]+(?:/[^/]+)?)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")


class Handler(BaseHTTPRequestHandler):
    """Answers for a `FakeHub`, which is its attribute `hub`."""

    hub: "FakeHub"
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
