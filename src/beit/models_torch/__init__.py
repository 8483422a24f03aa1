"""The models in PyTorch."""

from beit.models_torch.classification import BeitForImageClassification
from beit.models_torch.masked_image_modeling import BeitForMaskedImageModeling
from beit.models_torch.model import BeitModel
from beit.models_torch.pretrained import BeitPreTrainedModel

__all__ = ["BeitForImageClassification", "BeitForMaskedImageModeling", "BeitModel", "BeitPreTrainedModel"]
