"""BEiT models in PyTorch."""

from beit.models_torch.backbone import BeitBackbone
from beit.models_torch.classification import BeitForImageClassification
from beit.models_torch.data2vec import (
    Data2VecVisionForImageClassification,
    Data2VecVisionForSemanticSegmentation,
    Data2VecVisionModel,
    Data2VecVisionPreTrainedModel,
)
from beit.models_torch.masked_image_modeling import BeitForMaskedImageModeling
from beit.models_torch.masked_patch_decoder import MaskedPatchDecoder
from beit.models_torch.model import BeitModel
from beit.models_torch.patch_aggregation import PatchAggregation
from beit.models_torch.pretrained import BeitPreTrainedModel
from beit.models_torch.segmentation import BeitForSemanticSegmentation
from beit.models_torch.tracing import register_outputs

register_outputs()

__all__ = [
    "BeitBackbone",
    "BeitForImageClassification",
    "BeitForMaskedImageModeling",
    "BeitForSemanticSegmentation",
    "BeitModel",
    "BeitPreTrainedModel",
    "Data2VecVisionForImageClassification",
    "Data2VecVisionForSemanticSegmentation",
    "Data2VecVisionModel",
    "Data2VecVisionPreTrainedModel",
    "MaskedPatchDecoder",
    "PatchAggregation",
]
