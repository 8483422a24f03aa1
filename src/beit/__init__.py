"""BEiT, whole: visual tokens, masked image modelling, fine-tuning, evaluation and prediction.

Names are resolved on first use (PEP 562), so that `import beit` costs nothing and needs no framework.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from beit.catalog import preset as preset
    from beit.config import BeitConfig as BeitConfig
    from beit.errors import BeitError as BeitError
    from beit.inference.predictor import Predictor as Predictor
    from beit.models_torch import BeitForImageClassification as BeitForImageClassification
    from beit.models_torch import BeitForMaskedImageModeling as BeitForMaskedImageModeling
    from beit.models_torch import BeitModel as BeitModel
    from beit.models_torch import BeitPreTrainedModel as BeitPreTrainedModel
    from beit.tokenizer import DiscreteVAE as DiscreteVAE
    from beit.tokenizer import DiscreteVAEConfig as DiscreteVAEConfig

__version__ = "0.1.0"

_HOME = {
    "BeitConfig": "beit.config",
    "BeitError": "beit.errors",
    "BeitForImageClassification": "beit.models_torch",
    "BeitForMaskedImageModeling": "beit.models_torch",
    "BeitModel": "beit.models_torch",
    "BeitPreTrainedModel": "beit.models_torch",
    "DiscreteVAE": "beit.tokenizer",
    "DiscreteVAEConfig": "beit.tokenizer",
    "Predictor": "beit.inference.predictor",
    "preset": "beit.catalog",
}
__all__ = [
    "BeitConfig",
    "BeitError",
    "BeitForImageClassification",
    "BeitForMaskedImageModeling",
    "BeitModel",
    "BeitPreTrainedModel",
    "DiscreteVAE",
    "DiscreteVAEConfig",
    "Predictor",
    "__version__",
    "preset",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'beit' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
