"""Settings of an export."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from beit.settings.base import STRICT, Settings
from beit.settings.sizes import ImageSize, read_size

AUTO = "auto"
DYNAMIC = "dynamic"
OPSETS = (18, 23)  # the first and the last that torch's exporter writes and onnxruntime runs
DEFAULT_OPSET = 20  # the first in which GELU is one operator, which onnxruntime computes faster than its parts
ExportPrecision = Literal["fp32", "fp16", "int8"]


@dataclass(frozen=True, config=STRICT)
class ExportJob(Settings):
    """Write a model as a folder that runs without the code that trained it."""

    model: str
    """Model: a folder, a file of weights, a hub repository, or a published name (`beit models`)."""
    to: Literal["onnx", "openvino", "torch", "web"]
    """Target: the library that runs the file; web: a page that runs it in the browser, from any static host."""
    output: str
    """Folder to write; it must be new or empty."""
    precision: ExportPrecision = "fp32"
    """Precision of the file: fp16 has weights of 16 bits, int8 weights and large products of 8 bits."""
    batch_size: int | Literal["dynamic"] = "dynamic"
    """Pictures computed together: a number, or dynamic for any."""
    task: str = AUTO
    """Task to export for: classify, segment or embed; auto: the model's own."""
    image_size: int | tuple[int, int] | str | None = None
    """Size of the pictures in pixels: a side, HEIGHTxWIDTH, or dynamic for any that patches tile; null: the model's."""
    calibration: str | None = None
    """Folder of typical pictures, which show the range of values, for int8."""
    check: str | None = None
    """Folder of pictures to check on; null: those of calibration, else two photographs of scikit-learn."""
    tokenizer: str | None = None
    """For web, with a pre-training model: the tokenizer whose tokens it predicts, to reconstruct hidden patches."""
    opset: int = Field(default=DEFAULT_OPSET, ge=OPSETS[0], le=OPSETS[1])
    """Version of the operators of ONNX."""

    def __post_init__(self) -> None:
        """Check what no single bound can, before a model is loaded."""
        if self.batch_size != DYNAMIC and self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}; expected a number from 1, or {DYNAMIC} for any")
        if self.opset != DEFAULT_OPSET and self.to not in ("onnx", "web"):
            raise ValueError(f"opset is {self.opset} for {self.to}; expected it with onnx or web alone: leave it out")
        if self.tokenizer is not None and self.to != "web":
            raise ValueError(f"tokenizer is given for {self.to}; expected it with web alone: leave it out")
        if self.to == "web":
            self._check_web()
        if self.precision == "int8" and self.to == "torch":
            raise ValueError(
                "precision is 'int8' for torch; expected fp32 or fp16 there: export int8 to openvino or onnx"
            )
        if self.precision == "int8" and self.to == "openvino" and self.calibration is None:
            raise ValueError("precision is 'int8' for openvino without calibration; name a folder of typical pictures")
        if self.precision != "int8" and self.calibration is not None:
            raise ValueError(f"calibration is given with precision {self.precision!r}; expected int8: leave it out")
        self.size()

    def _check_web(self) -> None:
        """Refuse what the page decides itself."""
        decided = {"precision": "fp32", "batch_size": DYNAMIC, "task": AUTO, "calibration": None}
        for name, default in decided.items():
            if (value := getattr(self, name)) != default:
                raise ValueError(
                    f"{name} is {value!r} for web, whose page takes one picture at a time and has the model in fp32 "
                    "and int8 for all its tasks; expected none: leave it out"
                )
        if self.image_size == DYNAMIC:
            raise ValueError("image_size is 'dynamic' for web; expected a size, or none for the model's own")

    def size(self) -> ImageSize | Literal["dynamic"] | None:
        """Return the size of the pictures: a side, (height, width), "dynamic", or None for the model's own."""
        if self.image_size is None:
            return None
        return "dynamic" if self.image_size == DYNAMIC else read_size(self.image_size, also=f", or {DYNAMIC}")
