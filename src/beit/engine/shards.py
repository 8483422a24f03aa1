"""Agreement of all processes on the shards of a collection."""

from __future__ import annotations

from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import gather_object

from beit.data import ImageSource, list_shards
from beit.errors import DataError


def note_shards(accelerator: Accelerator, listing: Path, *sources: ImageSource) -> None:
    """List the unreadable shards of a run, once it is sure that all its processes mean the same pictures.

    Raises:
        DataError: If a process can read other shards than the first.
    """
    if accelerator.num_processes > 1:
        found = gather_object([[_seen(source) for source in sources]])
        strange = next((rank for rank, seen in enumerate(found) if seen != found[0]), None)
        if strange is not None:
            counts = [[one["pictures"] for one in found[rank]] for rank in (strange, 0)]
            same = " in other shards" if counts[0] == counts[1] else ""
            raise DataError(
                f"process {strange} finds {counts[0]} pictures and process 0 {counts[1]}{same}, so they would not "
                "share the same batches; make all files readable on every machine"
            )
    if accelerator.is_main_process:
        list_shards(listing, *sources)


def _seen(source: ImageSource) -> dict[str, object]:
    """Return what must be the same wherever a collection is opened."""
    sizes, broken = source.shard_sizes, source.broken_shards
    return {
        "pictures": len(source),
        "shards": [int(size) for size in sizes] if sizes is not None else None,
        "broken": [shard.name for shard in broken],
    }
