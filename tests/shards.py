"""Shards made of pictures, for tests."""

import io
import tarfile
from pathlib import Path

from PIL import Image


def write_tar(path, files):
    """Write (name, content) pairs as a tar file."""
    with tarfile.open(path, "w") as tar:
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def picture_bytes(number, kind="PNG", size=(20, 16)):
    """A picture of one colour, which stands for its number."""
    file = io.BytesIO()
    Image.new("RGB", size, (number % 256, 40, 200)).save(file, kind)
    return file.getvalue()


def shard_files(numbers, label=None):
    """The files of samples with these numbers; `label` gives the class of each."""
    for number in numbers:
        yield f"part/{number:06d}.png", picture_bytes(number)
        if label is not None:
            yield f"part/{number:06d}.cls", str(label(number)).encode()


def write_shards(folder, pictures=40, shards=4, label=None):
    """Write tar shards of numbered pictures; return their paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    each = pictures // shards
    return [
        write_tar(folder / f"train-{shard:03d}.tar", shard_files(range(shard * each, (shard + 1) * each), label))
        for shard in range(shards)
    ]


def write_parquet(folder, pictures=40, shards=4):
    """Write parquet shards of the same pictures; return their paths."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    each, paths = pictures // shards, []
    for shard in range(shards):
        numbers = range(shard * each, (shard + 1) * each)
        paths.append(folder / f"train-{shard:05d}-of-{shards:05d}.parquet")
        cells = [{"bytes": picture_bytes(number), "path": f"{number}.png"} for number in numbers]
        pq.write_table(pa.table({"image": cells, "label": [number % 3 for number in numbers]}), paths[-1])
    return paths


def number_of(picture):
    """The number that a picture stands for."""
    return picture.getpixel((0, 0))[0]
