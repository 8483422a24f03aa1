"""Files of a split of a data set on the hub, chosen by the names that splits and subsets have there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from beit.data.sources.split_names import subset_and_split
from beit.errors import DataError

PREFIX = "hub:"
KINDS = (".parquet", ".tar")
_SPEC = re.compile(r"(?P<repo>[^:@]+)(?::(?P<split>[^:@]+))?(?:@(?P<revision>[^:@]+))?")


@dataclass(frozen=True)
class HubName:
    """A data set on the hub, as it is named in a data path.

    Attributes:
        repo_id: "owner/name".
        split: "train", "subset/train", or None for the only one, or else train.
        revision: Branch, tag or commit; None for the default branch.
    """

    repo_id: str
    split: str | None
    revision: str | None


def hub_name(path: str) -> HubName:
    """Return the parsed form of "hub:owner/name:split@revision".

    Raises:
        DataError: If it is not of this form.
    """
    match = _SPEC.fullmatch(path.removeprefix(PREFIX))
    if match is None or match["repo"].count("/") != 1:
        raise DataError(
            f"data path {path!r} names no data set; expected hub:owner/name, with :split and @revision if wanted"
        )
    return HubName(match["repo"], match["split"], match["revision"])


def choose_files(name: HubName, files: Sequence[str]) -> list[str]:
    """Return the parquet files of a split, or its tar files if there are no parquet files, in the order of their names.

    A file `train-00000-of-00009.parquet` names its split; otherwise `train`, `test` and the like do, as the beginning
    of a file's or a folder's name, and a data set that says nothing has one split, train. Folders outside of that of
    the split, other than `data`, are subsets.

    Raises:
        DataError: If there is no such split, it is not clear which one is meant, or it has no such files.
    """
    found: dict[str, list[str]] = {}
    for file in sorted(files):
        if file.endswith(KINDS):
            found.setdefault("/".join(subset_and_split(file)), []).append(file)
    if not found:
        raise DataError(f"{name.repo_id} on the hub holds no pictures; expected parquet or tar files")
    splits = ", ".join(found)
    wanted = name.split if name.split is not None else ("train" if len(found) > 1 else next(iter(found)))
    matching = [split for split in found if split == wanted or split.endswith(f"/{wanted}")]
    if not matching:
        what = f"split {wanted!r}" if name.split is not None else "split 'train', which is taken unless one is named"
        raise DataError(f"{name.repo_id} on the hub has no {what}; expected hub:{name.repo_id}: and one of {splits}")
    if len(matching) > 1 and wanted not in matching:
        raise DataError(
            f"{name.repo_id} on the hub has several subsets; name one as hub:{name.repo_id}:{matching[0]} (there are "
            f"{', '.join(matching)})"
        )
    chosen = found[wanted if wanted in matching else matching[0]]
    kind = next(kind for kind in KINDS if any(file.endswith(kind) for file in chosen))
    return [file for file in chosen if file.endswith(kind)]
