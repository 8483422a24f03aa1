"""Token folders: visual tokens on disk, computed once and read by many epochs.

A token folder holds
  tokens.npy    uint16 (pictures, views, h, w), read row by row; MISSING where a picture was broken
  labels.npy    int64 (pictures,), if the pictures have labels
  names.txt     the name of every picture, one per line
  facts.json    their identity (tokenizer, data and views), and the number of finished rows

Legend: P pictures, R rows of a batch (picture-major, view-minor), h x w tokens.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from beit.errors import ConfigError, DataError, StorageError
from beit.files import AppendedFile, atomic_file, open_regular, read_json, write_json, write_text

TOKENS_NAME, IDENTITY_NAME, LABELS_NAME, NAMES_NAME = "tokens.npy", "facts.json", "labels.npy", "names.txt"
LOCK_NAME = ".lock"  # of the process that writes, while one does
MISSING = np.iinfo(np.uint16).max  # no token: codebooks are smaller
FINISHED, _SHAPE = "finished_rows", "shape"
_BATCHES_BETWEEN_SYNCS = 32
_PICTURES_AT_ONCE = 4096
_AGAIN = "give the `beit tokenizer encode` that made it again"

Identity = dict[str, Any]


class TokenWriter:
    """Writes rows in order, and continues after those that an earlier writer has stored for certain.

    Args:
        folder: The token folder; created if needed.
        identity: Tokenizer, data and views of the tokens: plain JSON values. A folder with other ones is refused.
        shape: (pictures, views, h, w).

    Raises:
        ConfigError: If the folder holds something else.
        StorageError: If the disk is full or the folder cannot be written.
    """

    def __init__(self, folder: str | Path, identity: Mapping[str, Any], shape: tuple[int, int, int, int]) -> None:
        self._folder, self._identity = Path(folder), {**identity, _SHAPE: list(shape)}
        self._rows, self._row_bytes = shape[0] * shape[1], shape[2] * shape[3] * 2
        self._header = _header(shape)
        self._unsynced = 0
        self.finished = self._prepare()
        self._file = self._open()

    @property
    def complete(self) -> bool:
        """Return whether every row is there."""
        return self.finished == self._rows

    def append(self, tokens_Rhw: NDArray[np.int64]) -> None:
        """Store the next rows.

        Raises:
            ConfigError: If a token does not fit into uint16.
            StorageError: If the disk is full; the rows before are kept.
        """
        if tokens_Rhw.size and not 0 <= tokens_Rhw.min() <= tokens_Rhw.max() <= MISSING:
            raise ConfigError(f"tokens reach {tokens_Rhw.max()}; expected 0 to {MISSING - 1}: use a smaller codebook")
        self._file.append(tokens_Rhw.astype("<u2").tobytes())
        self.finished += len(tokens_Rhw)
        self._unsynced += 1
        if self._unsynced == _BATCHES_BETWEEN_SYNCS or self.complete:
            self._sync()

    def close(self) -> None:
        """Store the number of finished rows, and close the file."""
        if not self._file.closed:
            with self._file:
                self._sync()

    def _prepare(self) -> int:
        """Return the number of finished rows, after checking that they are of the same tokens."""
        path = self._folder / IDENTITY_NAME
        if path.exists():
            found = read_identity(self._folder)
            check_identity(self._folder, found, self._identity, "choose another output, or remove the folder")
            size = (self._folder / TOKENS_NAME).stat().st_size if (self._folder / TOKENS_NAME).exists() else 0
            stored = max(0, size - len(self._header)) // self._row_bytes
            return min(int(found.get(FINISHED, 0)), stored)
        if self._folder.is_dir() and any(not path.match(f"{LOCK_NAME}*") for path in self._folder.iterdir()):
            raise ConfigError(f"{self._folder} is not empty and holds no tokens; choose another output")
        self._write_identity(0)
        return 0

    def _open(self) -> AppendedFile:
        kept = len(self._header) + self.finished * self._row_bytes if self.finished else 0
        remedy = "free space and give the same command again: it continues"
        file = AppendedFile(self._folder / TOKENS_NAME, kept, remedy)
        if not self.finished:
            file.append(self._header)
        return file

    def _sync(self) -> None:
        """Make the rows survive a power cut, then say how many there are.

        Raises:
            StorageError: If they cannot be written, or the folder has gone: half of one would take its name.
        """
        self._file.sync()
        if not (self._folder / TOKENS_NAME).is_file():
            raise StorageError(
                f"the token folder {self._folder} has gone while it was written; give it back its name, and the same "
                "command continues"
            )
        self._write_identity(self.finished)  # after the rows themselves: it never promises more than there is
        self._unsynced = 0

    def _write_identity(self, finished: int) -> None:
        write_json(self._folder / IDENTITY_NAME, {**self._identity, FINISHED: finished})


class StoredTokens:
    """The tokens of a folder, read where they are asked for: worker processes share the pages of the system.

    They are not memory-mapped: reading a map of a file that was cut off meanwhile ends the process by a signal.

    Args:
        folder: The token folder.
        vocab_size: Size of the codebook that they are of; default: any that the file can hold.
    """

    def __init__(self, folder: str | Path, vocab_size: int = MISSING) -> None:
        self._folder = folder = Path(folder)
        self._vocab_size = vocab_size
        self.identity = read_identity(folder)
        self._file: BinaryIO | None = None
        self._begin = 0  # of the rows in the file, after its header
        self.shape: tuple[int, ...] = tuple(self.identity.get(_SHAPE, ()))
        finished, rows = self.identity.get(FINISHED), prod(self.shape[:2])
        if len(self.shape) != 4 or finished != rows:
            raise DataError(
                f"{folder} holds {finished} of {rows} rows; give the `beit tokenizer encode` that made it again: it "
                "continues"
            )
        self._open()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None}  # a process opens the file for itself

    def __call__(self, picture: int, view: int) -> NDArray[np.int64]:
        """Return the tokens (h, w) of one view of a picture.

        Raises:
            DataError: If the picture was broken when it was encoded, or the file is damaged.
        """
        tokens_hw = self._read(picture * self.shape[1] + view, 1)[0]
        if tokens_hw.flat[0] == MISSING:
            raise DataError(f"picture {picture} has no tokens in {self._folder}: it was broken when they were made")
        if tokens_hw.max() >= self._vocab_size:
            raise DataError(
                f"picture {picture} has the token {tokens_hw.max()} in {self._folder}; expected tokens below "
                f"{self._vocab_size}, the size of the codebook: encode again into another folder"
            )
        return tokens_hw.astype(np.int64)

    def counts(self, vocab_size: int) -> tuple[NDArray[np.int64], int]:
        """Return the number of occurrences of each code, (V,), and of pictures that were broken.

        Raises:
            DataError: If a token is not below `vocab_size`.
        """
        counts_V, broken = np.zeros(vocab_size, np.int64), 0
        pictures, views = self.shape[:2]
        for first in range(0, pictures, _PICTURES_AT_ONCE):
            count = min(_PICTURES_AT_ONCE, pictures - first)
            some = self._read(first * views, count * views).reshape(count, *self.shape[1:])
            usable = some[:, 0, 0, 0] != MISSING
            broken += int((~usable).sum())
            codes = some[usable].ravel()
            if codes.size and codes.max() >= vocab_size:
                raise DataError(
                    f"{self._folder / TOKENS_NAME} holds the token {codes.max()}; expected tokens below {vocab_size}, "
                    "the size of the codebook: encode again into another folder"
                )
            counts_V += np.bincount(codes, minlength=vocab_size)
        return counts_V, broken

    def _read(self, first: int, count: int) -> NDArray[np.uint16]:
        """Return some rows (R, h, w).

        Raises:
            DataError: Naming the first picture of them: broken pictures are counted by what is said of each.
        """
        file = self._file or self._open()
        size, damaged = 2 * prod(self.shape[2:]), f"picture {first // self.shape[1]} has no tokens in {self._folder}"
        try:
            content = os.pread(file.fileno(), count * size, self._begin + first * size)
        except OSError as error:
            raise DataError(f"{damaged}: {TOKENS_NAME} cannot be read ({error.strerror}); {_AGAIN}") from None
        if len(content) < count * size:
            raise DataError(f"{damaged}: {TOKENS_NAME} has become shorter since it was opened; {_AGAIN}")
        return np.frombuffer(content, np.uint16).reshape(count, *self.shape[2:])

    def _open(self) -> BinaryIO:
        path = self._folder / TOKENS_NAME
        try:
            rows: np.memmap[Any, np.dtype[np.uint16]] = np.load(path, mmap_mode="r", allow_pickle=False)
            file = open_regular(path)
        except (
            Exception
        ) as error:  # a damaged header makes numpy raise many kinds of errors, those of Python's tokens too
            raise DataError(f"{path} cannot be read ({error}); {_AGAIN}") from None
        if rows.dtype != np.uint16:
            raise DataError(f"{path} holds {rows.dtype}; expected uint16; encode again into another folder")
        if rows.shape != self.shape or not rows.flags.c_contiguous:
            raise DataError(f"{path} has another shape than {IDENTITY_NAME} says; encode again")
        self._file, self._begin = file, rows.offset
        return file


def read_identity(folder: str | Path) -> Identity:
    """Return the content of the facts.json of a token folder.

    Raises:
        DataError: If it is no token folder.
    """
    expected = "the object that `beit tokenizer encode` writes"
    path, remedy = Path(folder) / IDENTITY_NAME, "encode again into another folder"
    found = read_json(path, expected, remedy, DataError)
    shape, finished = found.get(_SHAPE), found.get(FINISHED)
    if not (isinstance(shape, list) and all(is_count(side) for side in [*shape, finished])):
        raise DataError(f"{path} has no {_SHAPE} and {FINISHED} that are counts; expected {expected}; {remedy}")
    return found


def is_count(value: object) -> bool:
    """Return whether a value is a plain int of at least zero, and no more than an array can have."""
    return type(value) is int and 0 <= value < 2**62


def check_identity(folder: str | Path, found: Identity, expected: Mapping[str, Any], remedy: str) -> None:
    """Refuse tokens of another tokenizer, other data or other views.

    Raises:
        ConfigError: Naming every value that differs.
    """
    differences = [
        f"{name} is {_short(found.get(name))}, expected {_short(value)}"
        for name, value in expected.items()
        if found.get(name) != value
    ]
    if differences:
        raise ConfigError(f"{folder} holds other tokens: {'; '.join(differences)}; {remedy}")


def write_labels_and_names(folder: str | Path, names: list[str], labels: NDArray[np.int64] | None) -> None:
    """Store the names and the labels of the pictures.

    Raises:
        StorageError: If the disk is full.
    """
    write_text(Path(folder) / NAMES_NAME, "".join(" ".join(name.splitlines()) + "\n" for name in names))
    if labels is not None:
        with atomic_file(Path(folder) / LABELS_NAME) as temporary, temporary.open("wb") as file:
            np.save(file, labels)


def _header(shape: tuple[int, ...]) -> bytes:
    """Return the beginning of an .npy file of this shape."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<u2", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def _short(value: Any) -> str:
    """Return a value for a message; of a hash, its beginning is enough."""
    return value[:12] if isinstance(value, str) and len(value) == 64 else repr(value)[:200]
