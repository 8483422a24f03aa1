"""Export of a model as a page: a folder that any static host serves, and that computes in the browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from beit.errors import CheckpointError, ConfigError
from beit.files import atomic_folder, write_json, write_text
from beit.image import COLOURS, Preprocessing
from beit.inference.export.card import plain
from beit.inference.export.check import Check
from beit.inference.export.examples import Examples
from beit.inference.export.model import ExportModel
from beit.inference.export.web_check import check_model, check_tokenizer
from beit.inference.export.web_model import LOGITS, TOKENS, write_model, write_tokenizer
from beit.inference.export.web_page import write_page
from beit.inference.export.web_scene import described_scene, page_scene
from beit.inference.loading import features_file
from beit.inference.page import RUNTIME
from beit.inference.runners.loaded import LoadedModel
from beit.inference.runners.torch_runner import is_pretraining
from beit.inference.tasks.features import PatchOptions
from beit.inference.tasks.registry import TASKS
from beit.settings.export import ExportJob
from beit.tokenizer import VisualTokenizer

PAGE_NAME = "page.json"
TABS = ("classify", "segment", "attend", "features", "reconstruct")
PRECISIONS = ("fp32", "int8")
_LARGE = 64 * 2**20  # bytes of a file, from which on the smaller one is offered first


def export_page(
    model: ExportModel, job: ExportJob, examples: Examples, on_stage: Callable[[str], None]
) -> dict[str, Any]:
    """Write a page with a model, and return what it was made of.

    Args:
        model: The model.
        job: How it is exported.
        examples: Pictures to check on.
        on_stage: Called with each stage as it begins, in words.

    Raises:
        ConfigError: If the tokenizer does not fit the model, or a browser cannot show pictures to it.
        CheckpointError: If the outputs of a file differ from the model's; nothing is left then.
    """
    check_view(model.view)
    # a model whose decoder predicts the masked patches has no such tab here, and the reason is given with the others
    tokenizer = None if model.config.mask_tokens_in_decoder else _tokenizer(job.tokenizer)
    scene = page_scene(model, job)
    loaded = LoadedModel(model.runner, model.view, scene, tokenizer, features_file(job.model, None))
    tabs = [name for name in TABS if TASKS[name].possible(loaded)]
    first = LOGITS if {"classify", "segment"} & set(tabs) else TOKENS if "reconstruct" in tabs else None
    with atomic_folder(Path(job.output)) as folder:
        files = folder / "model"
        files.mkdir()
        on_stage("writing the model in fp32 and int8")
        outputs = write_model(model.torch_model, first, model.view.image_hw, loaded.grid, job.opset, files)
        checks, left_out = _checked(model, outputs, examples, files, on_stage)
        if first == TOKENS and tokenizer is not None:
            on_stage("writing the tokenizer")
            write_tokenizer(tokenizer, loaded.grid, job.opset, files)
            check_tokenizer(tokenizer, loaded.grid, examples, files)
        on_stage("writing the page")
        write_page(folder, model.source)
        page = _description(model, loaded, tabs, list(checks), tokenizer, files)
        write_json(folder / PAGE_NAME, page)
        without = {name: _reason(name, model) for name in TABS if name not in tabs} | left_out
        write_text(folder / "README.md", _card(model, page, checks, without))
    return {"page": page, "checks": {name: str(check) for name, check in checks.items()}, "without": without}


def check_view(view: Preprocessing) -> None:
    """Refuse pictures that a browser does not have, and a way of resizing that the page does not.

    Raises:
        ConfigError: Naming it.
    """
    if len(view.mean) != COLOURS:
        raise ConfigError(
            f"the model takes pictures of {len(view.mean)} channels, and browsers read pictures of 3; "
            "expected one of 3 for web: export it to onnx"
        )
    if view.bands is not None:
        raise ConfigError(
            "the model has learnt from a range of values or a frame, and browsers show pictures of 8 bits; expected "
            "one without for web: export it to onnx"
        )
    if view.resample == Image.Resampling.NEAREST:
        raise ConfigError("resample is 0 (nearest) for web; expected a filter that averages: set 3 (bicubic)")


def _tokenizer(name: str | None) -> VisualTokenizer | None:
    from beit.tokenizer import load_tokenizer

    return None if name is None else load_tokenizer(name)


def _checked(
    model: ExportModel, outputs: list[str], examples: Examples, files: Path, on_stage: Callable[[str], None]
) -> tuple[dict[str, Check], dict[str, str]]:
    """Return the checks by precision, and why int8 was left out, if it was: it may lose too much of a model."""
    on_stage(f"checking it on {len(examples)} pictures")
    checks = {"fp32": check_model(model, outputs, "fp32", examples, files)}
    try:
        checks["int8"] = check_model(model, outputs, "int8", examples, files)
    except CheckpointError as error:
        (files / "int8.onnx").unlink()
        return checks, {"int8": str(error).partition(": nothing was written")[0]}
    return checks, {}


def _reason(tab: str, model: ExportModel) -> str:
    """Return the reason why a page has no such tab, and the remedy."""
    if tab == "classify" and model.runner.task == "segment":
        return "the model has classes of pixels, which Segment shows"
    if tab == "classify":
        return "the model has no classes; fine-tune it, and export that"
    if tab == "segment":
        return "the model has no classes of pixels; train one with beit segment"
    if not is_pretraining(model.runner):
        return "the model predicts no visual tokens; export one of a pre-training, with --tokenizer"
    if model.config.mask_tokens_in_decoder:
        return "the model predicts masked patches by a decoder, which is left to beit serve; export one without"
    return "no tokenizer is given; name the one it was pre-trained with (--tokenizer)"


def _description(
    model: ExportModel,
    loaded: LoadedModel,
    tabs: list[str],
    precisions: list[str],
    tokenizer: VisualTokenizer | None,
    files: Path,
) -> dict[str, Any]:
    """Return the content of `page.json`, which the page reads."""
    height, width = model.view.image_hw
    rows, cols = loaded.grid
    view = model.view
    if _size(files / "fp32.onnx") > _LARGE:
        precisions = precisions[::-1]
    described: dict[str, Any] = {
        "tasks": [{"name": name, "about": TASKS[name].about, "tab": {"title": _title(name)}} for name in tabs],
        "models": [
            {
                "name": f"{precision} ({_megabytes(files / f'{precision}.onnx')})",
                "title": model.source,
                "file": _stored(files / f"{precision}.onnx"),
                "tasks": tabs,
                "classes": model.config.distinct_class_names if {"classify", "segment"} & set(tabs) else [],
                "image_height": height,
                "image_width": width,
                "patch_size": height // rows,
                "rows": rows,
                "cols": cols,
            }
            for precision in precisions
        ],
        "view": {
            "height": height,
            "width": width,
            "resize": view.resize if isinstance(view.resize, int) else list(view.resize),
            "filter": int(view.resample),
            "mean": list(view.mean),
            "std": list(view.std),
        },
        "scene": described_scene(loaded.scene, model.config.num_labels),
        "several_labels": model.config.problem_type == "multi_label_classification",
        "layer": PatchOptions().number(loaded),
        "tokenizer": None,
        "runtime": {"bytes": _size(RUNTIME / "ort.wasm.gz")},
    }
    if tokenizer is not None:
        halves = {half: _stored(files / f"{half}.onnx") for half in ("encoder", "decoder")}
        described["tokenizer"] = {**halves, "height": rows * tokenizer.stride, "width": cols * tokenizer.stride}
    return described


def _title(task: str) -> str:
    tab = TASKS[task].tab
    return tab.title if tab is not None else task


def _card(model: ExportModel, page: dict[str, Any], checks: dict[str, Check], without: dict[str, str]) -> str:
    """Return the README of the folder."""
    said = "\n".join(f"- {name}: {check}" for name, check in checks.items())
    tabs = ", ".join(task["tab"]["title"] for task in page["tasks"])
    absent = "".join(f"- {name}: {plain(reason)}\n" for name, reason in without.items())
    left_out = f"\nLeft out:\n\n{absent}" if absent else ""
    return f"""# {plain(model.source)}, in the browser

A page that runs a BEiT ({model.torch_model.num_parameters():,} parameters) in the browser: {tabs}. Put the folder on
any static host, at any address, or try it here and open http://localhost:8000:

    python -m http.server --bind localhost

Nothing is uploaded, and nothing is loaded from elsewhere. Checked against the PyTorch model when it was written:

{said}
{left_out}
## Files

- `index.html`, `page/`: the page
- `page.json`: what the page knows of the model
- `model/`: the model, for onnxruntime
- `runtime/`: onnxruntime-web with its licence (MIT) and notices
"""


def _stored(file: Path) -> dict[str, Any]:
    return {"path": f"model/{file.name}", "bytes": _size(file)}


def _megabytes(file: Path) -> str:
    return f"{_size(file) / 2**20:.1f} MB"


def _size(file: Path) -> int:
    return file.stat().st_size
