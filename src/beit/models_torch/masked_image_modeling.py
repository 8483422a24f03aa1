"""BeitForMaskedImageModeling: prediction of the visual tokens of masked patches.

Legend: B batch, C channels, N patches, M masked patches of the batch, S = 1 + N tokens, D hidden, V codebook size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from beit.config import BeitConfig
from beit.errors import ConfigError
from beit.models_torch import kernels
from beit.models_torch.embeddings import mask_on
from beit.models_torch.labels import class_labels, mean_cross_entropy
from beit.models_torch.model import BeitModel
from beit.models_torch.pretrained import BeitPreTrainedModel
from beit.outputs import MaskedLMOutput


class BeitForMaskedImageModeling(BeitPreTrainedModel):
    """BEiT with a head over the visual tokens (arXiv 2106.08254, section 2.4)."""

    def __init__(self, config: BeitConfig) -> None:
        super().__init__(config)
        self.beit = BeitModel(config, add_pooling_layer=False)
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size)
        self.initialise_weights(self.layernorm, self.lm_head)

    def forward(
        self,
        pixel_values: Tensor | None = None,
        bool_masked_pos: Tensor | None = None,
        head_mask: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        interpolate_pos_encoding: bool = True,
    ) -> MaskedLMOutput | tuple[Any, ...]:
        """Predict a visual token for every patch.

        Args:
            pixel_values: (B, C, height, width), normalised; any size that the patch size divides.
            bool_masked_pos: (B, N); True = hidden from the model.
            head_mask: (heads,) or (layers, heads); 1 = keep the head.
            labels: The visual tokens: (M,) of the masked patches in row-major order, or (B, N) of all patches.
            output_attentions: Also return attention maps; default: the config's.
            output_hidden_states: Also return all hidden states; default: the config's.
            return_dict: Return an output object rather than a tuple; default: the config's.
            interpolate_pos_encoding: Whether pictures of another size than the config's are accepted.

        Returns:
            loss (): mean cross-entropy over the masked patches (all patches without a mask), 0 if there are none;
            logits (B, N, V).

        Raises:
            ConfigError: If an argument has a shape that does not fit.
        """
        if bool_masked_pos is not None and pixel_values is not None:
            bool_masked_pos = mask_on(bool_masked_pos, pixel_values.device)
        outputs = self.beit(
            pixel_values, bool_masked_pos, head_mask, output_attentions, output_hidden_states, True,
            interpolate_pos_encoding,
        )  # fmt: skip
        logits_BNV = self.token_logits(outputs.last_hidden_state[:, 1:])
        loss = None
        if labels is not None:
            mask_BN = bool_masked_pos.flatten(1).bool() if bool_masked_pos is not None else None
            logits_MV = logits_BNV[mask_BN] if mask_BN is not None else logits_BNV.flatten(0, 1)
            labels_M = class_labels(_masked_labels(labels, mask_BN, logits_MV.shape[0]), self.config.vocab_size)
            loss = mean_cross_entropy(logits_MV, labels_M)
        output = MaskedLMOutput(
            loss=loss, logits=logits_BNV, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )
        return self.as_requested(output, return_dict)

    def masked_logits(self, pixel_values: Tensor, bool_masked_pos: Tensor, places: Tensor | None = None) -> Tensor:
        """Return the logits of masked patches alone, as pre-training needs them.

        At 40 % masking this saves 60 % of the head, by far the widest layer of the model.

        Args:
            pixel_values: (B, C, height, width), normalised.
            bool_masked_pos: (B, N); True = hidden from the model.
            places: (B, m), int64: the patches to predict, as many of every picture; default: the masked ones. With it
                all shapes are known before the model runs, as compiled programs like it.

        Returns:
            (M, V) in row-major order; with `places` M = B * m.
        """
        bool_masked_pos = mask_on(bool_masked_pos, pixel_values.device)
        tokens_BSD = self.beit(pixel_values, bool_masked_pos, return_dict=True).last_hidden_state
        return self.token_logits(chosen_patches(tokens_BSD, bool_masked_pos, places))

    def token_logits(self, patches: Tensor) -> Tensor:
        """Return the logits (..., V) of patches (..., D)."""
        return kernels.linear(self.lm_head, self.layernorm(patches))


def chosen_patches(tokens_BSD: Tensor, mask: Tensor, places_Bm: Tensor | None) -> Tensor:
    """Return the masked patches of tokens, or those at some places, (M, D) in row-major order."""
    if places_Bm is None:
        return tokens_BSD[:, 1:][mask.flatten(1).bool()]
    return patches_at(tokens_BSD, places_Bm + 1).flatten(0, 1)  # +1: [CLS] comes first


def patches_at(tokens_BSD: Tensor, places_Bm: Tensor) -> Tensor:
    """Return the tokens at some places of each picture, (B, m, D).

    A look-up of rows, whose gradient is added up row by row; that of `gather` sorts every number by its place.
    """
    batch, length, _ = tokens_BSD.shape
    first_B1 = torch.arange(0, batch * length, length, device=places_Bm.device).unsqueeze(1)
    return functional.embedding(places_Bm + first_B1, tokens_BSD.flatten(0, 1))


def _masked_labels(labels: Tensor, mask_BN: Tensor | None, masked: int) -> Tensor:
    """Return the labels of the masked patches, (M,), from either documented form."""
    if mask_BN is not None and labels.numel() == mask_BN.numel() and labels.dim() > 1:
        labels = labels.flatten(1)[mask_BN]
    labels = labels.flatten()
    if torch.compiler.is_compiling():
        # the number of masked patches is only known when the compiled program runs
        torch._check(labels.shape[0] == masked)  # pyright: ignore[reportPrivateUsage]  # documented all the same
    elif labels.shape[0] != masked:
        raise ConfigError(
            f"labels has shape {tuple(labels.shape)}; expected one token per masked patch, ({masked},), "
            "or one per patch, (batch, patches)"
        )
    return labels
