"""What is fuzzed: sound files of every kind that comes from strangers, and what reads them."""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tifffile
import torch
from PIL import Image

from beit import BeitConfig, BeitForImageClassification, BeitImageProcessor
from beit.data import BrokenPictures, LabelIds, open_source, read_classes, with_labels
from beit.data.sources.index_cache import load_index
from beit.data.sources.parquet.shards import _look
from beit.engine.metrics import read_metrics
from beit.engine.run_folder import RunFolder
from beit.files import read_json, read_yaml
from beit.image import BandOptions, open_image, read_image
from beit.inference.jobs.state import JobState
from beit.models_torch.loading import read_safetensors
from beit.service.uploads import decode
from beit.weights.msgpack_file import open_msgpack
from beit.weights.pickles import open_pickled
from tests.campaigns.folders import folder_targets
from tests.campaigns.formats import format_targets
from tests.campaigns.models import model_targets
from tests.campaigns.target import Target

CONFIG = BeitConfig(image_size=32, patch_size=16, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
                    intermediate_size=8, id2label={0: "cat", 1: "dog"})  # fmt: skip


FOUR = BandOptions(4)


def picture(kind: str, mode: str = "RGB", **options: object) -> bytes:
    """Return a small picture."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 20, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, format=kind, **options)
    return buffer.getvalue()


def pictures() -> list[bytes]:
    """Return pictures of every format, and PostScript."""
    kinds = [("PNG", {}), ("JPEG", {"progressive": True}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("BMP", {})]
    more = [
        ("TIFF", {"compression": "tiff_lzw"}),
        ("GIF", {}),
        ("PPM", {}),
        ("JPEG", {"exif": b"Exif\0\0MM\0*\0\0\0\x08"}),
    ]
    found = [picture(kind, **options) for kind, options in [*kinds, *more]]
    return [*found, picture("PNG", "P"), picture("PNG", "I;16"), b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"]


def reducible() -> list[bytes]:
    """Return pictures that are decoded smaller: JPEG 2000, and TIFF with versions in pages and in SubIFDs."""
    found = [picture("JPEG2000", no_jp2=plain, num_resolutions=4) for plain in (True, False)]
    pixels = np.random.default_rng(0).integers(0, 2**16, (48, 64), np.uint16)
    for inside, big, values in ((1, False, pixels), (0, False, pixels), (1, True, (pixels >> 8).astype(np.uint8))):
        buffer, kind = io.BytesIO(), {"photometric": "minisblack", "metadata": None}
        with tifffile.TiffWriter(buffer, bigtiff=big) as writer:
            writer.write(values, subifds=inside, **kind)
            writer.write(values[::2, ::2], subfiletype=1, **kind)
        found.append(buffer.getvalue())
    return found


def arrays() -> list[bytes]:
    """Return an array of four bands, archives of it, and some whose header or directory lies."""
    values = np.random.default_rng(0).integers(0, 256, (24, 20, 4), np.uint8)
    found = [io.BytesIO() for _ in range(3)]
    for save, buffer in zip((np.save, np.savez, np.savez_compressed), found, strict=True):
        save(buffer, values)
    plain = found[0].getvalue()
    lies = [
        plain.replace(b"(24, 20, 4), }", b"(9**9,9, 4), }"),
        plain.replace(b"(24, 20, 4), }       ", b"(99999999, 9999, 4)}"),
    ]
    for lie in lies:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("arr_0.npy", lie)
        found.append(buffer)
    return [buffer.getvalue() for buffer in found]


def tars() -> list[bytes]:
    """Return shards in every layout of headers."""
    found: list[bytes] = []
    for layout in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=layout) as shard:
            for name, content in (
                ("a" * 120 + "/1.png", picture("PNG")),
                ("1.cls", b"3"),
                ("2.json", b'{"label": "x"}'),
            ):
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                shard.addfile(entry, io.BytesIO(content))
        found.append(buffer.getvalue())
    return found


def parquet() -> bytes:
    """Return a table of pictures and labels."""
    buffer = io.BytesIO()
    pq.write_table(pa.table({"image": [{"bytes": picture("PNG"), "path": "a"}] * 3, "label": [0, 1, 0]}), buffer)
    return buffer.getvalue()


def model_files(folder: Path) -> dict[str, bytes]:
    """Return the files of a model in every kind of container."""
    model = BeitForImageClassification(CONFIG)
    model.save_pretrained(folder)
    BeitImageProcessor(size=32).save_pretrained(folder)
    for name, zipped in (("new.pth", True), ("old.pth", False)):
        torch.save({"model": dict(model.state_dict())}, folder / name, _use_new_zipfile_serialization=zipped)
    from beit.weights import write_msgpack

    write_msgpack(folder / "flax_model.msgpack", {"a": {"b": np.zeros((3, 4), np.float32)}})
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def targets(folder: Path) -> dict[str, Target]:
    """Return all targets; `folder` is for what some of them need beside their file."""
    files = model_files(folder)
    (folder / "pictures").mkdir()
    (folder / "pictures" / "a.png").write_bytes(picture("PNG"))
    labelled = str(folder / "pictures")
    classifier = files["config.json"]
    weights = BeitForImageClassification.from_pretrained

    def beside(path: Path) -> object:
        (path.parent / "config.json").write_bytes(classifier)
        return weights(path.parent)

    def labels(path: Path) -> object:
        return with_labels(open_source(labelled), labelled, str(path))

    def shard(path: Path) -> object:
        source = open_source(str(path))
        return [source.load(index) for index in range(min(3, len(source)))]

    def job(path: Path) -> object:
        return JobState(path.parent.parent, True).begin({})

    BeitForImageClassification(CONFIG).save_pretrained(folder / "shards", max_shard_size="4KB")
    in_shards = {path.name: path.read_bytes() for path in (folder / "shards").iterdir()}
    index = in_shards.pop("model.safetensors.index.json")
    processor = files["preprocessor_config.json"]
    recipe = b"data: {path: a, workers: 2}\ntrain: &x {max_steps: 3}\nother: *x\nlist: [1, 2.5, null, true]\n"
    lines = b'{"step": 1, "split": "train", "loss": 2.5}\n{"step": 2, "split": "val", "loss": 1.5}\n'
    record = b'{"arguments": {}, "ended": {"pictures": 1, "broken": [["a", "b"]]}}'
    return {
        "picture": Target("a.png", pictures(), read_image),
        "lazy picture": Target("a.jpg", pictures(), lambda path: open_image(path.read_bytes(), "a").decode(4.0)),
        "reduced picture": Target("a.tif", reducible(), lambda path: open_image(path.read_bytes(), "a").decode(4.0)),
        "upload": Target("upload", pictures(), lambda path: decode(path.read_bytes(), 1_000_000)),
        "array": Target("a.npy", arrays()[:1], lambda path: open_image(path.read_bytes(), "a", bands=FOUR).decode()),
        "archive": Target("a.npz", arrays()[1:], lambda path: open_image(path.read_bytes(), "a", bands=FOUR).decode()),
        "cached index": Target("a.npz", arrays()[1:], lambda path: load_index(path, ("arr_0",), dict)),
        "label map": Target("a.png", [picture("PNG", "L"), picture("PNG", "P")], LabelIds(255).read),
        "tar": Target("a.tar", tars(), shard),
        "parquet": Target("a.parquet", [parquet()], lambda path: _look(path, ())),
        "safetensors": Target("model.safetensors", [files["model.safetensors"]], read_safetensors),
        "checkpoint": Target("model.safetensors", [files["model.safetensors"]], beside),
        "pickle": Target("a.pth", [files["new.pth"], files["old.pth"]], open_pickled),
        "msgpack": Target("a.msgpack", [files["flax_model.msgpack"]], open_msgpack),
        "index": Target("model.safetensors.index.json", [index], lambda path: weights(path.parent), in_shards),
        "config": Target("config.json", [classifier], BeitConfig.from_json_file),
        "processor": Target("preprocessor_config.json", [processor], BeitImageProcessor.from_json_file),
        "yaml": Target("a.yaml", [recipe], lambda path: read_yaml(path, "a recipe", "correct it")),
        "json": Target("a.json", [classifier, b'{"a": [1, "\\u00e9", 2.5e3]}'], lambda path: read_json(path, "it")),
        "csv": Target("a.csv", [b'file_name,label\r\n"a.png","c\nd"\r\n', b"file_name,value\na.png,2.5\n"], labels),
        "json lines": Target("a.jsonl", [b'{"file_name": "a.png", "labels": ["x", "y"]}\n'], labels),
        "classes": Target("a.txt", [b"road 9 64 9\nsky 1 2 3\nignored 0 0 0\n"], lambda path: read_classes(str(path))),
        "metrics": Target("metrics.jsonl", [lines], read_metrics),
        "result": Target("result.json", [b'{"a": 0.5, "b": 3}'], lambda path: RunFolder(path.parent).read_result()),
        "broken": Target("broken.txt", [b"a.png is broken\n"], lambda path: BrokenPictures(path, 9, 1.0).summary()),
        "job": Target(".predict/job.json", [record], job),
        **format_targets(folder),
        **folder_targets(folder),
        **model_targets(folder),
    }  # fmt: skip
