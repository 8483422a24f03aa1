"""Our models in tools of transformers: outputs in its pipelines, and folders that its `Trainer` saves.

A pipeline moves what a model returns to the CPU. Outputs of its own kind stay outputs meanwhile, and every other
mapping becomes a plain dict, which has neither `output[0]` nor `output.logits`. A model of this package meets the
pipeline when it is called, and has it take our outputs for its own.

`Trainer` calls `save_pretrained` on classes of its own alone; of others it writes the weights and no `config.json`. A
model meets it where it is moved or put into training mode, and has it write the config too, or its adapter.
"""

from __future__ import annotations

from functools import wraps
from pathlib import Path
from typing import Any

from torch import nn

from beit.models_torch.saving import SavedModel
from beit.outputs import ModelOutput
from beit.weights import WEIGHTS_NAME


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


def complete_trainer_folders(module: Any) -> None:
    """Have the `Trainer` of a module write `config.json` beside the weights of our models; others stay as they are."""
    trainer: Any = getattr(module, "Trainer", None)  # None while it is being imported
    if trainer is None or hasattr(trainer._save, "of_beit"):
        return
    save = trainer._save

    @wraps(save)
    def _save(self: Any, output_dir: str | None = None, state_dict: Any = None, **others: Any) -> None:
        save(self, output_dir, state_dict, **others)
        model = _unwrapped(self.model)
        if isinstance(model, SavedModel) and self.args.should_save:
            folder = Path(self.args.output_dir if output_dir is None else output_dir)
            if model.has_adapters:  # as published, the adapter alone
                model.save_pretrained(folder)
                (folder / WEIGHTS_NAME).unlink(missing_ok=True)
            else:
                model.write_config(folder)

    setattr(_save, "of_beit", True)  # noqa: B010  # for the type checker
    trainer._save = _save


def _unwrapped(model: nn.Module) -> nn.Module:
    """Return the model inside `DistributedDataParallel` and compiled programs."""
    for name in ("module", "_orig_mod"):
        model = getattr(model, name, model)
    return model
