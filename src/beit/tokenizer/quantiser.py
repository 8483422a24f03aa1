"""Codebook of VQ-KD: nearest codes of features, and its training by k-means and moving averages.

Codes and features are compared as unit vectors, so that the nearest code is that of the largest cosine. No gradient
reaches the codes: they are a moving average of the features that chose them.

Legend: T features of a batch, V codebook size, E code size; "..." any leading axes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from beit.models_torch import kernels
from beit.models_torch.device import sent

KMEANS_STEPS = 10
_CHUNK = 4096  # features compared with the codebook at once: their V cosines each are the largest tensor here


class Quantised(NamedTuple):
    """Result of quantising features.

    Attributes:
        codes: (..., E), the nearest codes; gradients pass through them to the normalised features.
        tokens: (...), int64, their places in the codebook.
        commitment: The loss that keeps features near their codes, a scalar.
        revived: Codes that were revived in this step, a scalar, int64.
    """

    codes: Tensor
    tokens: Tensor
    commitment: Tensor
    revived: Tensor


class Quantiser(nn.Module):
    """A codebook of unit vectors that learns by k-means, then moving averages.

    In training mode every forward pass is a step. The first one finds the codes by k-means among its features. Each one
    moves every code that was chosen towards the normalised mean of the features that chose it. A code whose moving
    average of features per step, `cluster_size`, has sunk below `revive_below` times the uniform share (features per
    step / V) is dead: a random feature of the batch takes its place, and it counts as used by its share again, which
    gives it log(revive_below) / log(decay) steps, 458 by default, before it can be called dead the next time. The same
    holds for all codes in the beginning. All processes of a distributed run keep the same codebook.

    Args:
        vocab_size: V.
        code_size: E.
        decay: Of the moving averages.
        commitment: Weight of the commitment loss.
        revive_below: Share of the uniform share below which a code is dead; 0 revives none, as published.

    Source: arXiv 2208.06366, section 2.2; microsoft/unilm `beit2/norm_ema_quantizer.py`. Revival is not in the paper.
    """

    codebook: Tensor
    cluster_size: Tensor
    initialised: Tensor

    def __init__(
        self,
        vocab_size: int,
        code_size: int,
        decay: float = 0.99,
        commitment: float = 1.0,
        revive_below: float = 0.01,
    ) -> None:
        super().__init__()
        self.decay = decay
        self.commitment = commitment
        self.revive_below = revive_below
        self.register_buffer("codebook", normalise(torch.randn(vocab_size, code_size)))
        self.register_buffer("cluster_size", torch.zeros(vocab_size))
        self.register_buffer("initialised", torch.tensor(False))
        self._started = False  # known to be initialised: a look at the buffer in every step would wait for the device
        self.register_load_state_dict_post_hook(Quantiser._forget)

    def forward(self, features: Tensor) -> Quantised:
        """Quantise features (..., E) of any length; in training mode the codebook takes a step."""
        with kernels.without_autocast(features.device):
            unit = normalise(features)
            unit_TE = unit.detach().reshape(-1, unit.shape[-1])
            if self.training and not self._started:
                self._begin(unit_TE)
            tokens = self.tokens(features)
            codes = self.lookup(tokens).float()
            commitment = self.commitment * functional.mse_loss(unit, codes)
            revived = self._step(unit_TE, tokens.reshape(-1)) if self.training else tokens.new_zeros(())
            # the value is exactly that of the code, the gradient that of the feature
            passed = codes + (unit - unit.detach())
        return Quantised(passed.to(features.dtype), tokens, commitment, revived)

    @torch.no_grad()
    def tokens(self, features: Tensor) -> Tensor:
        """Return the places (...) of the nearest codes of features (..., E), int64; the codebook stays as it is."""
        with kernels.without_autocast(features.device):
            unit = normalise(features)
            return _nearest(unit.reshape(-1, unit.shape[-1]), normalise(self.codebook)).reshape(unit.shape[:-1])

    def lookup(self, tokens: Tensor) -> Tensor:
        """Return the codes (..., E) of tokens (...)."""
        return functional.embedding(tokens, self.codebook)

    def _forget(self, _: object) -> None:
        """Look at the buffer again, which was loaded."""
        self._started = False

    @torch.no_grad()
    def _begin(self, unit_TE: Tensor) -> None:
        """Find the first codes among the features of the first process, unless there are any."""
        self._started = True
        if self.initialised:
            return
        # computed by all, so that their random numbers stay in step
        self.codebook.copy_(_from_first_process(_kmeans(unit_TE, len(self.codebook))))
        self.cluster_size.zero_()
        self.initialised.fill_(True)

    @torch.no_grad()
    def _step(self, unit_TE: Tensor, tokens_T: Tensor) -> Tensor:
        """Update the codes by the features that chose them, and revive dead ones; return how many."""
        count_V, sum_VE = _gathered(unit_TE, tokens_T, len(self.codebook))
        if _several_processes():
            distributed.all_reduce(count_V)
            distributed.all_reduce(sum_VE)
        share = count_V.mean()
        # nothing counted yet: every code starts with its share
        before_V = torch.where(self.cluster_size.sum() > 0, self.cluster_size, share)
        self.cluster_size.copy_(self.decay * before_V + (1 - self.decay) * count_V)
        moved_VE = normalise(self.decay * self.codebook + (1 - self.decay) * normalise(sum_VE))
        self.codebook.copy_(torch.where(count_V.unsqueeze(1) > 0, moved_VE, self.codebook))
        return self._revive(unit_TE, share) if self.revive_below > 0 else tokens_T.new_zeros(())

    def _revive(self, unit_TE: Tensor, share: Tensor) -> Tensor:
        """Put features of the first process in the place of dead codes, each at most once; the others have to wait."""
        # no step depends on how many are dead: nothing waits for the device, and random numbers are used up evenly
        dead_V = self.cluster_size < self.revive_below * share
        place_V = dead_V.cumsum(0) - 1
        dead_V &= place_V < len(unit_TE)
        drawn_VE = _shuffled(unit_TE)[place_V.clamp(0, len(unit_TE) - 1)]
        self.codebook.copy_(_from_first_process(torch.where(dead_V.unsqueeze(1), drawn_VE, self.codebook)))
        self.cluster_size.copy_(_from_first_process(torch.where(dead_V, share, self.cluster_size)))
        return _from_first_process(dead_V.sum())


def normalise(vectors: Tensor) -> Tensor:
    """Return vectors (..., E) at length 1, in float32."""
    return functional.normalize(vectors.float(), dim=-1)


def _nearest(unit_TE: Tensor, codes_VE: Tensor) -> Tensor:
    """Return the place (T,) of the code with the largest cosine; the first of equals."""
    return torch.cat([(some_tE @ codes_VE.T).argmax(dim=1) for some_tE in unit_TE.split(_CHUNK)])


def _gathered(unit_TE: Tensor, tokens_T: Tensor, vocab_size: int) -> tuple[Tensor, Tensor]:
    """Return the number of features that chose each code (V,), and their sums (V, E)."""
    codes_V = torch.arange(vocab_size, device=tokens_T.device)
    count_V, sum_VE = unit_TE.new_zeros(vocab_size), unit_TE.new_zeros(vocab_size, unit_TE.shape[1])
    for some_tE, tokens_t in zip(unit_TE.split(_CHUNK), tokens_T.split(_CHUNK), strict=True):
        # a product, since scattered additions come in another order every time on an accelerator
        chosen_Vt = (codes_V.unsqueeze(1) == tokens_t).to(unit_TE.dtype)
        count_V += chosen_Vt.sum(dim=1)
        sum_VE += chosen_Vt @ some_tE
    return count_V, sum_VE


def _kmeans(unit_TE: Tensor, vocab_size: int) -> Tensor:
    """Return V centres (V, E) among unit vectors, by cosine; of fewer than V features some are taken twice."""
    codes_VE = _shuffled(unit_TE)[torch.arange(vocab_size, device=unit_TE.device) % len(unit_TE)]
    for _ in range(KMEANS_STEPS):
        count_V, sum_VE = _gathered(unit_TE, _nearest(unit_TE, codes_VE), vocab_size)
        codes_VE = torch.where(count_V.unsqueeze(1) > 0, normalise(sum_VE), codes_VE)
    return codes_VE


def _shuffled(unit_TE: Tensor) -> Tensor:
    """Return the features in random order, by the generator of the CPU whatever the device."""
    return unit_TE[sent(torch.randperm(len(unit_TE)), unit_TE.device)]


def _several_processes() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def _from_first_process(tensor: Tensor) -> Tensor:
    """Return the tensor that the first process has."""
    if _several_processes():
        distributed.broadcast(tensor, src=0)
    return tensor
