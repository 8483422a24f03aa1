"""Engines of exported files: each library gives a function of one batch that threads may share.

Legend: B batch, C channels; H x W pixels.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from beit.errors import missing_extra
from beit.inference.runners.runner import Floats
from beit.telemetry import keep_telemetry_off

Compute = Callable[[Floats], Floats]


def onnx_engine(file: Path, threads: int, precision: str) -> Compute:
    """Return a function that runs an ONNX file; sessions are thread-safe.

    Raises:
        MissingExtraError: If onnxruntime is not installed.
        RuntimeError: If it cannot load the file.
    """
    keep_telemetry_off()
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise missing_extra("onnxruntime", "export") from None
    library: Any = onnxruntime
    options = library.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors alone
    try:
        session = library.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no common base
        raise RuntimeError(str(error)) from None
    name = session.get_inputs()[0].name
    return lambda pixels_BCHW: session.run(None, {name: pixels_BCHW})[0]


def openvino_engine(file: Path, threads: int, precision: str) -> Compute:
    """Return a function that runs an OpenVINO graph; every thread has a request of its own.

    A graph of 16 bits is computed in what the processor does best; all others in float32, which OpenVINO would not do
    by itself where there is bfloat16.

    Raises:
        MissingExtraError: If openvino is not installed.
        RuntimeError: If it cannot load the file.
    """
    keep_telemetry_off()
    try:
        import openvino
    except ModuleNotFoundError:
        raise missing_extra("openvino", "export") from None
    library: Any = openvino
    options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    if threads:
        options["INFERENCE_NUM_THREADS"] = threads
    if precision != "fp16":
        options["INFERENCE_PRECISION_HINT"] = "f32"
    compiled = library.Core().compile_model(file, "CPU", options)
    own = threading.local()

    def compute(pixels_BCHW: Floats) -> Floats:
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        return np.array(own.request.infer([pixels_BCHW], share_inputs=True)[0], np.float32)

    return compute


def torch_engine(file: Path, threads: int, precision: str) -> Compute:
    """Return a function that runs a torch archive. Loading it can run code: the caller has checked that it may."""
    import torch

    if threads:
        torch.set_num_threads(threads)
    program: Any = torch.export.load(file).module()

    def compute(pixels_BCHW: Floats) -> Floats:
        with torch.inference_mode():
            return program(torch.from_numpy(pixels_BCHW)).numpy()

    return compute


ENGINES: dict[str, Callable[[Path, int, str], Compute]] = {
    "onnx": onnx_engine,
    "openvino": openvino_engine,
    "torch": torch_engine,
}
