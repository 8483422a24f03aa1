"""Writer of OpenVINO files: a graph, and its weights beside it."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Any

from torch.export import ExportedProgram

from beit.inference.export.program import INPUT, quiet
from beit.inference.runners.runner import Floats
from beit.inference.tasks.task import ExportedOutput
from beit.settings.export import ExportPrecision
from beit.telemetry import keep_telemetry_off

_PRODUCTS = ("Convolution", "MatMul")
_LINEAR = "aten.linear"  # in the name of what was a linear layer in torch


def write_openvino(
    program: ExportedProgram,
    file: Path,
    output: ExportedOutput,
    precision: ExportPrecision,
    calibration: list[Floats] | None,
) -> None:
    """Write a program as OpenVINO's graph.

    Args:
        program: The model.
        file: The graph's file, `.xml`; that of the weights ends in `.bin`.
        output: The output.
        precision: In fp16 weights are stored in 16 bits.
        calibration: Batches of pixels that show the range of values, in int8.
    """
    keep_telemetry_off()
    import openvino

    with quiet():
        model: Any = openvino.convert_model(program)
        model.input(0).set_names({INPUT})
        model.output(0).set_names({output.name})
        if calibration is not None:
            model = _quantised(model, output, calibration)
        openvino.save_model(model, file, compress_to_fp16=precision == "fp16")


def _quantised(model: Any, output: ExportedOutput, calibration: list[Floats]) -> Any:
    """Return the graph with weights and the large products in 8 bits, their ranges measured once, here.

    The first product, of the pixels, and the last, of the scores, stay float32: they cost little, and most of
    the error would be theirs. So do the products that enlarge the maps of segmentation: OpenVINO cannot load a graph
    that has them in 8 bits.
    """
    keep_telemetry_off()
    import nncf

    products: list[str] = [
        node.get_friendly_name() for node in model.get_ordered_ops() if node.get_type_name() in _PRODUCTS
    ]
    enlarging: set[str] = {
        node.get_friendly_name()
        for node in model.get_ordered_ops()
        if node.get_type_name() == "MatMul" and _LINEAR not in node.get_friendly_name()
    }
    ends = [products[0], products[-1]] if output.scores else [products[0]]
    exact: list[str] = sorted(enlarging.union(ends))
    with _bars_on_terminals():
        return nncf.quantize(
            model,
            nncf.Dataset(calibration),
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(calibration),
            ignored_scope=nncf.IgnoredScope(names=exact),
        )


@contextlib.contextmanager
def _bars_on_terminals() -> Any:
    """Show nncf's progress, which it prints, on the terminal alone: standard output belongs to the command."""
    if sys.stderr.isatty():
        with contextlib.redirect_stdout(sys.stderr):
            yield
        return
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        yield
