"""Writer of ONNX files."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch.export import ExportedProgram

from beit.errors import ConfigError
from beit.inference.export.program import INPUT, quiet
from beit.settings.export import ExportPrecision
from beit.telemetry import keep_telemetry_off

_LARGEST = 2**31 - 2**24  # bytes of weights: protobuf ends at 2 GB
_QUANTISED = ["MatMul", "Gemm"]  # products with weights; those of attention, of two activations, stay float32


def write_onnx(
    program: ExportedProgram,
    file: Path,
    outputs: Sequence[str],
    opset: int,
    precision: ExportPrecision = "fp32",
    inputs: Sequence[str] = (INPUT,),
) -> None:
    """Write a program as ONNX.

    Args:
        program: The model.
        file: The file.
        outputs: Names of the outputs.
        opset: Version of the operators.
        precision: In int8 it is what `quantise` makes of it.
        inputs: Names of the inputs.

    Raises:
        ConfigError: If it is larger than such a file can be.
    """
    import torch

    size = sum(value.nbytes for value in program.state_dict.values())
    if size > _LARGEST:
        raise ConfigError(
            f"the model has {size / 2**30:.1f} GB of weights; expected less than 2 GB in ONNX: use openvino"
        )
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        plain = Path(folder) / "plain.onnx" if precision == "int8" else file
        with quiet():
            torch.onnx.export(
                program,
                f=plain,
                input_names=list(inputs),
                output_names=list(outputs),
                opset_version=opset,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        if precision == "int8":
            quantise(plain, file)


def quantise(plain: Path, file: Path) -> None:
    """Write an ONNX file of float32 as one whose products with weights are of 8 bits.

    Weights are so per channel, what they are multiplied with by its range in every call, which needs no calibration
    and is the more exact way.
    """
    import onnx

    keep_telemetry_off()
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model: Any = onnx.load(plain)
    del model.graph.value_info[:]  # what the quantiser would take for the shapes of its own, transposed weights
    with quiet():
        quantize_dynamic(
            model,
            file,
            weight_type=QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=_QUANTISED,
            extra_options={"MatMulConstBOnly": True},
        )
