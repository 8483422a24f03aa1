"""BEiT models in JAX: flax.linen modules behind the published Flax API."""

from importlib import import_module

from beit.errors import missing_extra

try:
    import_module("flax.linen")
    import_module("optax")
except ImportError as error:
    raise missing_extra(error.name or "jax", "flax") from error

from beit.models_flax.backbone import FlaxBeitBackbone
from beit.models_flax.classification import FlaxBeitForImageClassification
from beit.models_flax.masked_image_modeling import FlaxBeitForMaskedImageModeling
from beit.models_flax.model import FlaxBeitModel, FlaxBeitModule
from beit.models_flax.pretrained import FlaxBeitPreTrainedModel
from beit.models_flax.segmentation import FlaxBeitForSemanticSegmentation
from beit.models_flax.tracing import register_outputs

register_outputs()

__all__ = [
    "FlaxBeitBackbone",
    "FlaxBeitForImageClassification",
    "FlaxBeitForMaskedImageModeling",
    "FlaxBeitForSemanticSegmentation",
    "FlaxBeitModel",
    "FlaxBeitModule",
    "FlaxBeitPreTrainedModel",
]
