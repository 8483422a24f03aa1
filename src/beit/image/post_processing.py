"""Post-processing of segmentation scores into label maps of any size.

Legend: B batch, K classes, h x w pixels of the scores, H x W pixels of the map.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beit.errors import ConfigError
from beit.image.batch import BatchFeature
from beit.image.input_types import to_array

_BAND_VALUES = 2**22  # upsampled scores held at once: 16 MiB of float32


def label_maps(
    outputs: Any, target_sizes: Any = None, return_scores: bool = False, return_segmentation_scores: bool = False
) -> list[Any]:
    """Return the best class of each pixel, and on request the scores.

    Scores are interpolated bilinearly (without aligned corners) to the size asked for, a band of rows at a time: the
    scores of 150 classes for a photograph would fill gigabytes. Half precision is interpolated in float32.

    Args:
        outputs: What a segmentation model returned, with `logits` (B, K, h, w) of torch or numpy.
        target_sizes: B pairs (height, width), as a list, an array or a tensor; None: the size of the scores.
        return_scores: Return pairs (map, scores) instead of maps.
        return_segmentation_scores: Return what the model said of every class too: `segmentation`, the map, and
            `segmentation_scores`, the logits (K, height, width) in its size, as a `BatchFeature`.

    Returns:
        B maps (height, width) of int64: torch tensors on the same device if the logits are torch, else numpy arrays.
        Scores are the probabilities (height, width), in [0, 1], of the classes in the map.

    Raises:
        ConfigError: If there are no such logits, sizes do not fit them, or both kinds of scores are asked for.
    """
    if return_scores and return_segmentation_scores:
        raise ConfigError("return_scores and return_segmentation_scores are both True; expected one of them")
    logits_BKhw = _logits(outputs)
    if len(logits_BKhw.shape) != 4:
        raise ConfigError(f"logits have shape {tuple(logits_BKhw.shape)}; expected (batch, classes, height, width)")
    if target_sizes is None:
        target_sizes = [tuple(logits_BKhw.shape[2:])] * len(logits_BKhw)
    sizes = _sizes(target_sizes, len(logits_BKhw))
    if return_segmentation_scores:
        return [_with_all_scores(scores_Khw, hw) for scores_Khw, hw in zip(logits_BKhw, sizes, strict=True)]
    best = [_resized_best(scores_Khw, hw, return_scores) for scores_Khw, hw in zip(logits_BKhw, sizes, strict=True)]
    return best if return_scores else [labels_HW for labels_HW, _ in best]


def _logits(outputs: Any) -> Any:
    logits = getattr(outputs, "logits", None)
    if logits is None and isinstance(outputs, Mapping):
        logits = outputs.get("logits")
    if logits is None:
        raise ConfigError(f"a {type(outputs).__name__} has no logits; pass what a semantic segmentation model returned")
    if not _is_torch(logits):
        return to_array(logits, "segmentation output")
    logits = logits.detach()
    return logits.float() if str(logits.dtype) in ("torch.float16", "torch.bfloat16") else logits


def _sizes(target_sizes: Any, count: int) -> list[tuple[int, int]]:
    listed = to_array(target_sizes, "target size").tolist() if hasattr(target_sizes, "__array__") else target_sizes
    if not isinstance(listed, Sequence) or len(listed) != count:
        raise ConfigError(
            f"target_sizes is {target_sizes!r} for {count} pictures; expected one (height, width) for each picture"
        )
    sizes: list[tuple[int, int]] = []
    for size in listed:
        try:
            height, width = (int(side) for side in size)
            fits = min(height, width) > 0 and [height, width] == list(size)
        except (TypeError, ValueError):
            fits, height, width = False, 0, 0
        if not fits:
            raise ConfigError(f"target size is {size!r}; expected (height, width) in whole pixels above 0")
        sizes.append((height, width))
    return sizes


def _resized_best(scores_Khw: Any, hw: tuple[int, int], wanted: bool) -> tuple[Any, Any]:
    """Return the map (H, W) of one picture, and if wanted the probabilities (H, W) of its classes."""
    bands = [_best(band_KbW, wanted) for band_KbW in enlarged_bands(scores_Khw, hw)]
    labels, probabilities = ([band[part] for band in bands] for part in (0, 1))
    return _joined(labels), _joined(probabilities) if wanted else None


def _with_all_scores(scores_Khw: Any, hw: tuple[int, int]) -> BatchFeature:
    """Return the map (H, W) of one picture, and the scores (K, H, W) of all classes."""
    scores_KHW = enlarged_rows(scores_Khw, hw, slice(None)) if hw != tuple(scores_Khw.shape[1:]) else scores_Khw
    return BatchFeature({"segmentation": scores_KHW.argmax(0), "segmentation_scores": scores_KHW})


def enlarged_bands(scores_Khw: Any, hw: tuple[int, int]) -> Generator[Any]:
    """Yield the upsampled scores (K, some rows, W) from top to bottom."""
    classes, height, width = scores_Khw.shape
    # A band is bounded by its upsampled rows, or where the map is the smaller one, by the rows that it is made from.
    rows = max(1, int(_BAND_VALUES / (classes * hw[1] * max(1, height / hw[0]))))
    for start in range(0, hw[0], rows):
        here = slice(start, start + rows)
        yield scores_Khw[:, here] if hw == (height, width) else enlarged_rows(scores_Khw, hw, here)


def enlarged_rows(scores_Khw: Any, hw: tuple[int, int], rows: slice) -> Any:
    """Return some rows (K, rows, W) of the upsampled scores; no other rows are computed."""
    above_H, below_H, weight_H = _neighbours(scores_Khw.shape[1], hw[0], str(scores_Khw.dtype))
    first, last = int(above_H[rows][0]), int(below_H[rows][-1])
    wide_KhW = _widen(scores_Khw[:, first : last + 1], hw[1])
    above, below, weight = above_H[rows] - first, below_H[rows] - first, weight_H[rows][:, None]
    if _is_torch(wide_KhW):
        weight = wide_KhW.new_tensor(weight)
    return wide_KhW[:, above] * (1 - weight) + wide_KhW[:, below] * weight


def _best(scores_KbW: Any, wanted: bool) -> tuple[Any, Any]:
    """Return the best class of each pixel of a band, and if wanted its probability."""
    labels_bW = scores_KbW.argmax(0)
    if not wanted:
        return labels_bW, None
    exp = import_module("torch").exp if _is_torch(scores_KbW) else np.exp
    best_bW = scores_KbW.amax(0) if _is_torch(scores_KbW) else scores_KbW.max(0)
    return labels_bW, 1 / exp(scores_KbW - best_bW).sum(0)  # softmax at the maximum


def _joined(bands: list[Any]) -> Any:
    return import_module("torch").cat(bands) if _is_torch(bands[0]) else np.concatenate(bands)


def _widen(scores_Khw: Any, width: int) -> Any:
    """Return scores (K, h, W): interpolated along rows only."""
    if _is_torch(scores_Khw):
        interpolate = import_module("torch.nn.functional").interpolate
        size = (scores_Khw.shape[1], width)
        return interpolate(scores_Khw[None], size=size, mode="bilinear", align_corners=False)[0]
    left, right, weight = _neighbours(scores_Khw.shape[2], width, str(scores_Khw.dtype))
    return scores_Khw[..., left] * (1 - weight) + scores_Khw[..., right] * weight


def _neighbours(size: int, target: int, dtype: str) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]:
    """Return for each target pixel its two neighbours along one axis and the weight of the second.

    Coordinates are computed in the precision of the scores, as in torch, so that ties fall on the same side.
    """
    real = np.float64 if dtype.endswith("float64") else np.float32
    place = (np.arange(target, dtype=real) + real(0.5)) * (real(size) / real(target)) - real(0.5)
    place = np.maximum(place, real(0))  # pixel centres outside the outermost ones take their value
    first = np.minimum(place.astype(np.int64), size - 1)
    return first, np.minimum(first + 1, size - 1), (place - first).astype(real)


def _is_torch(array: Any) -> bool:
    return type(array).__module__.partition(".")[0] == "torch"
