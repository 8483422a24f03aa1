"""Options of an export."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from beit.errors import ConfigError
from beit.inference.runners.runner import TaskName
from beit.inference.tasks.registry import exported_outputs

Target = Literal["onnx", "openvino", "torch"]
Precision = Literal["fp32", "fp16", "int8"]
AUTO = "auto"
DYNAMIC = "dynamic"
OPSETS = range(18, 24)  # what torch's exporter writes and onnxruntime runs
DEFAULT_OPSET = 20  # the first in which GELU is one operator, which onnxruntime computes faster than its parts


@dataclass(frozen=True)
class ExportOptions:
    """Options of an export, checked before a model is loaded.

    Attributes:
        to: "onnx", "openvino" or "torch".
        output: The folder that is written; it must not exist, or be empty.
        batch_size: Pictures in a batch: a number, or "dynamic" for any.
        image_size: Size of the pictures in pixels: a side, (height, width), "dynamic" for any that patches tile, or
            None for the model's own.
        task: A task that models are exported for (classify, segment, embed), or "auto" for what the model was made for.
        precision: "fp32", "fp16" (weights of 16 bits) or "int8" (weights and the large products of 8 bits).
        opset: Version of the operators of ONNX.
        calibration: Folder of pictures that show the range of values, for int8.
        check: Folder of pictures to check the file on; None: those of `calibration`, else two that scikit-learn brings.

    Raises:
        ConfigError: If a value is unknown, or two do not go together.
    """

    to: Target
    output: Path
    batch_size: int | Literal["dynamic"] = "dynamic"
    image_size: int | tuple[int, int] | Literal["dynamic"] | None = None
    task: TaskName = AUTO
    precision: Precision = "fp32"
    opset: int = DEFAULT_OPSET
    calibration: Path | None = None
    check: Path | None = None

    def __post_init__(self) -> None:
        """Check every value before a model is loaded."""
        _one_of("to", self.to, get_args(Target))
        _one_of("precision", self.precision, get_args(Precision))
        _one_of("task", self.task, (AUTO, *exported_outputs()))
        if self.batch_size != DYNAMIC and (not isinstance(cast(Any, self.batch_size), int) or self.batch_size < 1):
            raise ConfigError(f"batch_size is {self.batch_size!r}; expected a number from 1, or {DYNAMIC!r} for any")
        if self.opset not in OPSETS:
            raise ConfigError(
                f"opset is {self.opset}; expected {OPSETS[0]} to {OPSETS[-1]}, which torch writes and onnxruntime runs"
            )
        if self.opset != DEFAULT_OPSET and self.to != "onnx":
            raise ConfigError(f"opset is {self.opset} for {self.to}; expected it with onnx alone: leave it out")
        self._check_precision()
        if self.output.exists() and (not self.output.is_dir() or any(self.output.iterdir())):
            raise ConfigError(f"{self.output} exists and is not an empty folder; name another, or remove it")

    def _check_precision(self) -> None:
        if self.precision == "int8" and self.to == "torch":
            raise ConfigError(
                "precision is 'int8' for torch; expected fp32 or fp16 there: export int8 to openvino or onnx"
            )
        if self.precision == "int8" and self.to == "openvino" and self.calibration is None:
            raise ConfigError("precision is 'int8' for openvino without calibration; name a folder of typical pictures")
        if self.precision != "int8" and self.calibration is not None:
            raise ConfigError(f"calibration is given with precision {self.precision!r}; expected int8: leave it out")


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f"{name} is {value!r}; expected one of {', '.join(known)}")
