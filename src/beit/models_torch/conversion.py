"""Conversion of a checkpoint from any layout into another, bit by bit.

Legend: S = 1 + N tokens.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import beit.models_torch as models
from beit.config import CONFIG_NAME, BeitConfig, check_divisible, shown
from beit.errors import CheckpointError, ConfigError
from beit.files import atomic_stream, locked_output, write_bytes, write_json, write_text
from beit.geometry import patch_grid, relative_position_index
from beit.hub import HubOptions
from beit.image import Preprocessing
from beit.image.model_view import evaluation_view, model_file, preprocessor_file
from beit.image.processor import PREPROCESSOR_NAME
from beit.image.timm_view import options_for_timm, timm_options
from beit.models_torch.device import DTYPES
from beit.models_torch.loading import dtype_name, read_tensor, shapes_of, state_of, write_safetensors
from beit.models_torch.scene import FILE_NAME as SCENE_NAME
from beit.models_torch.scene import scene_file
from beit.weights import (
    CONFIG_KEY,
    FLAX,
    FLAX_FILE,
    ORIGINAL_CLASSIFICATION,
    ORIGINAL_PRETRAINING,
    ORIGINAL_SEGMENTATION,
    TIMM,
    WEIGHTS_NAME,
    LoadReport,
    adapt_tensors,
    check_arguments,
    file_metadata,
    flax_tree,
    match_tensors,
    open_checkpoint,
    timm_config,
    with_root,
    write_msgpack,
)

ORIGINAL_EPS = 1e-6  # of the original code and of timm, whatever a config says
Tensors = dict[str, Tensor]


def convert(
    source: str | Path,
    destination: str | Path,
    to: str,
    *,
    precision: str = "auto",
    bias_resize: str = "cubic",
    hub: HubOptions | None = None,
    **overrides: Any,
) -> LoadReport:
    """Write a checkpoint in another layout.

    Args:
        source: Any name or path that `from_pretrained` loads.
        destination: A folder for "hf", "timm" and "flax"; a file for "unilm".
        to: "hf" (config.json and model.safetensors), "timm" (the same file names, timm's content), "unilm" (the
            original `.pth`) or "flax" (config.json and flax_model.msgpack).
        precision: Of the written tensors: "fp32", "bf16" or "fp16"; "auto" keeps their type, and with it every bit.
        bias_resize: How relative position bias is resized if `image_size` is given.
        hub: How the hub is used.
        **overrides: Options that win over the checkpoint's config, such as `image_size=384`.

    Returns:
        The tensors that were resized, adapted or left out.

    Raises:
        CheckpointError: If the source cannot be read, or the layout has no place for one of its tensors.
        ConfigError: If an option or the layout is unknown, or another process writes the destination.
        StorageError: If the disk is full; what stood at the destination is untouched.
    """
    if to not in WRITERS:
        raise ConfigError(f"there is no layout {to!r} to convert to; expected one of {list(WRITERS)}")
    if precision != "auto" and precision not in DTYPES:
        raise ConfigError(f"precision is {precision!r}; expected one of auto, {', '.join(DTYPES)}")
    check_arguments(BeitConfig, overrides, False, bias_resize)
    checkpoint = open_checkpoint(source, hub, overrides=overrides)
    config = BeitConfig.from_dict(checkpoint.options, **overrides)
    if "image_size" in overrides:
        check_divisible(config.image_hw, config.patch_hw)
    if to != "hf" and config.pruned_heads:
        raise ConfigError(f"pruned_heads is {config.pruned_heads}; the layout {to!r} has all heads, convert to 'hf'")
    config.architectures = [checkpoint.architecture]
    before = BeitConfig.from_dict(checkpoint.options)
    entries, adapted, resized = adapt_tensors(checkpoint.tensors, before, config, bias_resize, rooted=True)
    unexpected = [name for name in entries if ".cls_pt_layers." in f".{name}"]  # only BEiT v2's pre-training uses them
    entries = {name: entry for name, entry in entries.items() if name not in unexpected}
    checkpoint.check_sizes(before, config)
    _check_whole(config, entries, checkpoint.source)
    tensors = {name: read_tensor(entry) for name, entry in entries.items()}
    if precision != "auto":
        wanted = DTYPES[precision]
        tensors = {name: t.to(wanted) if t.is_floating_point() else t for name, t in tensors.items()}
    seen = _seen_by_timm(str(source), before.image_hw, config.image_hw, hub) if to == "timm" else ()
    with locked_output(destination):
        WRITERS[to](Path(destination), config, tensors, *seen)
        if to in ("hf", "flax"):
            adapted += _write_use(Path(destination), str(source), before.image_hw, config.image_hw, hub)
    if to in ("timm", "unilm") and config.layer_norm_eps != ORIGINAL_EPS:
        adapted.append(
            f"layer_norm_eps is {config.layer_norm_eps:g}; the code that reads this layout uses {ORIGINAL_EPS:g}"
        )
    if to == "hf" and config.out_indices_meaning == "original":
        adapted.append("transformers does not know out_indices_meaning and reads other layers for this model")
    return LoadReport(unexpected=sorted(unexpected), resized=resized, adapted=adapted)


def _write_use(
    folder: Path, source: str, before_hw: tuple[int, int], image_hw: tuple[int, int], hub: HubOptions | None
) -> list[str]:
    """Write how a model is shown pictures, and scenes, where that lies beside the source; return what was changed.

    Without it an evaluation of the copy takes the published way, and says so in its JSON alone.
    """
    changed: list[str] = []
    file, scene = preprocessor_file(source, hub), scene_file(source, hub)
    if file is not None and image_hw == before_hw:
        write_bytes(folder / PREPROCESSOR_NAME, file.read_bytes())
    elif (view := _view(source, before_hw, hub)) is not None:
        view.at_size(image_hw).save_pretrained(folder)
    if scene is not None and image_hw == before_hw:
        write_bytes(folder / SCENE_NAME, scene.read_bytes())
    elif scene is not None:
        changed.append(f"{SCENE_NAME} is left out, whose windows are of another size: the published ones stand in")
    return changed


def _seen_by_timm(
    source: str, before_hw: tuple[int, int], image_hw: tuple[int, int], hub: HubOptions | None
) -> tuple[Mapping[str, Any]]:
    """Return what timm keeps in its config of how a model is shown pictures."""
    return (options_for_timm(evaluation_view(source, before_hw, hub=hub)[0].at_size(image_hw)),)


def _view(source: str, image_hw: tuple[int, int], hub: HubOptions | None) -> Preprocessing | None:
    """Return the preprocessing that lies beside a model, in timm's config too; None where there is none."""
    if (file := preprocessor_file(source, hub)) is not None:
        return Preprocessing.from_pretrained(file)
    config = model_file(source, CONFIG_NAME, hub)
    if config is None or not timm_options(config):
        return None
    return evaluation_view(source, image_hw, hub=hub)[0]


def _check_whole(config: BeitConfig, entries: Mapping[str, Any], source: str) -> None:
    """Refuse a checkpoint that is not a whole model, before anything is written."""
    name = (config.architectures or [""])[0]
    if name not in models.__all__ or name == "BeitPreTrainedModel":
        raise CheckpointError(f"{source} holds a {shown(name)}; expected one of {models.__all__}")
    kind = getattr(models, name)
    with torch.device("meta"):
        own = state_of(kind(config))
    match_tensors(shapes_of(with_root(own, wanted=True)), entries, source)


def _write_hugging_face(folder: Path, config: BeitConfig, tensors: Tensors) -> None:
    bare = config.architectures in (["BeitModel"], ["BeitBackbone"])
    write_safetensors(folder / WEIGHTS_NAME, with_root(tensors, wanted=not bare))
    write_text(folder / CONFIG_NAME, config.to_json_string(**_file_metadata(tensors)))


def _write_timm(folder: Path, config: BeitConfig, tensors: Tensors, seen: Mapping[str, Any]) -> None:
    if len(seen["mean"]) != config.num_channels:  # of colours, from which it was inflated
        seen = {name: value for name, value in seen.items() if name not in ("mean", "std")}
    write_safetensors(folder / WEIGHTS_NAME, TIMM.from_canonical(tensors), kind=None)
    write_json(folder / CONFIG_NAME, timm_config(config, seen))


def _write_original(file: Path, config: BeitConfig, tensors: Tensors) -> None:
    if config.hidden_act != "gelu":
        raise ConfigError(f"hidden_act is {config.hidden_act!r}; the original code has gelu only, use another layout")
    if file.is_dir():
        raise ConfigError(f"{file} is a folder; the original layout is one file, such as model.pth")
    if "lm_head.weight" in tensors:
        layout = ORIGINAL_PRETRAINING
    elif "decode_head.classifier.weight" in tensors:
        layout = ORIGINAL_SEGMENTATION
    else:
        layout = ORIGINAL_CLASSIFICATION
    named = OrderedDict((name, t.contiguous()) for name, t in layout.from_canonical(tensors).items())
    index_SS = torch.from_numpy(relative_position_index(patch_grid(config.image_size, config.patch_size)))
    for name in [name for name in named if name.endswith("relative_position_bias_table")]:
        named[name.replace("bias_table", "index")] = index_SS  # the original code keeps it as a buffer
    key = "state_dict" if layout is ORIGINAL_SEGMENTATION else "model"
    content: dict[str, Any] = {key: named, CONFIG_KEY: config.to_json_string()}  # other keys are read over
    if layout is ORIGINAL_SEGMENTATION:
        content["meta"] = {"CLASSES": tuple(config.class_names)}
    with atomic_stream(file) as stream:
        torch.save(content, stream)


def _write_flax(folder: Path, config: BeitConfig, tensors: Tensors) -> None:
    bare = config.architectures in (["BeitModel"], ["BeitBackbone"])
    named = FLAX.from_canonical(with_root(tensors, wanted=not bare))
    leaves: dict[str, Any] = {}
    for name, tensor in named.items():
        whole = tensor.contiguous()
        half = whole.dtype == torch.bfloat16  # numpy has no such type: its bits are written
        leaves[name] = (whole.view(torch.uint16).numpy(), "bfloat16") if half else whole.numpy()
    write_msgpack(folder / FLAX_FILE, flax_tree(leaves))
    write_text(folder / CONFIG_NAME, config.to_json_string(**_file_metadata(tensors)))


WRITERS: dict[str, Callable[..., None]] = {
    "hf": _write_hugging_face,
    "timm": _write_timm,
    "unilm": _write_original,
    "flax": _write_flax,
}


def _file_metadata(tensors: Tensors) -> dict[str, Any]:
    return file_metadata(dtype_name(tensors["beit.embeddings.cls_token"].dtype))
