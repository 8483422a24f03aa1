"""Fit of a k-means tokenizer: whitening, then mini-batch k-means of scikit-learn.

Legend: C colour channels, V codebook size, F numbers in a window, R windows, p pixels of a patch along each side.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from beit.errors import ConfigError, DataError, missing_extra
from beit.tokenizer.kmeans import KMeansConfig, KMeansTokenizer, normalised

_AT_ONCE = 4096  # windows that are compared at a time
_STEPS = 1000  # per unit of contrast; smaller differences are no pattern


class Whitening(NamedTuple):
    """Whitening of normalised windows: (x - mean) @ forward has uncorrelated values; `backward` undoes it.

    Attributes:
        mean: (F,).
        forward: (F, F), symmetric.
        backward: Its inverse, (F, F).
    """

    mean: Tensor
    forward: Tensor
    backward: Tensor


def zca_whitening(values: Tensor, eps: float) -> Whitening:
    """Return the ZCA whitening of normalised windows (R, F).

    Args:
        values: The windows.
        eps: Added to the variance along each principal axis, so that axes of mere noise are not blown up; above 0.

    Source: Coates and Ng 2012, section 2.1.
    """
    mean_F = values.mean(dim=0)
    centred_RF = values - mean_F
    covariance_FF = (centred_RF.T @ centred_RF).double() / len(values)
    variances_F, axes_FF = torch.linalg.eigh(covariance_FF)
    scales_F = (variances_F.clamp(min=0) + eps).sqrt()
    forward_FF, backward_FF = ((axes_FF * factors_F) @ axes_FF.T for factors_F in (1 / scales_F, scales_F))
    return Whitening(mean_F, forward_FF.float(), backward_FF.float())


def fit_kmeans(
    windows: Tensor, config: KMeansConfig, eps: float = 0.1, epochs: int = 10, batch_size: int = 4096, seed: int = 0
) -> KMeansTokenizer:
    """Return a tokenizer fitted to windows, in evaluation mode; equal windows and seed give equal bits.

    Args:
        windows: (R, F), float32 in [0, 255], from `picture_windows`.
        config: Its size.
        eps: Regulariser of the whitening, above 0.
        epochs: Most passes over the windows; it stops before when mini-batches no longer gain.
        batch_size: Windows per step.
        seed: Of the first centroids and the mini-batches, 0 to 2**32 - 1.

    Raises:
        ConfigError: If the windows are not those of such a tokenizer.
        DataError: If there are fewer distinct windows than codes.
        MissingExtraError: If scikit-learn is not installed.
    """
    try:
        from sklearn.cluster import MiniBatchKMeans
    except ImportError:
        raise missing_extra("scikit-learn", "train") from None
    if windows.dim() != 2 or windows.shape[1] != config.window_values:
        raise ConfigError(
            f"windows have shape {tuple(windows.shape)}; expected (windows, {config.window_values}): use "
            "picture_windows with the same config, and flatten its pictures"
        )
    values_RF, brightness_R1, contrast_R1 = normalised(windows)
    _check_enough(values_RF, config.vocab_size)
    whitening = zca_whitening(values_RF, eps)
    whitened_RF = (values_RF - whitening.mean) @ whitening.forward
    alone = epochs * len(windows) < 2 * min(batch_size, len(windows))  # a step, which has no mean error without labels
    clusters: Any = MiniBatchKMeans(
        config.vocab_size, max_iter=epochs, batch_size=batch_size, compute_labels=alone, random_state=seed
    )
    centroids_VF = torch.from_numpy(clusters.fit(whitened_RF.numpy()).cluster_centers_).float()
    drawn_VF = (centroids_VF @ whitening.backward + whitening.mean) * contrast_R1.mean() + brightness_R1.mean()
    tokenizer = KMeansTokenizer(config)
    tokenizer.load_state_dict({
        "mean": whitening.mean,
        "whitening": whitening.forward,
        "centroids": centroids_VF,
        "patches": _middle(drawn_VF, config) / 255,
    })  # fmt: skip
    return tokenizer.eval()


def _middle(windows_VF: Tensor, config: KMeansConfig) -> Tensor:
    """Return the patches in the middle of windows, (V, C, p, p), clipped to [0, 255]."""
    windows_VCww = windows_VF.unflatten(1, (config.channels, config.window, config.window)).clamp(0, 255)
    end = config.margin + config.patch_size
    return windows_VCww[:, :, config.margin : end, config.margin : end]


def _check_enough(values_RF: Tensor, codes: int) -> None:
    """Refuse fewer distinct windows than codes, such as those of pictures of one colour.

    Raises:
        DataError: Naming both numbers.
    """
    distinct = {
        hash(row.tobytes())
        for some_RF in values_RF.split(_AT_ONCE)
        for row in (some_RF * _STEPS).round().int().numpy()  # what differs by rounding is the same
    }
    if len(distinct) < codes:
        raise DataError(
            f"{len(values_RF):,} windows have {len(distinct):,} different patterns of light and dark; expected at "
            f"least as many as the {codes:,} codes: take more or richer pictures, more windows, or a smaller codebook"
        )
