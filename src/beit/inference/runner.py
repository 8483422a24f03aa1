"""What computes: a torch model here, an exported file elsewhere.

Legend: B batch, C channels, D hidden, K classes, S = 1 + N tokens, heads attention heads, H x W pixels.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from beit.config import BeitConfig
from beit.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from beit.models_torch import BeitPreTrainedModel

Output = Literal["classify", "segment", "embed"]
Floats = NDArray[np.float32]
_DTYPES = ("float32", "bfloat16", "float16")


@runtime_checkable
class Runner(Protocol):
    """Pixels to what a model says of them.

    Attributes:
        config: The model's options.
        task: What the outputs are.
        image_hw: Size of the pictures, (height, width) in pixels.
    """

    config: BeitConfig
    task: Output
    image_hw: tuple[int, int]

    def __call__(self, pixels_BCHW: Floats) -> Floats:
        """Return logits (B, K), scores (B, K, h, w) of a map, or embeddings (B, D) of normalised pixels."""
        ...


class TorchRunner:
    """A torch model of any kind; several threads may call it at once.

    Args:
        model: In evaluation mode.
        device: "cpu", "cuda", or "auto" for a GPU if there is one.
        dtype: What it computes in: "float32", "bfloat16", or on a GPU "float16". Parameters stay as they are, and what
            needs it (normalisation, softmax) is computed in float32 all the same.

    Raises:
        ConfigError: If there is no such device or type.
    """

    def __init__(self, model: BeitPreTrainedModel, device: str = "auto", dtype: str = "float32") -> None:
        import torch

        from beit.models_torch import BeitForImageClassification, BeitForSemanticSegmentation
        from beit.models_torch.device import pick_device

        self.device = pick_device(device)
        if dtype not in _DTYPES:
            raise ConfigError(f"dtype is {dtype!r}; expected one of {', '.join(_DTYPES)}")
        if dtype == "float16" and self.device.type == "cpu":
            raise ConfigError("dtype is 'float16' on the CPU; expected float32 or bfloat16 there, or a GPU")
        self._dtype: torch.dtype = getattr(torch, dtype)
        self.model = model.to(self.device).eval()
        self.config = model.config
        self.image_hw = model.config.image_hw
        self.task: Output = "embed"
        if isinstance(model, BeitForImageClassification) and model.config.num_labels:
            self.task = "classify"
        elif isinstance(model, BeitForSemanticSegmentation):
            self.task = "segment"

    def __call__(self, pixels_BCHW: Floats) -> Floats:
        """Return logits (B, K), scores (B, K, h, w), or embeddings (B, D), as `task` says."""
        if self.task == "embed":
            return self.embed(pixels_BCHW)
        with self.computing():
            return _numpy(self.model(self._tensor(pixels_BCHW), return_dict=True).logits)

    def embed(self, pixels_BCHW: Floats) -> Floats:
        """Return one vector per picture, (B, D): its pooled features."""
        from beit.inference.embedding import pooled_features

        with self.computing():
            return _numpy(pooled_features(self.model, self._tensor(pixels_BCHW)))

    def attention(self, pixels_BCHW: Floats, layer: int) -> Floats:
        """Return the attention maps of a layer, (B, heads, S, S): who looks, at what."""
        with self.computing():
            outputs = self.model.base_model(self._tensor(pixels_BCHW), return_dict=True, output_attentions=True)
            return _numpy(outputs.attentions[layer])

    def computing(self) -> AbstractContextManager[Any]:
        """Return the context in which to compute with the model: its precision, no gradients."""
        return _Computing(self.device.type, self._dtype)

    def _tensor(self, pixels_BCHW: Floats) -> torch.Tensor:
        import torch

        return torch.from_numpy(pixels_BCHW).to(self.device)


class _Computing:
    """Inference mode and autocast, entered together."""

    def __init__(self, device: str, dtype: torch.dtype) -> None:
        import torch

        self._mode = torch.inference_mode()
        self._precision = torch.autocast(device, dtype=dtype, enabled=dtype != torch.float32)

    def __enter__(self) -> None:
        self._mode.__enter__()
        self._precision.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._precision.__exit__(*error)
        self._mode.__exit__(*error)


def _numpy(tensor: torch.Tensor) -> Floats:
    return tensor.float().cpu().numpy()
