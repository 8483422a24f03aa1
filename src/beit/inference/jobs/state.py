"""Progress of a job on disk: one file for every chunk, written whole or not at all."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

from beit.errors import ConfigError, StorageError, shortened
from beit.files import (
    discard_leftovers,
    discard_leftovers_of,
    identity_of,
    locked,
    make_folder,
    parse_json,
    read_json,
    write_bytes,
    write_json,
    write_text,
)
from beit.inference.jobs.chunk import Chunk
from beit.inference.jobs.inputs import Unit
from beit.inference.jobs.pipeline import Todo

_UNFINISHED = re.compile(r"\..+\.\d+\.tmp", re.DOTALL)
_CHUNK = re.compile(r"(\d+)-(\d+)(-last)?\.jsonl")
_OTHERS = {"contents": "other pictures", "weights": "another model", "tokenizer_weights": "another tokenizer"}  # hashes
_GONE = "-gone.jsonl"  # ends the name of a chunk whose pictures went meanwhile: it counts as missing


@dataclass(frozen=True)
class Summary:
    """Summary of a finished job.

    Attributes:
        pictures: Pictures that have a result.
        broken: (name, reason) of those that could not be read.
        gone: Whether some of these have gone since the job began: once they are back, the same job does them.
    """

    pictures: int
    broken: list[tuple[str, str]]
    gone: bool = False


class JobState:
    """State of a job in a hidden folder, beside its file or in its folder.

    Args:
        output: The file or folder that the job makes.
        is_folder: Whether it makes a folder.
    """

    def __init__(self, output: Path, is_folder: bool) -> None:
        self._output, self._is_folder = output, is_folder
        self._folder = output / ".predict" if is_folder else output.with_name(f".{output.name}.predict")
        self._record, self._chunks = self._folder / "job.json", self._folder / "chunks"
        self._begun: tuple[int, int] | None = None  # identity of the folder of a job that has begun

    @contextmanager
    def held(self) -> Generator[None]:
        """Keep other processes from writing the results for the block.

        Raises:
            ConfigError: If one is writing them.
            StorageError: If nothing can be written there.
        """
        if self._is_folder and self._output.is_file():
            self._refuse_kind()
        with locked(self._folder / "lock", self._output, "or name another output"):
            yield

    def begin(self, arguments: dict[str, Any]) -> Summary | None:
        """Begin a job, or continue one with the same arguments; return the summary if it has ended.

        Raises:
            ConfigError: If what is there was made with other arguments, or is not known to be of a job.
            StorageError: If nothing can be written there.
        """
        before = self._before()
        if before and (before["ended"] is not None or (self._chunks.is_dir() and any(self._chunks.iterdir()))):
            self._refuse_others(before["arguments"], arguments)
        elif self._output.exists() and self._output.is_dir() != self._is_folder:
            self._refuse_kind()
        elif self._output.exists() and not self._is_folder:
            raise ConfigError(f"{self._output} exists, and no job of predictions made it; remove it or name another")
        else:
            self._write(arguments, None)
        ended = before.get("ended")  # a job that failed before it had any result may begin with other arguments
        if ended is not None and self._lacks_pictures():  # all are back: else the arguments were others
            self._write(arguments, None)
        elif ended is not None and (self._is_folder or self._output.exists()):
            shutil.rmtree(self._chunks, ignore_errors=True)
            return Summary(ended["pictures"], [(name, reason) for name, reason in ended["broken"]])
        make_folder(self._chunks)
        self._begun = identity_of(self._folder)
        self._tidy()
        return None

    def todo(self, units: Sequence[Unit]) -> list[Todo]:
        """Return the units that are not done, each with its first missing chunk."""
        done: dict[int, set[int]] = {}
        whole: dict[int, int] = {}
        for number, chunk, last in self._found():
            done.setdefault(number, set()).add(chunk)
            if last:
                whole[number] = chunk + 1
        found: list[Todo] = []
        for number, unit in enumerate(units):
            missing = next(chunk for chunk in count() if chunk not in done.get(number, ()))
            if missing != whole.get(number):
                found.append((number, unit, missing))
        return found

    def keep(self, chunk: Chunk) -> None:
        """Write a chunk, after the files that it made.

        Raises:
            StorageError: If it cannot be written, or the state of the job has gone.
        """
        self._check_present()
        for name, content in chunk.files.items():
            write_bytes(self._output / name, content)
        begin = f"{chunk.unit:08d}-{chunk.number:08d}"
        name = f"{begin}{_GONE}" if chunk.gone else f"{begin}{'-last' if chunk.last else ''}.jsonl"
        (self._chunks / f"{begin}{_GONE}").unlink(missing_ok=True)  # before, so that no picture has two rows
        lines = [{"columns": chunk.columns, "broken": chunk.broken}, *chunk.rows]
        write_text(self._chunks / name, "".join(json.dumps(line) + "\n" for line in lines))

    def _check_present(self) -> None:
        """Refuse to write where the state was: the chunks that are done went with it, and the rest would pass for all.

        Raises:
            StorageError: If it has gone.
        """
        if self._begun is not None and identity_of(self._folder) != self._begun:
            gone = self._output if self._is_folder else self._folder
            raise StorageError(
                f"{gone} has gone while the job wrote it; remove what has its name now, give it that name back, and "
                "the same command continues"
            )

    def columns(self) -> list[str]:
        """Return the columns of a table of the results.

        Raises:
            StorageError: If the state of the job has gone.
        """
        self._check_present()
        first = min(self._chunks.iterdir())
        with first.open(encoding="utf-8") as file:
            return _head(first, file.readline())["columns"]

    def rows(self) -> Iterator[str]:
        """Yield the results in the order of the pictures, each a line of JSON."""
        for path in sorted(self._chunks.iterdir()):
            with path.open(encoding="utf-8") as file:
                file.readline()
                yield from file

    def end(self, arguments: dict[str, Any], lost: list[tuple[str, str]]) -> Summary:
        """Record the end of the job, with the shards that were `lost` as a whole; chunks to try again are kept.

        Raises:
            StorageError: If the state of the job has gone.
        """
        self._check_present()
        pictures, broken = 0, [*lost]
        for path in sorted(self._chunks.iterdir()):
            with path.open(encoding="utf-8") as file:
                broken += [(name, reason) for name, reason in _head(path, file.readline())["broken"]]
                pictures += sum(1 for _ in file)
        summary = Summary(pictures, broken, self._lacks_pictures())
        self._write(arguments, {"pictures": pictures, "broken": broken})
        if not summary.gone:
            shutil.rmtree(self._chunks)
        return summary

    def _lacks_pictures(self) -> bool:
        """Return whether pictures of a chunk went while the job read them."""
        return self._chunks.is_dir() and any(path.name.endswith(_GONE) for path in self._chunks.iterdir())

    def _refuse_kind(self) -> NoReturn:
        raise ConfigError(
            f"{self._output} is a {'folder' if self._output.is_dir() else 'file'}; expected a name for a "
            f"{'folder' if self._is_folder else 'file'}: choose another, or another --format"
        )

    def _tidy(self) -> None:
        """Remove half-written files of a job that was stopped."""
        discard_leftovers(self._folder)
        discard_leftovers(self._chunks)
        if not self._is_folder:
            discard_leftovers_of(self._output)
            return
        for leftover in self._output.rglob(".*.tmp"):
            if _UNFINISHED.fullmatch(leftover.name):
                leftover.unlink(missing_ok=True)

    def _found(self) -> Iterator[tuple[int, int, bool]]:
        for path in self._chunks.iterdir():
            if match := _CHUNK.fullmatch(path.name):
                yield int(match[1]), int(match[2]), match[3] is not None

    def _write(self, arguments: dict[str, Any], ended: dict[str, Any] | None) -> None:
        write_json(self._record, {"arguments": arguments, "ended": ended}, indent=1)

    def _before(self) -> dict[str, Any]:
        """Return the record of an earlier job, empty if there is none."""
        if not self._record.exists():
            return {}
        remedy = f"remove {self._folder} to start afresh"
        before = read_json(self._record, "the record of a job of predictions", remedy)
        ended = before.get("ended", ...)
        whole = isinstance(before.get("arguments"), dict) and (ended is None or _is_summary(ended))
        if not whole:
            raise ConfigError(
                f"{self._record} holds {shortened(sorted(before))}; expected arguments and ended; {remedy}"
            )
        return before

    def _refuse_others(self, before: dict[str, Any], now: dict[str, Any]) -> None:
        same = json.loads(json.dumps(now))
        for name in dict.fromkeys([*before, *same]):
            if before.get(name) != same.get(name):
                what = _OTHERS.get(name, f"{name} {before.get(name)!r}, now {same.get(name)!r}")
                raise ConfigError(
                    f"{self._output} was begun with {what}; expected the same arguments to continue: name another "
                    f"output, or remove it and {self._folder} to start afresh"
                )


def _is_summary(ended: Any) -> bool:
    """Return whether a value records the end of a job."""
    if (
        not isinstance(ended, dict)
        or type(ended.get("pictures")) is not int
        or not isinstance(ended.get("broken"), list)
    ):
        return False
    return all(isinstance(pair, list) and [type(part) for part in pair] == [str, str] for pair in ended["broken"])


def _head(path: Path, line: str) -> dict[str, Any]:
    """Return the first line of a chunk."""
    expected, remedy = "a chunk of results", "remove it, and the same command makes it again"
    head = parse_json(line, str(path), expected, remedy)
    if not isinstance(head.get("columns"), list) or not _is_summary({"pictures": 0, **head}):
        raise ConfigError(
            f"{path} holds {shortened(sorted(head))}; expected {expected}, columns and broken first; {remedy}"
        )
    return head
