"""Locks of outputs: one process at a time writes a run folder, a token folder, or the results of a job.

A lock is a file that names its holder: host, process, and since when. On the holder's own machine the process table
says whether it lives. From elsewhere (another host of a network file system, another container) the file is watched: a
holder touches it every few seconds, and one that does not for long enough is gone. Clocks are never compared: those of
two machines may differ.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from beit.errors import ConfigError
from beit.files.reading import open_regular
from beit.files.writing import discard_leftovers_of, make_folder, storage_error

BEAT = 5.0  # seconds between two touches
PATIENCE = 30.0  # seconds without one after which a holder elsewhere is gone
_SETTLED = 0.2  # seconds after which no other process is about to remove the same stale lock
_MOST_BYTES = 4096


@dataclass(frozen=True)
class Holder:
    """A process that writes an output.

    Attributes:
        host: Name of its machine.
        space: Identity of the process table in which its number counts: that of a boot, and of a container.
        process: Its number.
        begun: When it started, as the process table has it; numbers are given again. Empty where that is not known.
        since: When it took the lock, for people.
        token: Drawn for this lock.
    """

    host: str
    space: str
    process: int
    begun: str
    since: str
    token: str

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}, since {self.since}"

    @property
    def is_gone(self) -> bool | None:
        """Return whether the process has ended; None where this machine cannot know."""
        if (self.host, self.space) != (socket.gethostname(), _space()):
            return None
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # it is of another user
        return bool(self.begun) and _begun(self.process) != self.begun


@contextmanager
def locked(path: Path, output: str | Path, remedy: str) -> Generator[None]:
    """Hold a lock for the block.

    Args:
        path: The file of the lock; its folder is made if needed.
        output: What it protects, for messages.
        remedy: What helps beside waiting.

    Raises:
        ConfigError: If another process holds it, naming that.
        StorageError: If it cannot be written.
    """
    new_folder = not path.parent.exists()
    make_folder(path.parent)
    mine = Holder(
        socket.gethostname(),
        _space(),
        os.getpid(),
        _begun(os.getpid()),
        time.strftime("%Y-%m-%d %H:%M:%S %z"),
        secrets.token_hex(8),
    )
    _take(path, mine, output, remedy)
    ended = threading.Event()
    beat = threading.Thread(target=_beat, args=(path, ended), name="lock", daemon=True)
    beat.start()
    try:
        yield
    finally:
        ended.set()
        beat.join()
        with suppress(OSError):
            if _read(path) == mine:
                path.unlink()
            if new_folder:
                path.parent.rmdir()  # unless something was written beside the lock


@contextmanager
def locked_output(output: str | Path) -> Generator[None]:
    """Hold the lock of a file or folder that gets its name when it is whole; the lock lies beside it.

    What a killed process that wrote it has left there is tidied up.

    Raises:
        ConfigError: If another process holds it, naming that.
        StorageError: If it cannot be written.
    """
    place = Path(output).absolute()
    with locked(place.parent / f".{place.name}.lock", output, "or name another output"):
        discard_leftovers_of(place)
        yield


def killed_holder(path: Path) -> Holder | None:
    """Return the holder of a lock if it has ended and left the lock behind; None if it works, or none is known here."""
    found = _read(path)
    return found if found is not None and found.is_gone else None


def is_held(path: Path) -> bool:
    """Return whether a process that this machine knows holds a lock, and lives."""
    found = _read(path)
    return found is not None and found.is_gone is False


def _take(path: Path, mine: Holder, output: str | Path, remedy: str) -> None:
    """Put a lock in its place, that of a holder who is gone included."""
    while not _put(path, mine):
        found = _read(path)
        if found is None:  # released meanwhile, or not yet written, or damaged: all of that is seen by watching
            if not _keeps_still(path, _SETTLED):
                continue
        elif not _has_gone(path, found):
            raise ConfigError(
                f"{output} is being written by {found}; wait until it ends, {remedy}. If that process has ended, "
                f"remove {path}"
            )
        _remove_stale(path, found)
        if _put(path, mine):
            time.sleep(_SETTLED)
            if _read(path) == mine:
                return


def _put(path: Path, mine: Holder) -> bool:
    """Write a lock unless there is one; whole under its name, by a link, which also NFS makes once."""
    whole = path.with_name(f"{path.name}.{mine.token}.tmp")
    try:
        whole.write_text(json.dumps(asdict(mine)) + "\n", encoding="utf-8")
        try:
            os.link(whole, path)
        except FileExistsError:
            return False
        except OSError:  # a file system without links
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o666))
                os.replace(whole, path)
                return True
            return False
        return True
    except OSError as error:
        raise storage_error(path, error, "free space or choose another folder") from error
    finally:
        whole.unlink(missing_ok=True)


def _has_gone(path: Path, holder: Holder) -> bool:
    known = holder.is_gone
    return known if known is not None else _keeps_still(path, PATIENCE)


def _keeps_still(path: Path, seconds: float) -> bool:
    """Return whether nobody touches a file for some seconds; each look opens it, so that NFS asks its server."""
    before, deadline = _touched(path), time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(min(seconds, BEAT) / 5)
        if _touched(path) != before:
            return False
    return before is not None


def _touched(path: Path) -> tuple[int, int] | None:
    try:
        with open_regular(path) as file:
            status = os.fstat(file.fileno())
    except FileNotFoundError:
        return None
    except OSError as error:  # a named pipe, a folder
        raise storage_error(path, error, "remove it") from error
    return status.st_ino, status.st_mtime_ns


def _remove_stale(path: Path, found: Holder | None) -> None:
    """Remove the lock of a holder who is gone; should another process have taken its place, put that back."""
    aside = path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")
    with suppress(OSError):
        path.rename(aside)
        if _read(aside) != found:
            os.link(aside, path)
    aside.unlink(missing_ok=True)


def _read(path: Path) -> Holder | None:
    """Return the holder that a lock names; None if there is no lock, or it names none."""
    try:
        with open_regular(path) as file:
            fields = json.loads(file.read(_MOST_BYTES))
        values: dict[str, Any] = {name: kind(fields[name]) for name, kind in _FIELDS.items()}
        holder = Holder(**values)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return holder if 0 < holder.process < 2**31 else None


_FIELDS = {"host": str, "space": str, "process": int, "begun": str, "since": str, "token": str}


def _beat(path: Path, ended: threading.Event) -> None:
    while not ended.wait(BEAT):
        with suppress(OSError):
            os.utime(path)


def _space() -> str:
    """Return the identity of the process table of this process."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _begun(process: int) -> str:
    """Return when a process started, by the process table; empty if that does not know or the process has ended."""
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    state, *rest = status.rpartition(")")[2].split()
    return "" if state in "ZX" else rest[18]
