"""Loss of pre-training, the cross-entropy of the visual tokens of masked patches, and its targets, these tokens.

Legend: B batch, N patches, m places per picture, M = B * m, V codebook size.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from beit.data import Collate, ImageSource, ViewDataset, Views, evaluation_batches
from beit.models_torch import BeitForMaskedImageModeling, MaskedPatchDecoder, PatchAggregation
from beit.tasks.pretrain.start import check_vocabulary
from beit.tokenizer import TokenEncoder, count_tokens
from beit.tokenizer.encoding import least_perplexity, perplexity

NOTHING = -100  # the label of a place where nothing is to be predicted


class PretrainLoss(nn.Module):
    """Cross-entropy of the visual tokens of masked patches (arXiv 2106.08254, section 2.4, equation 1).

    With patch aggregation that of its second prediction is added (arXiv 2208.06366, section 2.3). With a decoder of
    masked patches the prediction is the decoder's, in training and in measurements.

    Raises:
        ConfigError: If the codebook is larger than the model's vocabulary.
    """

    def __init__(
        self,
        model: BeitForMaskedImageModeling,
        encoder: TokenEncoder,
        most_masked: int,
        aggregation: PatchAggregation | None = None,
        decoder: MaskedPatchDecoder | None = None,
    ) -> None:
        super().__init__()
        check_vocabulary(model.config.vocab_size, encoder.tokenizer.vocab_size)
        self.model = model
        self.aggregation = aggregation
        self.decoder = decoder
        self._most_masked = most_masked
        self._encoder = encoder  # no module: neither trained, nor saved, nor wrapped with the model

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return self.model.device

    @torch.no_grad()
    def prepare(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the inputs of `forward`: pictures, masks, the places of the masked patches, and their visual tokens.

        `places` (B, m) and `labels` (B, m) have room for as many patches as a mask may have; where a mask has fewer,
        the labels say that nothing is to be predicted. So every batch has the same shapes, and compiles once.
        """
        mask_BN = tensors["bool_masked_pos"].flatten(1)
        places_Bm = mask_BN.int().argsort(dim=1, descending=True, stable=True)[:, : self._most_masked]
        labels_Bm = visual_tokens(self._encoder, tensors).gather(1, places_Bm)
        labels_Bm = labels_Bm.masked_fill(~mask_BN.gather(1, places_Bm), NOTHING)
        wanted = {name: tensors[name] for name in ("pixel_values", "bool_masked_pos")}
        return {**wanted, "places": places_Bm, "labels": labels_Bm}

    def forward(self, tensors: Mapping[str, Tensor], progress: float = 0.0) -> dict[str, Tensor]:
        """Return scalars of prepared tensors.

        Returns:
            loss: mean cross-entropy in nats; accuracy: share of masked patches whose token is predicted right;
            prediction_perplexity and target_perplexity: the frequencies (V,) of the predicted tokens, and of the true
            ones. Those of a whole batch are the mean of those of its parts, which is not so of their perplexity.
        """
        inputs = (tensors["pixel_values"], tensors["bool_masked_pos"], tensors["places"])
        labels_M = tensors["labels"].flatten()
        parts: dict[str, Tensor] = {}
        if self.aggregation is None or not self.training:
            logits_MV = self.masked_logits(*inputs)
            loss = _cross_entropy(logits_MV, labels_M)
        else:
            logits_MV, aggregated_MV = self.aggregation(self.model, *inputs)
            aggregated = _cross_entropy(aggregated_MV, labels_M)
            parts["aggregation_loss"] = aggregated.detach()
            loss = _cross_entropy(logits_MV, labels_M) + aggregated
        predicted_M, asked_M = logits_MV.detach().argmax(dim=-1), labels_M != NOTHING
        for name, codes_M in (("prediction", predicted_M), ("target", labels_M.clamp(min=0))):
            counts_V = torch.zeros(logits_MV.shape[1], dtype=torch.int64, device=labels_M.device)
            parts[f"{name}_perplexity"] = counts_V.scatter_add(0, codes_M, asked_M.long()) / asked_M.sum()
        # no prediction is NOTHING, so what is not asked for is never right
        return {"loss": loss, "accuracy": (predicted_M == labels_M).sum() / asked_M.sum(), **parts}

    def masked_logits(self, pixel_values: Tensor, bool_masked_pos: Tensor, places: Tensor | None = None) -> Tensor:
        """Return the logits of masked patches (M, V): the model's own, or those of the decoder behind it."""
        if self.decoder is None:
            return self.model.masked_logits(pixel_values, bool_masked_pos, places)
        return self.decoder(self.model, pixel_values, bool_masked_pos, places)


def _cross_entropy(logits_MV: Tensor, labels_M: Tensor) -> Tensor:
    return functional.cross_entropy(logits_MV.float(), labels_M, ignore_index=NOTHING)


def visual_tokens(encoder: TokenEncoder, tensors: Mapping[str, Tensor]) -> Tensor:
    """Return the visual tokens (B, N), row-major, of a batch: as they were stored, or of the tokenizer's views."""
    stored = tensors.get("visual_tokens")
    return (encoder(tensors["tokenizer_pixels"]) if stored is None else stored).flatten(1)


def token_counts(encoder: TokenEncoder, source: ImageSource, views: Views, batch_size: int, workers: int) -> Tensor:
    """Return the number of occurrences of every visual token in the usable pictures of a source, (V,) float64."""
    vocab_size = encoder.tokenizer.vocab_size
    counts_V = torch.zeros(vocab_size, dtype=torch.float64)
    dataset = ViewDataset(source, views, 0, replace_broken=False)
    for batch in evaluation_batches(dataset, Collate(0), batch_size, workers):
        if batch.indices:
            counts_V += count_tokens(visual_tokens(encoder, batch.tensors), vocab_size).cpu()
    return counts_V


def objection_to(counts_V: Tensor, pictures: int) -> str | None:
    """Return the reason why next to nothing can be learnt from visual tokens, None if something can.

    Their perplexity, exp of the entropy of their frequencies, has to be at least `least_perplexity`.

    Args:
        counts_V: Occurrences of every token (V,).
        pictures: Number of pictures that they were counted in.
    """
    found = float(perplexity(counts_V))
    if not counts_V.sum() or found >= least_perplexity(len(counts_V)):
        return None
    most = float(counts_V.max() / counts_V.sum())
    return (
        f"the visual tokens of {pictures} training pictures have a perplexity of {found:.2f}, and one of them stands "
        f"for {most:.1%} of all patches, so there is next to nothing to learn; take another tokenizer "
        "(tokenizer.path), or train it longer (tokenizer.train)"
    )
