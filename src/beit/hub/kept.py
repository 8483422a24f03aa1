"""Remote files that are needed whole: fetched range by range into a cache, and continued where they broke off."""

from __future__ import annotations

import hashlib
from pathlib import Path

from beit.files import AppendedFile, cache_folder, make_folder, move_into_place
from beit.hub.remote import RemoteFile

_PIECE = 8 << 20  # bytes of a request
_REMEDY = "free space or choose another folder with XDG_CACHE_HOME"


def kept_copy(file: RemoteFile) -> Path:
    """Return the local copy of a file that has been located, fetched if it is not there.

    Of several processes that want the same file one fetches, and the others wait. Another version of it is another
    copy.

    Raises:
        DataError: If it cannot be read.
        ConnectionLostError: If its server cannot be reached any more; the next call continues.
        StorageError: If it cannot be written, for example on a full disk.
    """
    from huggingface_hub.utils import WeakFileLock

    identity = hashlib.sha256(f"{file} {file.size} {file.version}".encode()).hexdigest()[:32]
    target = cache_folder("remote") / identity / file.name
    if target.is_file():
        return target
    make_folder(target.parent, _REMEDY)
    with WeakFileLock(target.with_name(".lock")):
        if not target.is_file():  # another process may have finished it
            _fetch(file, target)
    return target


def _fetch(file: RemoteFile, target: Path) -> None:
    partial = target.with_name(f"{target.name}.incomplete")
    keep = None if file.version else 0  # without a version nobody knows whether it is the same file still
    with AppendedFile(partial, keep, _REMEDY) as written, file.open(0) as stream:
        stream.seek(partial.stat().st_size)
        while piece := stream.read(_PIECE):
            written.append(piece)
    move_into_place(partial, target)
