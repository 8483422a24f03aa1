"""Download from a plain web server, for the few checkpoints that were released in no other way."""

from __future__ import annotations

import socket
from collections.abc import Generator
from contextlib import closing, contextmanager
from http import HTTPStatus
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from beit.errors import CheckpointError, StorageError, UnavailableError
from beit.files import AppendedFile, make_folder, move_into_place, write_text
from beit.hub.repository import HubOptions

BLOCK = 1 << 20
_REMEDY = "free space or choose another folder with cache_dir=... or HF_HOME"
LOOPBACK = {"127.0.0.1", "localhost", "::1"}


def fetch_url(url: str, options: HubOptions) -> Path:
    """Return the local path of a file on a web server, downloaded into `<cache>/beit` if it is not there yet.

    A download that broke off is continued by the next call, unless the file on the server has changed since. Of
    several processes that want the same file, one downloads and the others wait. The token is never sent: it is meant
    for the hub, not for other servers.

    Args:
        url: Address of the file: https, or http on this machine.
        options: Of these, `cache_dir`, `local_files_only` and `force_download` apply; the cache is HF_HOME by default.

    Raises:
        CheckpointError: If the address is refused, the server cannot be reached, or the connection is cut.
        StorageError: If the file cannot be written, for example on a full disk.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import WeakFileLock

    _check_address(url)
    folder = Path(options.cache_dir or constants.HF_HOME).expanduser() / "beit"
    target = folder / _file_name(url)
    if target.is_file() and not options.force_download:
        return target
    if options.offline:
        raise UnavailableError(
            f"{url} cannot be fetched, because the network is off (HF_HUB_OFFLINE or local_files_only); run once with "
            f"the network on and without local_files_only, or put the file at {target}"
        )
    try:
        make_folder(folder, _REMEDY)
        with WeakFileLock(folder / f"{target.name}.lock"):
            # Another process may have finished it while this one waited for the lock.
            if options.force_download or not target.is_file():
                _download(url, target)
    except StorageError:
        raise
    except OSError as error:  # what comes from the network has been turned into a CheckpointError further down
        raise StorageError(f"cannot write {target}: {error.strerror or error}; {_REMEDY}") from error
    return target


def _check_address(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
        raise CheckpointError(
            f"{url} is not fetched: weights are accepted over https only (http only from this machine); use an https "
            "address, or download the file yourself and pass its path"
        )


def _file_name(url: str) -> str:
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    if name in {"", ".", ".."} or "\\" in name or "\0" in name:
        raise CheckpointError(f"{url} does not end in the name of a file; pass the full address of a checkpoint")
    return name


def _download(url: str, target: Path) -> None:
    """Download to an `.incomplete` name, continuing what is there, and rename when everything has arrived."""
    from huggingface_hub.utils import tqdm

    partial = target.with_name(f"{target.name}.incomplete")
    version = target.with_name(f"{target.name}.incomplete.version")  # which version of the file the beginning is of
    known = version.read_text() if version.is_file() and partial.is_file() else ""
    start = partial.stat().st_size if known else 0
    with _explained_errors(url):
        response, start = _open(url, start, known)
    with closing(response):
        length = response.headers.get("Content-Length")
        size = None if length is None else start + int(length)
        if start == 0:
            partial.unlink(missing_ok=True)  # before its version changes: the two must never disagree
            write_text(version, _version(response.headers), _REMEDY)
        with (
            AppendedFile(partial, remedy=_REMEDY) as file,
            tqdm(total=size, initial=start, unit="B", unit_scale=True, desc=target.name) as progress,
        ):
            for block in _blocks(response, url):
                file.append(block)
                progress.update(len(block))
    received = partial.stat().st_size
    if size is not None and received != size:
        raise _cut(url, f"{received} of {size} bytes arrived")
    move_into_place(partial, target)
    version.unlink(missing_ok=True)


def _open(url: str, start: int, known: str) -> tuple[HTTPResponse, int]:
    """Ask for the file from byte `start` on; return the answer and the byte at which it really begins."""
    if start:
        try:
            # If-Range: the whole file instead of its rest when it is no longer the one whose beginning we hold.
            response = _request(url, {"Range": f"bytes={start}-", "If-Range": known})
        except HTTPError as error:
            error.close()
            if error.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise
        else:
            if response.status != HTTPStatus.PARTIAL_CONTENT:
                return response, 0
            if response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                return response, start
            response.close()
    return _request(url, {}), 0  # what we hold is no beginning of this file: all of it, please


def _request(url: str, headers: dict[str, str]) -> HTTPResponse:
    from huggingface_hub import constants

    request = Request(url, headers={"User-Agent": "beit", **headers})  # noqa: S310  # the address has been checked
    return build_opener(_SafeRedirects).open(request, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT)


class _SafeRedirects(HTTPRedirectHandler):
    """Follows redirects only to where a download may start in the first place."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        _check_address(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _version(headers: HTTPMessage) -> str:
    """Return the identifier of a file's version, fit for If-Range; empty if the server sends none."""
    tag = headers.get("ETag", "")
    return headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag


def _blocks(response: HTTPResponse, url: str) -> Generator[bytes]:
    while True:
        with _explained_errors(url):
            block = response.read(BLOCK)
        if not block:
            return
        yield block


@contextmanager
def _explained_errors(url: str) -> Generator[None]:
    """Turn errors of the network into ours, so that what remains is an error of the disk."""
    try:
        yield
    except HTTPError as error:
        raise CheckpointError(
            f"the server refuses {url} (HTTP {error.code} {error.reason}); check the address, or try again later"
        ) from error
    except (OSError, HTTPException) as error:
        if isinstance(getattr(error, "reason", None), socket.gaierror):
            raise CheckpointError(
                f"the host of {url} cannot be resolved; check the network, or fetch the file elsewhere and name it by "
                "its path"
            ) from error
        raise _cut(url, str(error) or type(error).__name__) from error


def _cut(url: str, reason: str) -> CheckpointError:
    return CheckpointError(
        f"the connection for {url} failed or was cut ({reason}); check the network and run again: the download "
        "continues where it stopped"
    )
