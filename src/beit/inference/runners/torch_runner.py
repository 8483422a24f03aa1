"""Torch models as runners, in the precision that is asked for.

Legend: B batch, C channels, D hidden, K classes, S = 1 + N tokens, heads attention heads, H x W pixels;
h x w patches or places of a map.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from beit.inference.runners.runner import Floats, Runner, TaskName

if TYPE_CHECKING:
    import torch

    from beit.models_torch import BeitPreTrainedModel, MaskedPatchDecoder
    from beit.models_torch.device import Precision


class TorchRunner:
    """A torch model of any kind; several threads may call it at once.

    Args:
        model: In evaluation mode.
        device: "cpu", "cuda", or "auto" for a GPU if there is one.
        precision: What it computes in: "fp32", "bf16", on a GPU "fp16", or "auto" for bf16 on a GPU that supports it,
            else fp32. Parameters stay as they are, and what needs it (normalisation, softmax) is computed in float32
            all the same.
        decoder: Of masked patches, with which a model was pre-trained that predicts none alone.

    Raises:
        ConfigError: If there is no such device or precision.
    """

    def __init__(
        self,
        model: BeitPreTrainedModel,
        device: str = "auto",
        precision: str = "fp32",
        decoder: MaskedPatchDecoder | None = None,
    ) -> None:
        from beit.models_torch.device import pick_device, pick_precision

        self.device = pick_device(device)
        self.precision: Precision = pick_precision(precision, self.device)
        self.model = model.to(self.device).eval()
        self.decoder = None if decoder is None else decoder.to(self.device).eval()
        self.config = model.config
        self.image_hw = model.config.image_hw
        self.task: TaskName = _task_of(model)

    def __call__(self, pixels_BCHW: Floats) -> Floats:
        """Return logits (B, K), scores (B, K, h, w), or embeddings (B, D), as `task` says."""
        if self.task == "embed":
            return self.embed(pixels_BCHW)
        with self.computing():
            return _numpy(self.model(self._tensor(pixels_BCHW), return_dict=True).logits)

    def embed(self, pixels_BCHW: Floats) -> Floats:
        """Return one vector per picture, (B, D): its pooled features."""
        from beit.inference.runners.embedding import pooled_features

        with self.computing():
            return _numpy(pooled_features(self.model, self._tensor(pixels_BCHW)))

    def features(self, pixels_BCHW: Floats, layers: tuple[int, ...], pooling: str) -> list[Floats]:
        """Return features of some layers, counted from 1, each (B, D), or (B, h, w, D) with the pooling "none".

        Raises:
            ConfigError: If the pooling means nothing in such a model.
        """
        from beit.inference.runners.embedding import layer_features

        with self.computing():
            return [_numpy(found) for found in layer_features(self.model, self._tensor(pixels_BCHW), layers, pooling)]

    def attention(self, pixels_BCHW: Floats, layer: int) -> Floats:
        """Return the attention maps of a layer, (B, heads, S, S): from which token, to which."""
        with self.computing():
            outputs = self.model.base_model(self._tensor(pixels_BCHW), return_dict=True, output_attentions=True)
            return _numpy(outputs.attentions[layer])

    def computing(self) -> AbstractContextManager[Any]:
        """Return the context in which to compute with the model: its precision, no gradients."""
        return _Computing(self.precision, self.device)

    def _tensor(self, pixels_BCHW: Floats) -> torch.Tensor:
        import torch

        return torch.from_numpy(pixels_BCHW).to(self.device)


def is_pretraining(runner: Runner) -> bool:
    """Return whether a model predicts visual tokens, so that with a tokenizer it can reconstruct."""
    from beit.models_torch import BeitForMaskedImageModeling  # which an exported model does without

    return isinstance(runner, TorchRunner) and isinstance(runner.model, BeitForMaskedImageModeling)


def _task_of(model: BeitPreTrainedModel) -> TaskName:
    """Return the task that the outputs of a model belong to."""
    from beit.models_torch import BeitForImageClassification, BeitForSemanticSegmentation

    if isinstance(model, BeitForImageClassification) and model.config.num_labels:
        return "classify"
    return "segment" if isinstance(model, BeitForSemanticSegmentation) else "embed"


class _Computing:
    """Context of inference mode and autocast."""

    def __init__(self, precision: Precision, device: torch.device) -> None:
        import torch

        from beit.models_torch.device import computing_in

        self._mode, self._precision = torch.inference_mode(), computing_in(precision, device)

    def __enter__(self) -> None:
        self._mode.__enter__()
        self._precision.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._precision.__exit__(*error)
        self._mode.__exit__(*error)


def _numpy(tensor: torch.Tensor) -> Floats:
    return tensor.float().cpu().numpy()
