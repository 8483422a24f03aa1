"""Outputs of our models in pipelines of transformers.

A pipeline moves what a model returns to the CPU. Outputs of its own kind stay outputs meanwhile, and every other
mapping becomes a plain dict, which has neither `output[0]` nor `output.logits`. A model of this package meets the
pipeline when it is called, and has it take our outputs for its own.
"""

from __future__ import annotations

from functools import wraps
from typing import Any

from beit.outputs import ModelOutput


def keep_outputs(module: Any) -> None:
    """Have the `Pipeline` of a module treat our outputs like those of transformers; others stay as they are."""
    pipeline: Any = getattr(module, "Pipeline", None)  # None while it is being imported
    if pipeline is None or hasattr(pipeline._ensure_tensor_on_device, "of_beit"):
        return
    move, kind = pipeline._ensure_tensor_on_device, module.ModelOutput

    @wraps(move)
    def _ensure_tensor_on_device(self: Any, inputs: Any, *args: Any, **options: Any) -> Any:
        whole = kind(inputs.items()) if isinstance(inputs, ModelOutput) else inputs
        return move(self, whole, *args, **options)

    setattr(_ensure_tensor_on_device, "of_beit", True)  # noqa: B010  # for the type checker
    pipeline._ensure_tensor_on_device = _ensure_tensor_on_device
