"""Time and memory of a large folder of pictures before the first one is read, at 10^5, 10^6 and 10^7 pictures.

    python benchmarks/listing.py [--files 1000000]

Every count is a process of its own. The paths are made up, as those of ImageNet-21k are (30 bytes, 21,841 classes), so
that nothing but our own work is measured; `--files` also lists so many real, empty files, and again by the index, in
folders that are made in the working directory and removed. Writes results/listing.json.
"""

import argparse
import gc
import json
import os
import sys
import time
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from about import write_result
from beit.data import split
from beit.data.sampler import BatchOrder
from beit.data.sources.folder import FolderSource
from beit.image import folder_state
from memory import forget_peak, peak, resident
from peers import ask
from table import listing_table

RESULT = Path(__file__).parent / "results" / "listing.json"
COUNTS, CLASSES = (10**5, 10**6, 10**7), 21_841


def paths(count):
    """Yield so many relative paths in order."""
    classes = min(CLASSES, count // 10)
    for kind in range(classes):
        for number in range(kind * count // classes, (kind + 1) * count // classes):
            yield f"n{kind:08}/n{kind:08}_{number % 100_000:05}.JPEG"


def timed(work):
    """Return the seconds that some work takes, and its result."""
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def measure(count):
    """Return seconds and bytes of listing, dividing and shuffling so many pictures."""

    def made_up(folder, endings, passed_over, walked):
        walked[str(folder)] = folder_state(str(folder))
        yield from paths(count)

    with (
        TemporaryDirectory(dir=".") as place,
        patch("beit.data.sources.folder_index.walk_pictures", made_up),
        patch.dict(os.environ, XDG_CACHE_HOME=str(Path(place) / ".cache")),  # nothing is known from before
    ):
        fill(Path(place), count, files=False)
        gc.collect()
        forget_peak()
        before = resident()
        listing, source = timed(lambda: FolderSource(Path(place)))
        gc.collect()
        kept, most = resident() - before, peak() - before
        dividing, _ = timed(lambda: split(source, 0.01, seed=0, stratified=True))
        again, _ = timed(lambda: split(source, 0.01, seed=0, stratified=True))
    order = BatchOrder(count, batch_size=256, steps=count // 256, seed=0)
    shuffling, _ = timed(lambda: list(islice(order, 1)))
    return {
        "listing": listing,
        "bytes_per_picture": kept / count,
        "peak_bytes_per_picture": most / count,
        "stratified_split": dividing,
        "stratified_split_again": again,
        "first_batch_of_an_epoch": shuffling,
    }


def measure_files(count):
    """Return the seconds of listing so many real files, and of doing so again."""
    with TemporaryDirectory(dir=".") as place, patch.dict(os.environ, XDG_CACHE_HOME=str(Path(place, "cache"))):
        pictures = Path(place, "pictures")
        pictures.mkdir()
        fill(pictures, count, files=True)
        for folder in (pictures, *pictures.iterdir()):
            os.utime(folder, (0, 0))  # only folders that have been left alone for a while are kept
        first, again = (timed(lambda: FolderSource(pictures))[0] for _ in range(2))
    return {"pictures": count, "listing": first, "listing_again": again}


def fill(place, count, files):
    """Make the folders of the classes, and the files if asked for, empty."""
    known = None
    for path in paths(count):
        if (folder := path.partition("/")[0]) != known:
            known = folder
            (place / folder).mkdir()
        if files:
            (place / path).touch()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, help="also list so many real files")
    for name in ("--measure", "--measure-files"):  # in this process
        parser.add_argument(name, type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure or given.measure_files:
        numbers = measure(given.measure) if given.measure else measure_files(given.measure_files)
        print(json.dumps(numbers))
        return
    found = {str(count): ask(sys.executable, __file__, "--measure", str(count)) for count in COUNTS}
    files = given.files and ask(sys.executable, __file__, "--measure-files", str(given.files))
    write_result(RESULT, {"classes": CLASSES, "pictures": found, "files": files or None}, "numpy")
    print(listing_table(json.loads(RESULT.read_text())))


if __name__ == "__main__":
    main()
