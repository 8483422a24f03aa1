"""`beit export`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from beit.cli.output import say
from beit.cli.parser import new_parser, parse
from beit.cli.sizes import image_size
from beit.errors import ConfigError
from beit.inference.export.options import DEFAULT_OPSET, ExportOptions
from beit.inference.tasks.registry import exported_outputs

DESCRIPTION = (
    "Write a model as a folder that onnxruntime, OpenVINO or torch runs without the code that trained it, and check it "
    "against the model on pictures: a file that does not give the same is not written."
)


def run(arguments: Sequence[str]) -> int:
    """Parse, export, print what was written."""
    parser = new_parser("beit export", DESCRIPTION)
    parser.add_argument("model", type=str, help="A folder, a file of weights, a hub repository, or a published name.")
    parser.add_argument("--to", type=str, required=True, help="onnx, openvino or torch.")
    parser.add_argument("--output", type=str, required=True, help="Folder to write; it must be new or empty.")
    tasks = " or ".join(exported_outputs())
    parser.add_argument("--task", type=str, default="auto", help=f"auto (the model's own), {tasks}.")
    parser.add_argument("--batch_size", type=str, default="dynamic", help="Pictures in a batch: a number, or dynamic.")
    parser.add_argument("--precision", type=str, default="fp32", help="fp32, fp16 or int8.")
    parser.add_argument(
        "--image_size",
        type=str | None,
        default=None,
        help="Pixels: a side, HEIGHTxWIDTH, or dynamic for all that patches tile; by default the model's own.",
    )
    parser.add_argument("--calibration", type=str | None, default=None, help="Folder of typical pictures, for int8.")
    parser.add_argument(
        "--check",
        type=str | None,
        default=None,
        help="Folder of pictures to check on: by default those of calibration, else two photographs of scikit-learn.",
    )
    parser.add_argument("--opset", type=int, default=DEFAULT_OPSET, help="Version of ONNX's operators, 18 to 23.")
    settings = parse(parser, arguments)
    from rich.console import Console

    from beit.inference.export import export

    options = ExportOptions(
        to=settings.to,
        output=Path(settings.output),
        batch_size=_batch_size(settings.batch_size),
        image_size=_image_size(settings.image_size),
        task=settings.task,
        precision=settings.precision,
        opset=settings.opset,
        calibration=None if settings.calibration is None else Path(settings.calibration),
        check=None if settings.check is None else Path(settings.check),
    )
    with Console(stderr=True).status("") as status:
        written = export(settings.model, options, lambda stage: status.update(f"{stage} ..."))
    megabytes = sum((options.output / name).stat().st_size for name in written["sha256"]) / 2**20
    shape = ", ".join(str(length) for length in written["input"]["shape"])
    say(
        f"model      {settings.output} ({written['format']}, {written['precision']}, {megabytes:,.1f} MB)",
        f"task       {written['task']}",
        f"input      {written['input']['name']} ({shape})",
        f"output     {written['output']['name']}",
        f"check      {written['said']}",
    )
    return 0


def _batch_size(value: str) -> int | Literal["dynamic"]:
    if value == "dynamic":
        return "dynamic"
    if value.isdecimal():
        return int(value)
    raise ConfigError(f"batch_size is {value!r}; expected a number, or dynamic")


def _image_size(value: str | None) -> int | tuple[int, int] | Literal["dynamic"] | None:
    if value is None or value == "dynamic":
        return value
    return image_size(value, also=", or dynamic")
