"""BeitForImageClassification: one linear layer on the pooled features.

Legend: B batch, C channels, D hidden, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from beit.config import BeitConfig, ProblemType
from beit.errors import ConfigError
from beit.models_torch import kernels
from beit.models_torch.initialisation import shrink
from beit.models_torch.labels import check_label_shape, class_labels
from beit.models_torch.model import BeitModel
from beit.models_torch.pretrained import BeitPreTrainedModel
from beit.outputs import ImageClassifierOutput


class BeitForImageClassification(BeitPreTrainedModel):
    """BEiT with a classifier on the pooled features (arXiv 2106.08254, section 2.6)."""

    def __init__(self, config: BeitConfig) -> None:
        super().__init__(config)
        self.beit = BeitModel(config, add_pooling_layer=True)
        has_classes = config.num_labels > 0
        self.classifier = nn.Linear(config.hidden_size, config.num_labels) if has_classes else nn.Identity()
        self.initialise_weights(self.classifier)

    def _initialise(self, modules: Sequence[nn.Module]) -> None:
        super()._initialise(modules)
        if self in modules or self.classifier in modules:
            shrink(self.classifier)

    def forward(
        self,
        pixel_values: Tensor | None = None,
        head_mask: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        interpolate_pos_encoding: bool = True,
    ) -> ImageClassifierOutput | tuple[Any, ...]:
        """Classify images.

        Args:
            pixel_values: (B, C, height, width), normalised; any size that the patch size divides.
            head_mask: (heads,) or (layers, heads); 1 = keep the head.
            labels: (B,) class indices, (B,) numbers when there is one label, or (B, K) 0/1 for several labels at once,
                floating-point or truth values.
            output_attentions: Also return attention maps; default: the config's.
            output_hidden_states: Also return all hidden states; default: the config's.
            return_dict: Return an output object rather than a tuple; default: the config's.
            interpolate_pos_encoding: Whether pictures of another size than the config's are accepted.

        Returns:
            loss () by `config.problem_type`, which the first labels decide if it is None; logits (B, K).

        Raises:
            ConfigError: If an argument is missing or has a shape that does not fit.
        """
        outputs = self.beit(
            pixel_values, None, head_mask, output_attentions, output_hidden_states, True, interpolate_pos_encoding
        )
        logits_BK = kernels.linear(self.classifier, outputs.pooler_output)
        loss = self._loss(logits_BK, labels) if labels is not None else None
        output = ImageClassifierOutput(
            loss=loss, logits=logits_BK, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )
        return self.as_requested(output, return_dict)

    def _loss(self, logits_BK: Tensor, labels: Tensor) -> Tensor:
        problem = self.config.problem_type or _problem_type(self.config.num_labels, labels)
        loss = _loss_of(problem, logits_BK.float(), labels)
        if self.config.problem_type is None:  # after the loss: labels that are refused decide nothing
            self.config.problem_type = problem
        return loss


def _problem_type(num_labels: int, labels: Tensor) -> ProblemType:
    if num_labels == 1:
        return "regression"
    several = labels.is_floating_point() or (labels.dtype == torch.bool and labels.dim() == 2)
    return "multi_label_classification" if several else "single_label_classification"


def _loss_of(problem: ProblemType, logits_BK: Tensor, labels: Tensor) -> Tensor:
    images, classes = logits_BK.shape
    if problem == "regression":
        check_label_shape(labels, (images,) if classes == 1 and labels.dim() == 1 else (images, classes))
        return functional.mse_loss(logits_BK.view(labels.shape), labels.float())
    if problem == "multi_label_classification":
        check_label_shape(labels, (images, classes))
        return functional.binary_cross_entropy_with_logits(logits_BK, labels.float())
    if labels.shape == logits_BK.shape and classes > 1:
        raise ConfigError(
            f"labels have shape {tuple(labels.shape)}; expected ({images},), one class of each picture: for several "
            "set config.problem_type = 'multi_label_classification'"
        )
    if labels.is_floating_point():
        raise ConfigError(
            f"labels have dtype {labels.dtype}, and config.problem_type is {problem!r}; expected whole numbers from 0 "
            f"to {classes - 1}, or config.problem_type = None: the labels decide it then"
        )
    if labels.numel() != images:
        check_label_shape(labels, (images,))
    return functional.cross_entropy(logits_BK, class_labels(labels.flatten(), classes))
