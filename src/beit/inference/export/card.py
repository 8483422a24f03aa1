"""Description of an exported folder: `export.json` for programs, `README.md` for people."""

from __future__ import annotations

import hashlib
import importlib.metadata
from pathlib import Path
from typing import Any

from beit import __version__
from beit.config import problem_of
from beit.errors import printable
from beit.files import write_json, write_text
from beit.image import COLOURS, Preprocessing
from beit.image.value_range import BITS
from beit.inference.export.check import Check
from beit.inference.export.model import ExportModel
from beit.inference.export.program import INPUT
from beit.inference.exported import EXPORT_NAME, EXPORT_VERSION, FILES
from beit.inference.tasks.classify import Classify
from beit.settings.export import DYNAMIC, ExportJob, ExportPrecision

_LIBRARIES = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("openvino", "nncf"), "torch": ()}
_RUNS_WITH = {"onnx": "onnxruntime", "openvino": "openvino", "torch": "torch"}
_MEANS: dict[ExportPrecision, str] = {
    "fp32": "weights and computation in float32",
    "fp16": "weights of 16 bits; the device computes in its own half precision, or in float32",
    "int8": "weights and the large products of 8 bits, the rest in float32",
}


def description_of(model: ExportModel, job: ExportJob, folder: Path) -> dict[str, Any]:
    """Return the content of `export.json`, but for the check."""
    height, width = model.view.image_hw
    side = ["rows * " + str(model.config.patch_hw[0]), "columns * " + str(model.config.patch_hw[1])]
    shape = [job.batch_size, model.config.num_channels, *(side if model.any_size else (height, width))]
    libraries = {name: _version(name) for name in ("torch", *_LIBRARIES[job.to])}
    return {
        "export_version": EXPORT_VERSION,
        "source": model.source,
        "format": job.to,
        "precision": job.precision,
        "task": model.task,
        "input": {"name": INPUT, "shape": shape, "dtype": "float32"},
        "output": {"name": model.output.name, "dtype": "float32"},
        "batch": None if job.batch_size == DYNAMIC else job.batch_size,
        "image_height": height,
        "image_width": width,
        "any_size": model.any_size,
        "opset": job.opset if job.to == "onnx" else None,
        "sha256": {name: _digest(folder / name) for name in FILES[job.to]},
        "versions": {"beit": __version__, **{name: version for name, version in libraries.items() if version}},
    }


def write_description(description: dict[str, Any], folder: Path) -> None:
    """Write `export.json`."""
    write_json(folder / EXPORT_NAME, description)


def write_card(description: dict[str, Any], check: Check, model: ExportModel, folder: Path) -> None:
    """Write the model card."""
    shape = ", ".join(str(length) for length in description["input"]["shape"])
    purpose, output = _purpose(model)
    mean, std = ([round(value, 4) for value in values] for values in (model.view.mean, model.view.std))
    files = "\n".join(
        f"- `{name}`" for name in (*description["sha256"], "config.json", "preprocessor_config.json", EXPORT_NAME)
    )
    trust = ", trust=True" if description["format"] == "torch" else ""
    note = _TRUST if description["format"] == "torch" else ""
    source = plain(model.source)
    text = f"""# {source}, exported for {_RUNS_WITH[description["format"]]}

A BEiT that was made to {purpose}, in {description["precision"]}: {_MEANS[description["precision"]]}.

| | |
|---|---|
| source | {source} |
| parameters | {model.torch_model.num_parameters():,} |
| input | `{INPUT}`: float32 ({shape}), {_values(model.view)}, less the mean {mean}, divided by the deviation {std} |
| output | `{model.output.name}`: float32, {output} |
| written with | {", ".join(f"{name} {version}" for name, version in description["versions"].items())} |

Checked against the PyTorch model when it was written: {check}.

## Use

```python
from beit.inference.exported import load_exported

runner = load_exported("FOLDER"{trust})
outputs = runner(pixels)  # numpy arrays, shapes as above
```

Without this package:

```python
{_ALONE[description["format"]]}
```
{note}
## Files

{files}
"""
    write_text(folder / "README.md", text)


def _purpose(model: ExportModel) -> tuple[str, str]:
    """Return what a model was made to do, and what its output is, in words."""
    number, about = model.config.num_labels, model.output.about
    problem = problem_of(model.config)
    if model.task == Classify.name and problem == "regression":
        return f"predict {number} number{'s' * (number != 1)}", f"what it predicts, (pictures, {number})"
    if model.task == Classify.name and problem == "multi_label_classification":
        about = "the scores of the classes, each before a sigmoid of its own, (pictures, classes)"
    classes = f", {number} classes (`config.json` names them)" if model.output.scores else ""
    return f"{model.task}{classes}", about


def _values(view: Preprocessing) -> str:
    """Return what the values of a pixel are before its mean is taken off, in words."""
    channels = len(view.mean)
    named = "RGB" if channels == COLOURS else f"{channels} channel{'s' * (channels != 1)}"
    if view.value_range is None and channels == COLOURS:
        return f"{named}, divided by 255"
    span = "the range that a file declares, or its numbers have (255 of 8 bits),"
    if view.value_range == BITS:
        span = "all that the numbers of a file can hold"
    elif view.value_range is not None:
        span = f"values from {view.value_range[0]:g} to {view.value_range[1]:g} (of 8 bits from 0 to 255)"
    return f"{named}, {span} brought to 0 to 1"


def plain(text: str) -> str:
    """Return a text that Markdown shows as it is, also in a table."""
    return "".join(f"\\{c}" if c in _MARKUP else c for c in printable(text))


_MARKUP = "\\`*_{}[]<>()#!|~$&"
_ALONE = {
    "onnx": """import onnxruntime

session = onnxruntime.InferenceSession("FOLDER/model.onnx")
outputs = session.run(None, {"pixel_values": pixels})[0]""",
    "openvino": """import openvino

model = openvino.Core().compile_model("FOLDER/model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
outputs = model(pixels)[0]""",
    "torch": """import torch

outputs = torch.export.load("FOLDER/model.pt2").module()(torch.from_numpy(pixels))""",
}
_TRUST = """
Loading `model.pt2` can run code that somebody has put into it: `trust=True` says that you know where it is from.
"""


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _version(library: str) -> str | None:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None
