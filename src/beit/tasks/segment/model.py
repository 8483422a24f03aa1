"""Model of a segmentation training: UperNet on a new encoder or any checkpoint, and its inference on whole scenes.

Batches that its batch norms cannot take are refused before any label map is read.
"""

from __future__ import annotations

import logging
from typing import Any

from torch import nn

from beit.config import BeitConfig, tapped_hidden_states
from beit.errors import ConfigError
from beit.geometry import patch_grid
from beit.image import Preprocessing
from beit.models_torch import BeitForSemanticSegmentation
from beit.models_torch.scene import SceneInference
from beit.models_torch.sliding_window import Windows
from beit.settings.groups import TrainSettings
from beit.settings.model import check_channels_of, model_config, task_config, task_options
from beit.settings.segment import InferenceSettings, SegmentJob
from beit.weights import open_checkpoint

logger = logging.getLogger("beit")

_DEPTHS = (1 / 3, 1 / 2, 2 / 3, 1)  # of the encoder: layers 4, 6, 8 and 12 of base, 8, 12, 16 and 24 of large


def starting_segmenter(job: SegmentJob, classes: list[str]) -> BeitForSemanticSegmentation:
    """Return the model that a job trains; a UperNet for the same classes goes on, another begins anew.

    The shared relative position bias of pre-training becomes one bias per layer, resized to the new input size.

    Raises:
        ConfigError: If job and checkpoint do not fit together.
        CheckpointError: If the checkpoint cannot be found or read.
    """
    options: dict[str, Any] = {
        **task_options(classes),
        "num_channels": job.data.channels,
        "use_auxiliary_head": job.auxiliary_weight > 0,
        "auxiliary_loss_weight": job.auxiliary_weight,
    }
    if job.checkpoint is None:
        config = model_config(job.model, **options)
        return BeitForSemanticSegmentation(_tapped(config, job.layers))
    checkpoint = open_checkpoint(job.checkpoint)
    before = BeitConfig.from_dict(checkpoint.options)
    check_channels_of(before, job.data.channels, job.checkpoint)
    config = task_config(job.model, before, options, job.checkpoint)
    has_head = any(name.startswith("decode_head.") for name in checkpoint.tensors)
    layers_known = has_head and len(before.out_indices) == 4  # a file without a config does not name its layers
    if job.layers is not None or not layers_known:
        config = _tapped(config, job.layers)
    model = BeitForSemanticSegmentation.from_checkpoint(checkpoint, config=config)
    if has_head and before.class_names != classes:
        logger.warning(
            "%s knows %s classes, the data %s others: their last layer is trained anew", job.checkpoint,
            before.num_labels, len(classes),
        )  # fmt: skip
        heads = [model.decode_head.classifier, *([model.auxiliary_head.classifier] if model.auxiliary_head else [])]
        model.initialise_weights(*heads)
    return model


def _tapped(config: BeitConfig, layers: tuple[int, ...] | None) -> BeitConfig:
    """Return the config of a UperNet on the outputs of some layers, 1 the first.

    In the numbering of the published API, where it can say so, that other libraries read the same layers: there an
    index means the output of the layer before, so the last layer has none.
    """
    depth = config.num_hidden_layers
    wanted = layers or tuple(max(1, round(share * depth)) for share in _DEPTHS)
    if not all(1 <= layer <= depth for layer in wanted):
        raise ConfigError(f"layers is {list(wanted)}; expected numbers from 1 to {depth}, the layers of the model")
    meaning, shift = ("huggingface", 1) if max(wanted) < depth else ("original", -1)
    indices = [layer + shift for layer in wanted]
    return BeitConfig.from_dict(config.to_dict(), out_indices=indices, out_indices_meaning=meaning)


def freeze_unread_layers(model: BeitForSemanticSegmentation) -> int:
    """Freeze the encoder layers above the last one that the heads read, and return how many there are.

    No gradient reaches them: several processes would wait for it, and a run that continues would miss their moments.
    """
    unread = [*model.beit.encoder.layer][max(tapped_hidden_states(model.config)) :]
    for layer in unread:
        layer.requires_grad_(requires_grad=False)
    return len(unread)


def share_batch_norms(model: BeitForSemanticSegmentation) -> None:
    """Let the batch norms of the heads see the pictures of all processes, as in the published runs; for GPUs only."""
    for name, child in list(model.named_children()):
        model.add_module(name, nn.SyncBatchNorm.convert_sync_batchnorm(child))


def scene_inference(settings: InferenceSettings, shorter_side: int | None, view: Preprocessing) -> SceneInference:
    """Return the inference on whole scenes.

    Raises:
        ConfigError: If there are settings of windows, and none are wanted.
    """
    if settings.mode == "whole":
        if settings.window is not None or settings.stride is not None:
            raise ConfigError("inference.window or inference.stride is set, and inference.mode is whole; choose one")
        windows = None
    else:
        height, width = (settings.window, settings.window) if settings.window is not None else view.image_hw
        steps = [settings.stride or max(1, side * 2 // 3) for side in (height, width)]
        windows = Windows((height, width), (steps[0], steps[1]))
    return SceneInference(windows, shorter_side, settings.scales, settings.flip, view.mean, view.std)


def check_batch_norms(train: TrainSettings, config: BeitConfig, world: int, shared: bool) -> None:
    """Refuse batches of which one picture at a time goes through a batch norm that sees it as one pixel.

    The pool of scale 1 makes one pixel of a picture, whose deviation from itself is nothing.

    Args:
        train: Length and batches.
        config: The model.
        world: Processes that share a batch.
        shared: Whether the batch norms see the pictures of all processes.

    Raises:
        ConfigError: Naming what to change.
    """
    at_once = train.batch_size // world // train.accumulate * (world if shared else 1)
    height, width = patch_grid(config.image_size, config.patch_size)
    coarse = max(1, height // 2) * max(1, width // 2)  # patches of the coarsest map
    if at_once > 1 or min(coarse, *(scale * scale for scale in config.pool_scales)) > 1:
        return
    raise ConfigError(
        f"train.batch_size {train.batch_size} in train.accumulate {train.accumulate} parts, over {world} processes, is "
        "one picture at a time, and the batch norms of UperNet need two: raise train.batch_size to "
        f"{2 * world * train.accumulate}, or lower train.accumulate; train.recompute saves memory too"
    )
