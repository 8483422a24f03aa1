"""Effective rank of features, and their spread over the positions of a picture.

Legend: P pictures, N patches, D features.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from beit.errors import DataError
from beit.evaluation.features.checks import Features, check_features

_EPSILON = 1e-7  # that of the paper


def rank_me(features_PD: Features) -> float:
    """Return RankMe, the effective rank of features: 1 (all vectors point one way) to min(P, D).

    The exponential of the entropy of the normalised singular values, p_k = s_k / sum(s) + 1e-7; it needs no labels.
    They are the roots of the eigenvalues of the smaller Gram matrix, in float64.

    Source: Garrido et al. 2023, arXiv 2210.02885, equations 1 to 3.

    Args:
        features_PD: Features of pictures (P, D), not centred.

    Raises:
        DataError: If they are not finite.
    """
    check_features(features_PD)
    wide_PD = features_PD.astype(np.float64)
    gram = wide_PD.T @ wide_PD if len(wide_PD) >= wide_PD.shape[1] else wide_PD @ wide_PD.T
    singular = np.sqrt(np.linalg.eigvalsh(gram).clip(min=0))
    share = singular / max(float(singular.sum()), np.finfo(np.float64).tiny) + _EPSILON
    return max(1.0, float(np.exp(-(share * np.log(share)).sum())))


def position_spread(patches_PND: NDArray[np.floating[Any]]) -> float:
    """Return the share of the variance of patch features that lies between positions of one picture, in [0, 1].

    0: all patches of a picture carry the same vector; 1: all pictures have the same mean.

    Args:
        patches_PND: Features of the patches of pictures (P, N, D).

    Raises:
        DataError: If they have another shape.
    """
    if patches_PND.ndim != 3 or not patches_PND.size:
        raise DataError(f"patch features have shape {patches_PND.shape}; expected (pictures, patches, features)")
    means_PD = patches_PND.astype(np.float64).mean(axis=1)
    within_P = ((patches_PND - means_PD[:, None]) ** 2).sum(axis=2).mean(axis=1)
    return spread_of_moments(means_PD, within_P)


def spread_of_moments(means_PD: Features, within_P: NDArray[np.floating[Any]]) -> float:
    """Return the same share from the moments of every picture, so that no patch has to be kept.

    Args:
        means_PD: Means over the patches of a picture (P, D).
        within_P: Variance of its patches around that mean, summed over the features (P,).
    """
    within, between = float(within_P.mean()), float(means_PD.astype(np.float64).var(axis=0).sum())
    return within / (within + between) if within > 0 else 0.0
