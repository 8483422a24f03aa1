"""Export of a model to a folder that runs without it: trace, write, check, and only then give it its name."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from beit.config import BeitConfig
from beit.errors import ConfigError, missing_extra
from beit.files import atomic_folder, locked_output
from beit.inference.export.card import description_of, write_card, write_description
from beit.inference.export.check import checked
from beit.inference.export.examples import Examples
from beit.inference.export.model import ExportModel, load_export_model
from beit.inference.export.onnx_file import write_onnx
from beit.inference.export.openvino_file import write_openvino
from beit.inference.export.program import trace, write_torch
from beit.inference.export.web import check_view, export_page
from beit.inference.exported import FILES, load_exported
from beit.inference.loading import saved_view_of
from beit.inference.runners.runner import Floats
from beit.inference.tasks.registry import exported_outputs
from beit.models_torch.scene import SceneInference, scene_file
from beit.settings.export import AUTO, DYNAMIC, ExportJob

CHECK_PICTURES = 32
CALIBRATION_PICTURES = 128
_LIBRARIES = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("openvino",), "torch": ()}
_LIBRARIES["web"] = _LIBRARIES["onnx"]


def export(job: ExportJob, on_stage: Callable[[str], None] = lambda stage: None) -> dict[str, Any]:
    """Write a model as a folder that onnxruntime, OpenVINO, torch or a browser alone can run.

    Args:
        job: The model, the target, and how it is written.
        on_stage: Called with each stage as it begins, in words.

    Returns:
        The content of `export.json`, with the result of the check; of a page what it was made of.

    Raises:
        ConfigError: If the settings do not fit the model, the folder holds something, or another process writes it.
        CheckpointError: If the model is damaged, or the outputs of the file differ from its own; nothing is left then.
        DataError: If pictures are missing or broken.
        MissingExtraError: If a library is not installed.
        StorageError: If the folder cannot be written.
    """
    with locked_output(job.output):
        _check(job)
        return _exported(job, on_stage)


def _exported(job: ExportJob, on_stage: Callable[[str], None]) -> dict[str, Any]:
    """Write the folder, and return its description."""
    saved = saved_view_of(job.model)
    if job.to == "web" and saved is not None:
        check_view(saved)  # before the model is loaded, which may take minutes
    bands = None if saved is None else saved.bands
    examples = Examples.of(job.check or job.calibration, CHECK_PICTURES, bands)
    calibration = None if job.calibration is None else Examples.of(job.calibration, CALIBRATION_PICTURES, bands)
    on_stage("loading the model")
    model = load_export_model(job)
    if job.to == "web":
        return export_page(model, job, examples, on_stage)
    scene = _scene_of(model, job)
    with atomic_folder(Path(job.output)) as folder:
        _write_model(model, job, folder, calibration, on_stage)
        _write_beside(model, folder)
        if scene is not None:
            scene.save_pretrained(folder)
        description = description_of(model, job, folder)
        write_description(description, folder)
        on_stage(f"checking it on {len(examples)} pictures")
        check = checked(load_exported(folder, trust=True), model, job.precision, examples)
        description["check"] = check.to_json()
        write_description(description, folder)
        write_card(description, check, model, folder)
    return {**description, "said": str(check)}


def _check(job: ExportJob) -> None:
    """Refuse, before any work, an unknown task, a folder with something in it, a target without its libraries."""
    tasks = (AUTO, *exported_outputs())
    if job.task not in tasks:
        raise ConfigError(f"task is {job.task!r}; expected one of {', '.join(tasks)}")
    output = Path(job.output)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ConfigError(f"{output} exists and is not an empty folder; name another, or remove it")
    quantising = ("nncf",) if job.to == "openvino" and job.precision == "int8" else ()
    for library in (*_LIBRARIES[job.to], *quantising):
        if find_spec(library) is None:
            raise missing_extra(library, "export")


def _write_model(
    model: ExportModel,
    job: ExportJob,
    folder: Path,
    calibration: Examples | None,
    on_stage: Callable[[str], None],
) -> None:
    """Write the file that computes."""
    file, output = folder / FILES[job.to][0], model.output
    on_stage("tracing the model")
    program = trace(model, job)
    on_stage(f"writing {file.name}, in {job.precision}")
    if job.to == "onnx":
        write_onnx(program, file, [output.name], job.opset, job.precision)
    elif job.to == "openvino":
        shown = None if calibration is None else _whole_batches(calibration, model, job)
        write_openvino(program, file, output, job.precision, shown)
    else:
        write_torch(program, file)


def _whole_batches(calibration: Examples, model: ExportModel, job: ExportJob) -> list[Floats]:
    """Return pixels in batches that the file takes.

    Raises:
        ConfigError: If there are too few pictures for one.
    """
    size = 1 if job.batch_size == DYNAMIC else job.batch_size
    if len(calibration) < size:
        raise ConfigError(f"there are {len(calibration)} pictures to calibrate with; expected at least a batch, {size}")
    return [pixels_BCHW for pixels_BCHW in calibration.batches(model.view, size) if len(pixels_BCHW) == size]


def _write_beside(model: ExportModel, folder: Path) -> None:
    """Write the files beside the model: preprocessing and config."""
    config = BeitConfig.from_dict({**model.config.to_dict(), "image_size": list(model.view.image_hw)})
    config.save_pretrained(folder)
    model.view.save_pretrained(folder)


def _scene_of(model: ExportModel, job: ExportJob) -> SceneInference | None:
    """Return the scene inference that was saved beside a model, in windows of its input; None: the published one.

    Raises:
        ConfigError: If its windows are larger than the input.
    """
    is_kept = model.output.windows and not model.resized  # its windows are of the size that it has learnt with
    if not is_kept or scene_file(job.model) is None:
        return None
    return SceneInference.from_pretrained(job.model, model.view.image_hw).within(model.view.image_hw)
