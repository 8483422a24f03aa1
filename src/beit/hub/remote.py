"""Files on object stores and web servers, of which ranges of bytes are read through fsspec (extra `remote`)."""

from __future__ import annotations

import glob
import io
import os
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import cache
from http import HTTPStatus
from importlib.util import find_spec
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from beit.errors import DataError, missing_extra
from beit.hub.download import LOOPBACK
from beit.hub.persistence import no_ranges, persist

_LIBRARIES = {"s3": "s3fs", "gs": "gcsfs", "https": "aiohttp", "http": "aiohttp"}  # by the scheme of an address
_WEB = ("https", "http")
_MOST_OPEN = 64  # files: far below what systems allow a process
_CONNECT_SECONDS, _READ_SECONDS = 30, 60  # without an answer
_ASKED = re.compile(r"bytes=(\d+)-(\d+)")
_VERSIONS = ("ETag", "etag", "generation", "Last-Modified", "LastModified")


def is_remote(path: str) -> bool:
    """Return whether a path is the address of something on an object store or a web server."""
    return path.partition("://")[0] in _LIBRARIES and "://" in path


def remote_matches(address: str, endings: tuple[str, ...]) -> list[str]:
    """Return the addresses of files that a pattern, a folder or a file means, in the order of their names.

    Args:
        address: Of which `*`, `?` and `[0-9]` mean files on an object store; web servers list nothing.
        endings: Of the names of files that a folder is made of.

    Raises:
        DataError: If it is refused, or cannot be listed.
        ConnectionLostError: If it cannot be reached.
    """
    if urlsplit(address).scheme in _WEB:
        if any(sign in urlsplit(address).path for sign in "*["):
            raise DataError(
                f"{_shown(address)} is a pattern, and a web server lists no files; expected numbers or names in "
                "braces, such as train-{000..099}.tar"
            )
        return [address]
    if glob.has_magic(address):
        found: list[str] = persist(_shown(address), lambda: _system(address).glob(address))
    elif address.endswith(endings):
        return [address]
    else:
        found = persist(_shown(address), lambda: _system(address).find(address))
        found = [name for name in found if name.endswith(endings) and not PurePosixPath(name).name.startswith(".")]
    return [f"{urlsplit(address).scheme}://{name}" for name in sorted(found)]


@dataclass(frozen=True)
class RemoteFile:
    """A file somewhere else.

    Attributes:
        url: Its address.
        size: In bytes; -1 as long as it has not been looked up.
        version: What changes with its content, as its server says it; empty if it does not.
    """

    url: str
    size: int = -1
    version: str = ""

    @property
    def name(self) -> str:
        """The last part of the address."""
        return PurePosixPath(unquote(urlsplit(self.url).path)).name

    @property
    def stem(self) -> str:
        """The name without its ending."""
        return PurePosixPath(self.name).stem

    def __str__(self) -> str:
        return _shown(self.url)

    def located(self) -> RemoteFile:
        """Return the file with its size and version, once it is sure that ranges of it can be read.

        Raises:
            DataError: If there is no such file, access is refused, or its server does not give ranges.
            ConnectionLostError: If it cannot be reached.
        """
        found: dict[str, Any] = persist(str(self), lambda: _system(self.url).info(self.url))
        if not isinstance(found.get("size"), int) or found.get("partial") is False:
            raise no_ranges(str(self))
        file = replace(self, size=found["size"], version=_version(found))
        if urlsplit(self.url).scheme in _WEB and file.size > 1:  # only its answer shows whether it gives them
            with file.open(0) as stream:
                stream.seek(1)
                stream.read(1)
        return file

    def open(self, block: int) -> RemoteStream:
        """Return a stream of the file.

        Args:
            block: Bytes that are fetched ahead of those that are read; 0: none.
        """
        return RemoteStream(self, block)


class RemoteStream(io.RawIOBase):
    """Bytes of a file that has been located; a read that fails on the way is tried again."""

    def __init__(self, file: RemoteFile, block: int) -> None:
        self._name, self._place, self._size = str(file), 0, file.size
        options: dict[str, Any] = {"block_size": block or 1, "cache_type": "readahead" if block else "none"}
        if urlsplit(file.url).scheme in _WEB:
            same = {"If-Match": file.version} if file.version.startswith('"') else {}
            options |= {"size": file.size, "headers": {**_web_options()["headers"], **same}}
        self._content: Any = persist(self._name, lambda: _system(file.url).open(file.url, "rb", **options))
        now = _version(self._content.details)
        if self._content.size != file.size or (now and now != file.version):
            raise DataError(f"{self._name} has changed since it was listed; start again")

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the place of the next byte."""
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place; nothing is fetched."""
        self._place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        return self._place

    def readinto(self, buffer: Any, /) -> int:
        """Read as many bytes as fit, or are left.

        Raises:
            DataError: If the server gives other bytes than those asked for.
            ConnectionLostError: If it cannot be reached any more.
        """
        wanted = max(0, min(len(buffer), self._size - self._place))
        content: bytes = persist(self._name, lambda: self._range(wanted)) if wanted else b""
        buffer[:wanted] = content
        self._place += wanted
        return wanted

    def _range(self, size: int) -> bytes:
        self._content.seek(self._place)
        content: bytes = self._content.read(size)
        if len(content) != size:
            raise ConnectionError(f"{len(content)} of {size} bytes arrived")
        return content


class RemoteFiles:
    """Ranges of files, read while the files used last stay open; each process opens its own."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._process, self._lock = os.getpid(), threading.Lock()
        self._streams: OrderedDict[RemoteFile, RemoteStream] = OrderedDict()

    def read(self, file: RemoteFile, offset: int, size: int) -> bytes:
        """Return a range of a file, shorter than asked for only at its end.

        Raises:
            DataError: If it cannot be read.
            ConnectionLostError: If its server cannot be reached any more.
        """
        if self._process != os.getpid():  # forked
            self._begin()
        with self._lock:
            if file not in self._streams:
                self._streams[file] = file.open(0)
            self._streams.move_to_end(file)
            if len(self._streams) > _MOST_OPEN:
                self._streams.popitem(last=False)
            stream = self._streams[file]
            stream.seek(offset)
            return stream.read(size) or b""

    def __reduce__(self) -> tuple[type[RemoteFiles], tuple[()]]:
        """Drop the connections, which have no meaning in another process."""
        return RemoteFiles, ()


def _system(address: str) -> Any:
    """Return the file system of an address, of which fsspec keeps one in each thread of each process.

    Raises:
        DataError: If the way to it is not encrypted.
        MissingExtraError: If what it needs is not installed.
    """
    parts = urlsplit(address)
    _check_way(address)
    library = _LIBRARIES[parts.scheme]
    if find_spec(library) is None:
        raise missing_extra(library, "remote")
    import fsspec

    untyped: Any = fsspec
    return untyped.filesystem(parts.scheme, **(_web_options() if parts.scheme in _WEB else {}))


def _check_way(address: str) -> None:
    parts = urlsplit(address)
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise DataError(
            f"{_shown(address)} is not read: pictures are accepted over https only (http only from this machine); use "
            "an https address, or download them and name their folder"
        )


@cache
def _web_options() -> dict[str, Any]:
    import aiohttp

    async def check(session: Any, context: Any, parameters: Any) -> None:
        target = parameters.response.headers.get("Location", "")
        if "://" in target:
            _check_way(target)

    async def bound(session: Any, context: Any, parameters: Any) -> None:
        asked = _ASKED.fullmatch(parameters.headers.get("Range", ""))
        answer = parameters.response
        if asked is None or answer.status != HTTPStatus.PARTIAL_CONTENT:
            return
        most = int(asked[2]) - int(asked[1]) + 1
        if answer.content_length is None or answer.content_length > most:
            raise DataError(
                f"{_shown(str(parameters.url))} cannot be read: its server was asked for {most} bytes and announces "
                f"{answer.content_length}; expected no more than were asked for"
            )

    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(check)
    trace.on_request_end.append(bound)
    patience = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_READ_SECONDS)
    return {
        "client_kwargs": {"trace_configs": [trace], "timeout": patience},
        "headers": {"Accept-Encoding": "identity"},  # a place in a compressed answer is none in the file
    }


def _version(information: dict[str, Any]) -> str:
    return next((str(information[name]) for name in _VERSIONS if information.get(name)), "")


def _shown(address: str) -> str:
    """Return an address for messages, without what may be a signature."""
    return address.partition("?")[0] if urlsplit(address).scheme in _WEB else address
