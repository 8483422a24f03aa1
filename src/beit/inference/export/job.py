"""Export of a model to a folder that runs without it: trace, write, check, and only then give it its name."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from beit.config import BeitConfig
from beit.errors import ConfigError, missing_extra
from beit.files import atomic_folder, write_bytes
from beit.inference.export.card import description_of, write_card, write_description
from beit.inference.export.check import checked
from beit.inference.export.examples import Examples
from beit.inference.export.model import ExportModel, load_export_model
from beit.inference.export.onnx_file import write_onnx
from beit.inference.export.openvino_file import write_openvino
from beit.inference.export.options import DYNAMIC, ExportOptions
from beit.inference.export.program import trace
from beit.inference.export.torch_file import write_torch
from beit.inference.exported import FILES, load_exported
from beit.inference.runners.runner import Floats
from beit.models_torch.scene import FILE_NAME as SCENE_NAME

CHECK_PICTURES = 32
CALIBRATION_PICTURES = 128
_LIBRARIES = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("openvino",), "torch": ()}


def export(
    name: str | Path, options: ExportOptions, on_stage: Callable[[str], None] = lambda stage: None
) -> dict[str, Any]:
    """Write a model as a folder that onnxruntime, OpenVINO or torch alone can run.

    Args:
        name: A model folder, a file of weights, a name on the hub or of a published checkpoint.
        options: The target, and how it is written.
        on_stage: Called with each stage as it begins, in words.

    Returns:
        The content of `export.json`, with the result of the check.

    Raises:
        ConfigError: If the options do not fit the model.
        CheckpointError: If the model is damaged, or the outputs of the file differ from its own; nothing is left then.
        DataError: If pictures are missing or broken.
        MissingExtraError: If a library is not installed.
        StorageError: If the folder cannot be written.
    """
    _require_libraries(options)
    examples = Examples.of(options.check or options.calibration, CHECK_PICTURES)
    calibration = Examples.of(options.calibration, CALIBRATION_PICTURES) if options.calibration else None
    on_stage("loading the model")
    model = load_export_model(str(name), options)
    with atomic_folder(options.output) as folder:
        _write_model(model, options, folder, calibration, on_stage)
        _write_beside(name, model, options, folder)
        description = description_of(model, options, folder)
        write_description(description, folder)
        on_stage(f"checking it on {len(examples)} pictures")
        check = checked(load_exported(folder, trust=True), model, options.precision, examples)
        description["check"] = check.to_json()
        write_description(description, folder)
        write_card(description, check, model, folder)
    return {**description, "said": str(check)}


def _require_libraries(options: ExportOptions) -> None:
    """Refuse, before any work, a target whose libraries are not installed."""
    quantising = ("nncf",) if options.to == "openvino" and options.precision == "int8" else ()
    for library in (*_LIBRARIES[options.to], *quantising):
        if find_spec(library) is None:
            raise missing_extra(library, "export")


def _write_model(
    model: ExportModel,
    options: ExportOptions,
    folder: Path,
    calibration: Examples | None,
    on_stage: Callable[[str], None],
) -> None:
    """Write the file that computes."""
    file, output = folder / FILES[options.to][0], model.output
    on_stage("tracing the model")
    program = trace(model, options)
    on_stage(f"writing {file.name}, in {options.precision}")
    if options.to == "onnx":
        write_onnx(program, file, output.name, options.opset, options.precision)
    elif options.to == "openvino":
        shown = None if calibration is None else _whole_batches(calibration, model, options)
        write_openvino(program, file, output, options.precision, shown)
    else:
        write_torch(program, file)


def _whole_batches(calibration: Examples, model: ExportModel, options: ExportOptions) -> list[Floats]:
    """Return pixels in batches that the file takes.

    Raises:
        ConfigError: If there are too few pictures for one.
    """
    size = 1 if options.batch_size == DYNAMIC else options.batch_size
    if len(calibration) < size:
        raise ConfigError(f"there are {len(calibration)} pictures to calibrate with; expected at least a batch, {size}")
    return [pixels_BCHW for pixels_BCHW in calibration.batches(model.view, size) if len(pixels_BCHW) == size]


def _write_beside(name: str | Path, model: ExportModel, options: ExportOptions, folder: Path) -> None:
    """Write the files beside the model: preprocessing, config and scene inference."""
    config = BeitConfig.from_dict({**model.config.to_dict(), "image_size": list(model.view.image_hw)})
    config.save_pretrained(folder)
    model.view.save_pretrained(folder)
    scene = Path(name) / SCENE_NAME
    if model.output.windows and scene.is_file() and options.image_size is None:  # windows of the same size
        write_bytes(folder / scene.name, scene.read_bytes())
