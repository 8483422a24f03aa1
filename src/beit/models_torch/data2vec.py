"""data2vec vision models: BEiT under the names that transformers gives to data2vec (arXiv 2202.03555)."""

from __future__ import annotations

from typing import ClassVar, cast

from torch import nn

from beit.config import BeitConfig, Data2VecVisionConfig
from beit.models_torch.classification import BeitForImageClassification
from beit.models_torch.model import BeitModel
from beit.models_torch.pretrained import BeitPreTrainedModel
from beit.models_torch.segmentation import BeitForSemanticSegmentation


class Data2VecVisionPreTrainedModel(BeitPreTrainedModel):
    """Base of all data2vec vision models."""

    config_class: ClassVar[type[BeitConfig]] = Data2VecVisionConfig
    base_model_prefix: ClassVar[str] = "data2vec_vision"


class Data2VecVisionModel(Data2VecVisionPreTrainedModel, BeitModel):
    """The encoder of data2vec.

    Args:
        config: All options.
        add_pooling_layer: Whether to return `pooler_output`.
    """

    def __init__(self, config: BeitConfig, add_pooling_layer: bool = False) -> None:
        super().__init__(config, add_pooling_layer)


class _WithHead(Data2VecVisionPreTrainedModel):
    """A model with a head, whose encoder is called `data2vec_vision`; `beit` is another way to it."""

    def __init__(self, config: BeitConfig) -> None:
        super().__init__(config)
        modules = {self.base_model_prefix if name == "beit" else name: one for name, one in self._modules.items()}
        self._modules.clear()
        self._modules.update(modules)

    @property
    def beit(self) -> BeitModel:
        """The encoder."""
        held: dict[str, nn.Module | None] = self._modules
        return cast(BeitModel, held[self.base_model_prefix if self.base_model_prefix in held else "beit"])


class Data2VecVisionForImageClassification(_WithHead, BeitForImageClassification):
    """data2vec with a classifier on the pooled features."""


class Data2VecVisionForSemanticSegmentation(_WithHead, BeitForSemanticSegmentation):
    """data2vec with UperNet on four of its layers."""
