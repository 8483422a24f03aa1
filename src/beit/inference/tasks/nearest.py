"""Exact search of the nearest vectors by cosine similarity, by blocks of products or by faiss.

Legend: P vectors that are searched, p of a block, Q queries, D features, c candidates, k neighbours.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beit.inference.runners.runner import Floats

_BLOCK = 65_536  # vectors that are compared at once
_ROUNDING = 1e-5  # of a product of float32: what differs by less may be alike


class Nearest:
    """Index of vectors.

    Where faiss is installed (`pip install faiss-cpu`) it finds the candidates, unless many are alike; their
    similarities and order are computed here all the same, in float64, so that the answer does not depend on it.

    Args:
        vectors_PD: The vectors, of any length.
    """

    def __init__(self, vectors_PD: Floats) -> None:
        self._unit_PD = unit(vectors_PD)
        self._faiss = _faiss_index(self._unit_PD) if find_spec("faiss") is not None else None

    def __call__(self, queries_QD: Floats, k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the places of the k nearest, (Q, k), and their similarities, the greatest first.

        All of them if there are fewer; of equally similar ones the first.
        """
        queries_QD, k = unit(queries_QD), min(k, len(self._unit_PD))
        candidates = self._candidates(queries_QD, k)
        found = [self._in_order(query_D, places_c, k) for query_D, places_c in zip(queries_QD, candidates, strict=True)]
        return np.stack([places_k for places_k, _ in found]), np.stack([similar_k for _, similar_k in found])

    def _in_order(self, query_D: Floats, places_c: NDArray[np.int64], k: int) -> tuple[NDArray[Any], NDArray[Any]]:
        similar_c = (self._unit_PD[places_c].astype(np.float64) * query_D).sum(axis=1)  # alike for alike vectors
        order_k = np.lexsort((places_c, -similar_c))[:k]
        return places_c[order_k], similar_c[order_k].clip(-1, 1)

    def _candidates(self, queries_QD: Floats, k: int) -> list[NDArray[np.int64]]:
        """Return the places of the k nearest of every query, in no order, and of what may be as near as the last."""
        if self._faiss is not None:
            similar_Qc, places_Qc = self._faiss.search(queries_QD, min(k + 1, len(self._unit_PD)))
            if similar_Qc.shape[1] == k or (similar_Qc[:, k - 1] - similar_Qc[:, k] > _ROUNDING).all():
                return list(places_Qc[:, :k])
        found: list[list[NDArray[np.int64]]] = [[] for _ in queries_QD]
        for first in range(0, len(self._unit_PD), _BLOCK):
            similar_Qp = queries_QD @ self._unit_PD[first : first + _BLOCK].T
            most = min(k, similar_Qp.shape[1])
            least_Q1 = np.partition(similar_Qp, -most, axis=1)[:, -most, None]
            for places, near_p in zip(found, similar_Qp >= least_Q1 - _ROUNDING, strict=True):
                places.append(first + np.flatnonzero(near_p))
        return [np.concatenate(places) for places in found]


def unit(vectors_PD: Floats) -> Floats:
    """Return vectors of unit length; those of zeros stay."""
    lengths_P1 = np.linalg.norm(vectors_PD.astype(np.float64), axis=-1, keepdims=True)
    return (vectors_PD / np.where(lengths_P1 > 0, lengths_P1, 1)).astype(np.float32)


def _faiss_index(unit_PD: Floats) -> Any:
    library: Any = import_module("faiss")
    index = library.IndexFlatIP(unit_PD.shape[1])
    index.add(unit_PD)
    return index
