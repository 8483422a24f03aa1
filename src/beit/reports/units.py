"""Units of the numbers of a report: whatever is a share stands in percent, in words, tables and charts alike."""

from __future__ import annotations

from typing import Any

_SHARES = frozenset({
    "accuracy", "top5_accuracy", "mean_class_accuracy", "frequency_accuracy", "calibration_error", "held_out_error",
    "mean_average_precision", "f1", "mean_label_f1", "mean_iou", "mean_accuracy", "pixel_accuracy", "boundary_f1",
    "knn", "ridge", "retrieval", "position_spread", "flops_utilisation", "data_wait",
})  # fmt: skip
_PREFIXES = ("average_", "pixels_", "start_")  # of the same number of another model


def is_share(name: str) -> bool:
    """Return whether a metric is a share in [0, 1]."""
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name in _SHARES or name.startswith("iou_")


def shown(name: str, value: Any) -> str:
    """Return a number for reading: shares in percent, others with four digits."""
    if not isinstance(value, float):
        return f"{value:,}"
    return f"{100 * value:.2f} %" if is_share(name) else f"{value:,.4g}"
