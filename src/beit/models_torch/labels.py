"""Checks of the labels of a batch, and the mean cross-entropy over them.

Legend: B batch, K classes.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from beit.errors import ConfigError
from beit.models_torch import kernels

IGNORED = -100  # torch's own mark for a label that has no loss


def class_labels(labels: Tensor, classes: int, ignored: int = IGNORED) -> Tensor:
    """Return class indices as int64; `ignored` is the label that has no loss.

    Raises:
        ConfigError: If labels are no whole numbers, or out of [0, classes).
    """
    if labels.is_floating_point() or labels.is_complex():
        raise ConfigError(f"labels have dtype {labels.dtype}; expected whole numbers from 0 to {classes - 1}")
    labels = labels.long()
    # looking at the values would make a GPU wait, and on it the kernel checks them itself; compilers and transforms of
    # functions, such as that to the gradients of each sample, cannot look
    if labels.device.type == "cpu" and kernels.eager(labels):
        real = labels[labels != ignored]
        if real.numel() and not 0 <= int(real.min()) <= int(real.max()) < classes:
            raise ConfigError(
                f"labels run from {int(real.min())} to {int(real.max())}; expected whole numbers from 0 to "
                f"{classes - 1}, or {ignored} to ignore one"
            )
    return labels


def check_label_shape(labels: Tensor, expected: tuple[int, ...], dims: int | None = None) -> None:
    """Refuse labels of another shape, or of another number of dimensions.

    Raises:
        ConfigError: Naming both shapes.
    """
    if dims is not None and labels.dim() != dims:
        raise ConfigError(f"labels have shape {tuple(labels.shape)}; expected {dims} dimensions")
    if tuple(labels.shape) != expected:
        raise ConfigError(f"labels have shape {tuple(labels.shape)}; expected {expected}")


def mean_cross_entropy(logits: Tensor, labels: Tensor, ignored: int = IGNORED) -> Tensor:
    """Return the mean cross-entropy over the labels that count, () in float32; 0 if none does.

    Args:
        logits: (B, K) or (B, K, height, width).
        labels: (B,) or (B, height, width), int64.
        ignored: The label that has no loss.
    """
    # added up by `sum`, whose order is fixed; of maps the loss itself would add up in another order every time on a GPU
    losses = functional.cross_entropy(logits.float(), labels, ignore_index=ignored, reduction="none")
    return losses.sum() / (labels != ignored).sum().clamp(min=1)
