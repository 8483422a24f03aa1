"""What pre-training minimises.

Legend: B batch, N patches, M masked patches of the batch, V codebook size.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional

from beit.models_torch import BeitForMaskedImageModeling, PatchAggregation
from beit.tokenizer import TokenEncoder, count_tokens
from beit.tokenizer.usage import perplexity
from beit.training.pretrain_checks import check_vocabulary


class PretrainObjective(nn.Module):
    """Cross-entropy of the visual tokens of masked patches (arXiv 2106.08254, section 2.4, equation 1).

    With patch aggregation that of its second prediction is added (arXiv 2208.06366, section 2.3).

    Raises:
        ConfigError: If the codebook is larger than the model's vocabulary.
    """

    def __init__(
        self,
        model: BeitForMaskedImageModeling,
        encoder: TokenEncoder,
        aggregation: PatchAggregation | None = None,
    ) -> None:
        super().__init__()
        check_vocabulary(model.config.vocab_size, encoder.tokenizer.vocab_size)
        self.model = model
        self.aggregation = aggregation
        self._encoder = encoder  # no module: neither trained, nor saved, nor wrapped with the model

    def forward(self, tensors: Mapping[str, Tensor], progress: float = 0.0) -> dict[str, Tensor]:
        """Return the loss, and the share of masked patches whose token is predicted right."""
        pixel_values, mask_BN = tensors["pixel_values"], tensors["bool_masked_pos"]
        labels_M = visual_tokens(self._encoder, tensors)[mask_BN]
        parts: dict[str, Tensor] = {}
        if self.aggregation is None or not self.training:
            logits_MV = self.model.masked_logits(pixel_values, mask_BN)
            loss = _cross_entropy(logits_MV, labels_M)
        else:
            logits_MV, aggregated_MV = self.aggregation(self.model, pixel_values, mask_BN)
            aggregated = _cross_entropy(aggregated_MV, labels_M)
            parts["aggregation_loss"] = aggregated.detach()
            loss = _cross_entropy(logits_MV, labels_M) + aggregated
        predicted_M = logits_MV.detach().argmax(dim=-1)
        parts["prediction_perplexity"] = perplexity(count_tokens(predicted_M, logits_MV.shape[1])).float()
        return {"loss": loss, "accuracy": (predicted_M == labels_M).float().mean(), **parts}


def _cross_entropy(logits_MV: Tensor, labels_M: Tensor) -> Tensor:
    return functional.cross_entropy(logits_MV.float(), labels_M)


def visual_tokens(encoder: TokenEncoder, tensors: Mapping[str, Tensor]) -> Tensor:
    """Return the visual tokens (B, N), row-major, of a batch: as they were stored, or of the tokenizer's views."""
    stored = tensors.get("visual_tokens")
    return (encoder(tensors["tokenizer_pixels"]) if stored is None else stored).flatten(1)
