"""A stand-in for the Hugging Face hub on this machine: enough of its protocol for the real client library.

with FakeHub() as hub:
    hub.add("owner/model", folder)
    subprocess.run([...], env={**os.environ, **hub.environment(tmp_path / "home")})
"""

import base64
import hashlib
import json
import tempfile
import threading
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path

from tests.fake_hub_answers import Handler
from tests.fork_server import fork_server


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
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"hub": self}))
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

    def python(self, code, home, cwd=None, **variables):
        """Start a Python process that sees this hub and the package under test."""
        return fork_server("models").start(code=code, cwd=cwd, env={**self.environment(home), **variables})

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


def _sha256(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
