"""Places of outputs: what a file or folder may replace, which is also asked before the work whose result it takes."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from beit.errors import ConfigError, StorageError

KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
}


def check_file_place(path: Path) -> None:
    """Refuse a file in the place of something else: the system of a superuser would lose its /dev/null by it.

    Raises:
        StorageError: If a folder, a pipe or a device is there, also behind a link, or the place is the system's.
    """
    mode = _mode(path)
    if mode is not None and (not stat.S_ISREG(mode) or _is_of_system(path)):
        raise _taken(path, KINDS.get(stat.S_IFMT(mode), "of the system"), "file")


def check_folder_place(path: Path) -> None:
    """Do the same for a folder.

    Raises:
        StorageError: If a file or anything else than a folder is there, also behind a link.
    """
    mode = _mode(path)
    if mode is not None and not stat.S_ISDIR(mode):
        raise _taken(path, KINDS.get(stat.S_IFMT(mode), "a file"), "folder")


def check_output(path: str | Path) -> None:
    """Refuse the place of a file that could not be written when the work is done.

    Raises:
        StorageError: If something else is there, or files cannot be made in its folder, or not the folder.
    """
    path = Path(path)
    check_file_place(path)
    above = next(folder for folder in path.absolute().parents if os.path.lexists(folder))
    if not above.is_dir():
        raise StorageError(f"cannot write {path}: {above} is no folder; name another place")
    if not os.access(above, os.W_OK | os.X_OK):
        raise StorageError(f"cannot write {path}: {above} may not be written; change its permissions or name another")


def check_apart(output: str | Path, setting: str, inputs: Iterable[str | None]) -> None:
    """Refuse a folder that is written inside one that is read: its pictures would be among those read next time.

    Args:
        output: The folder that is written.
        setting: Its name for users.
        inputs: Paths that are read; those that are no folders have nothing inside.

    Raises:
        ConfigError: Naming both.
    """
    place = os.path.join(os.path.realpath(output), "")
    for given in inputs:
        if given is not None and os.path.isdir(given) and place.startswith(os.path.join(os.path.realpath(given), "")):
            raise ConfigError(
                f"{setting} {output} lies inside {given}, all of which is read: pictures in it would be among the "
                "others when the same command goes on; name a folder outside"
            )


def _mode(path: Path) -> int | None:
    """Return the mode of what is at a place, behind links; None if nothing is, or none may look."""
    try:
        return os.stat(path).st_mode
    except OSError:
        return None


def _is_of_system(path: Path) -> bool:
    """Return whether a place is one of the system's own links to files, such as /dev/stdout."""
    folder = os.path.realpath(path.parent)
    return folder == "/dev" or folder.startswith("/proc/")


def _taken(path: Path, kind: str, wanted: str) -> StorageError:
    return StorageError(f"cannot write {path}: it is {kind}, and a {wanted} would take its place; name another")
