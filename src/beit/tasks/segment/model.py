"""The model that segmentation starts from: new, or any checkpoint with UperNet on top."""

from __future__ import annotations

import logging
from typing import Any

from beit.config import BeitConfig
from beit.errors import ConfigError
from beit.models_torch import BeitForSemanticSegmentation
from beit.settings.model import model_config, task_config, task_options
from beit.settings.segment import SegmentJob
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
        "use_auxiliary_head": job.auxiliary_weight > 0,
        "auxiliary_loss_weight": job.auxiliary_weight,
    }
    if job.checkpoint is None:
        config = model_config(job.model, **options)
        return BeitForSemanticSegmentation(_tapped(config, job.layers))
    checkpoint = open_checkpoint(job.checkpoint)
    before = BeitConfig.from_dict(checkpoint.options)
    config = task_config(job.model, before, options, job.checkpoint)
    has_head = any(name.startswith("decode_head.") for name in checkpoint.tensors)
    told = has_head and len(before.out_indices) == 4  # a file without a config does not tell
    if job.layers is not None or not told:
        config = _tapped(config, job.layers)
    model = BeitForSemanticSegmentation.from_pretrained(job.checkpoint, config=config)
    if has_head and before.class_names != classes:
        logger.warning(
            "%s knows %s classes, the data %s others: their last layer begins anew", job.checkpoint,
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
