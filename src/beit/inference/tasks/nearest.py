"""Exact search of the nearest vectors by cosine similarity, by blocks of products or by faiss.

Legend: P vectors that are searched, Q queries, D features, c candidates, k neighbours.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beit.inference.runners.runner import Floats

_BLOCK = 65_536  # vectors that are compared at once


class Nearest:
    """Index of vectors.

    Where faiss is installed (`pip install faiss-cpu`) it finds the candidates; their similarities and order are
    computed here all the same, in float64, so that the answer does not depend on it.

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
        candidates_Qc = self._by_blocks(queries_QD, k) if self._faiss is None else self._faiss.search(queries_QD, k)[1]
        similar_Qc = np.einsum("qd,qcd->qc", queries_QD, self._unit_PD[candidates_Qc], dtype=np.float64)
        order_Qk = np.lexsort((candidates_Qc, -similar_Qc))[:, :k]
        similar_Qk = np.take_along_axis(similar_Qc, order_Qk, axis=1)
        return np.take_along_axis(candidates_Qc, order_Qk, axis=1), similar_Qk.clip(-1, 1)

    def _by_blocks(self, queries_QD: Floats, k: int) -> NDArray[np.int64]:
        """Return the k nearest of every block, in no order (Q, c)."""
        found: list[NDArray[np.int64]] = []
        for first in range(0, len(self._unit_PD), _BLOCK):
            similar_Qp = queries_QD @ self._unit_PD[first : first + _BLOCK].T
            most = min(k, similar_Qp.shape[1])
            found.append(first + np.argpartition(-similar_Qp, most - 1, axis=1)[:, :most])
        return np.concatenate(found, axis=1)


def unit(vectors_PD: Floats) -> Floats:
    """Return vectors of unit length; those of zeros stay."""
    lengths_P1 = np.linalg.norm(vectors_PD.astype(np.float64), axis=-1, keepdims=True)
    return (vectors_PD / np.where(lengths_P1 > 0, lengths_P1, 1)).astype(np.float32)


def _faiss_index(unit_PD: Floats) -> Any:
    library: Any = import_module("faiss")
    index = library.IndexFlatIP(unit_PD.shape[1])
    index.add(unit_PD)
    return index
