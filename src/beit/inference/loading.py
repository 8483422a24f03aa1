"""Loading of a predictor's parts: runner, preprocessing, scene inference."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from beit.catalog import PACKAGED_CLASSIFIER, PACKAGED_ENCODER, PACKAGED_SEGMENTER
from beit.config import CONFIG_NAME, FEATURES_NAME
from beit.errors import CheckpointError, ConfigError, UnavailableError
from beit.hub import HubOptions, file_beside, is_local
from beit.image import Preprocessing
from beit.image.model_view import checkpoint_statistics, evaluation_view, model_file, preprocessor_file, saved_view
from beit.image.processor import PREPROCESSOR_NAME
from beit.image.timm_view import timm_options
from beit.inference.exported import is_exported, load_exported
from beit.inference.runners.runner import Runner
from beit.inference.runners.torch_runner import TorchRunner
from beit.inference.tasks.segment import Segment

if TYPE_CHECKING:
    from beit.models_torch import BeitPreTrainedModel, MaskedPatchDecoder
    from beit.models_torch.scene import SceneInference
    from beit.weights import Checkpoint

logger = logging.getLogger("beit")


def packaged_model(task: str) -> str:
    """Return the name of the model that is taken for a task where none is named, and say so in one line of the log."""
    model = {"classify": PACKAGED_CLASSIFIER, "segment": PACKAGED_SEGMENTER}.get(task, PACKAGED_ENCODER)
    logger.warning(
        "no model is named: taking %s, which the package brings, for pictures of %d pixels; for another name a folder, "
        "a file or a published name",
        model.name,
        model.image_size,
    )
    return model.name


def load_runner(name: str | Path, device: str, precision: str, hub: HubOptions | None) -> Runner:
    """Load a model of any kind: the class is the one that its config names, or whose head the weights hold.

    Raises:
        CheckpointError: If there is no model, or it is damaged.
        ConfigError: If there is no such device or precision, or the model's config is invalid.
    """
    if is_exported(name):
        runner = load_exported(Path(name))
        _check_exported(name, runner.precision, device, precision)
        return runner
    kind, checkpoint = open_model(name, hub)
    model = kind.from_checkpoint(checkpoint)
    return TorchRunner(model, device, precision, _decoder(model, name, hub))


def _decoder(model: BeitPreTrainedModel, name: str | Path, hub: HubOptions | None) -> MaskedPatchDecoder | None:
    """Return the decoder of masked patches that lies beside a model, None if the model needs none or has lost it.

    Raises:
        CheckpointError: If it is damaged, or of another model.
    """
    from beit.models_torch import BeitForMaskedImageModeling, MaskedPatchDecoder
    from beit.models_torch.masked_patch_decoder import DECODER_NAME

    if not isinstance(model, BeitForMaskedImageModeling) or not model.config.mask_tokens_in_decoder:
        return None
    path = file_beside(name, DECODER_NAME, hub or HubOptions())
    return None if path is None else MaskedPatchDecoder.from_file(model, path)


def _check_exported(name: str | Path, own: str, device: str, precision: str) -> None:
    """Refuse a device or precision that an exported model does not have: it was decided when it was written.

    Raises:
        ConfigError: Naming it; fp32, the default, and auto stand for the model's own precision.
    """
    if device not in ("auto", "cpu"):
        raise ConfigError(f"device is {device!r}, but {name} is an exported model, which runs on the CPU; leave it out")
    if precision not in ("auto", "fp32", own):
        raise ConfigError(
            f"precision is {precision!r}, but {name} was exported in {own}; leave it out, or export the model again"
        )


def open_model(name: str | Path, hub: HubOptions | None) -> tuple[type[BeitPreTrainedModel], Checkpoint]:
    """Return the class of a model in torch, and its checkpoint, opened.

    Raises:
        CheckpointError: If there is no model, or it is damaged.
    """
    import beit.models_torch as models
    from beit.weights import open_checkpoint

    checkpoint = open_checkpoint(name, hub)
    kind = checkpoint.architecture
    if kind not in models.__all__ or kind == "BeitPreTrainedModel":
        raise CheckpointError(f"{name} holds a {kind}; expected one of {', '.join(models.__all__)}")
    return getattr(models, kind), checkpoint


def load_view(name: str | Path, image_hw: tuple[int, int], hub: HubOptions | None) -> Preprocessing:
    """Return the preprocessing of a model, from its `preprocessor_config.json`, which our model folders have.

    Files of weights and timm's folders have none: timm's config or the published evaluation of such checkpoints stands
    in.

    Raises:
        ConfigError: If there is nothing of the kind, or it is not understood.
        CheckpointError: If the hub cannot be reached.
    """
    if (file := preprocessor_file(name, hub)) is not None:
        return Preprocessing.from_pretrained(file)
    config = model_file(name, CONFIG_NAME, hub) if Path(name).is_dir() else None
    if config is not None and not timm_options(config):
        raise ConfigError(
            f"{PREPROCESSOR_NAME} does not exist in {name}; expected the steps from a picture to the model's input: "
            "save its image processor there too"
        )
    view, where = evaluation_view(str(name), image_hw, hub=hub)
    if where == "the published evaluation" and checkpoint_statistics(str(name), hub) is None:
        logger.warning(
            "%s: nothing says how it is shown pictures; taken as BEiT was (mean and deviation 0.5): put a "
            "config.json and a preprocessor_config.json beside it to say otherwise",
            name,
        )
    return view


def saved_view_of(name: str) -> Preprocessing | None:
    """Return the preprocessing that is saved beside a model, by which its pictures are read; None where there is none.

    Raises:
        ConfigError: If it is not understood.
        CheckpointError: If there is no such model on the hub, naming the nearest, or it cannot be reached.
    """
    try:
        return saved_view(name)
    except UnavailableError:
        from beit.weights import locate

        locate(name, HubOptions())  # which knows names that are nearly this one
        raise


def load_scene_inference(
    name: str | Path, runner: Runner, view: Preprocessing, hub: HubOptions | None = None
) -> SceneInference | None:
    """Return the scene inference of a segmentation model, as training wrote it, else as published.

    Other models have none.
    """
    if runner.task != Segment.name:
        return None
    from beit.models_torch.scene import SceneInference

    return SceneInference.from_pretrained(name, runner.image_hw, hub, mean=view.mean, std=view.std)


def features_file(name: str | Path, hub: HubOptions | None) -> Path | None:
    """Return the file in which a pre-training wrote how good the layers of a model are; None of names on the hub."""
    return file_beside(name, FEATURES_NAME, hub or HubOptions()) if is_local(name) else None
