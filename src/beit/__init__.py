"""BEiT: visual tokens, masked image modelling, fine-tuning, evaluation and prediction.

Names are resolved on first use (PEP 562), so that `import beit` costs nothing and needs no framework.
"""

import difflib
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from beit.catalog import preset as preset
    from beit.config import AutoConfig as AutoConfig
    from beit.config import BeitConfig as BeitConfig
    from beit.config import Data2VecVisionConfig as Data2VecVisionConfig
    from beit.errors import BeitError as BeitError
    from beit.image import AutoFeatureExtractor as AutoFeatureExtractor
    from beit.image import AutoImageProcessor as AutoImageProcessor
    from beit.image import BeitFeatureExtractor as BeitFeatureExtractor
    from beit.image import BeitImageProcessor as BeitImageProcessor
    from beit.image import BeitImageProcessorFast as BeitImageProcessorFast
    from beit.image import BeitImageProcessorPil as BeitImageProcessorPil
    from beit.inference.predictor import Predictor as Predictor
    from beit.models_flax import FlaxBeitBackbone as FlaxBeitBackbone
    from beit.models_flax import FlaxBeitForImageClassification as FlaxBeitForImageClassification
    from beit.models_flax import FlaxBeitForMaskedImageModeling as FlaxBeitForMaskedImageModeling
    from beit.models_flax import FlaxBeitForSemanticSegmentation as FlaxBeitForSemanticSegmentation
    from beit.models_flax import FlaxBeitModel as FlaxBeitModel
    from beit.models_flax import FlaxBeitModule as FlaxBeitModule
    from beit.models_flax import FlaxBeitPreTrainedModel as FlaxBeitPreTrainedModel
    from beit.models_torch import BeitBackbone as BeitBackbone
    from beit.models_torch import BeitForImageClassification as BeitForImageClassification
    from beit.models_torch import BeitForMaskedImageModeling as BeitForMaskedImageModeling
    from beit.models_torch import BeitForSemanticSegmentation as BeitForSemanticSegmentation
    from beit.models_torch import BeitModel as BeitModel
    from beit.models_torch import BeitPreTrainedModel as BeitPreTrainedModel
    from beit.models_torch import Data2VecVisionForImageClassification as Data2VecVisionForImageClassification
    from beit.models_torch import Data2VecVisionForSemanticSegmentation as Data2VecVisionForSemanticSegmentation
    from beit.models_torch import Data2VecVisionModel as Data2VecVisionModel
    from beit.models_torch import Data2VecVisionPreTrainedModel as Data2VecVisionPreTrainedModel
    from beit.models_torch.auto import AutoBackbone as AutoBackbone
    from beit.models_torch.auto import AutoModel as AutoModel
    from beit.models_torch.auto import AutoModelForImageClassification as AutoModelForImageClassification
    from beit.models_torch.auto import AutoModelForMaskedImageModeling as AutoModelForMaskedImageModeling
    from beit.models_torch.auto import AutoModelForSemanticSegmentation as AutoModelForSemanticSegmentation
    from beit.models_torch.registration import register_with_transformers as register_with_transformers
    from beit.outputs import BackboneOutput as BackboneOutput
    from beit.outputs import BaseModelOutput as BaseModelOutput
    from beit.outputs import BeitModelOutputWithPooling as BeitModelOutputWithPooling
    from beit.outputs import FlaxBackboneOutput as FlaxBackboneOutput
    from beit.outputs import FlaxBeitModelOutputWithPooling as FlaxBeitModelOutputWithPooling
    from beit.outputs import FlaxMaskedLMOutput as FlaxMaskedLMOutput
    from beit.outputs import FlaxSemanticSegmenterOutput as FlaxSemanticSegmenterOutput
    from beit.outputs import FlaxSequenceClassifierOutput as FlaxSequenceClassifierOutput
    from beit.outputs import ImageClassifierOutput as ImageClassifierOutput
    from beit.outputs import MaskedLMOutput as MaskedLMOutput
    from beit.outputs import SemanticSegmenterOutput as SemanticSegmenterOutput
    from beit.tokenizer import VQKD as VQKD
    from beit.tokenizer import DiscreteVAE as DiscreteVAE
    from beit.tokenizer import DiscreteVAEConfig as DiscreteVAEConfig
    from beit.tokenizer import KMeansConfig as KMeansConfig
    from beit.tokenizer import KMeansTokenizer as KMeansTokenizer
    from beit.tokenizer import VisualTokenizer as VisualTokenizer
    from beit.tokenizer import VQKDConfig as VQKDConfig
    from beit.tokenizer import load_tokenizer as load_tokenizer

__version__ = "0.1.0"

_HOME = {
    "AutoModelForSemanticSegmentation": "beit.models_torch.auto",
    "AutoModelForMaskedImageModeling": "beit.models_torch.auto",
    "AutoModelForImageClassification": "beit.models_torch.auto",
    "AutoModel": "beit.models_torch.auto",
    "AutoBackbone": "beit.models_torch.auto",
    "AutoFeatureExtractor": "beit.image",
    "AutoConfig": "beit.config",
    "AutoImageProcessor": "beit.image",
    "BackboneOutput": "beit.outputs",
    "BaseModelOutput": "beit.outputs",
    "BeitBackbone": "beit.models_torch",
    "BeitConfig": "beit.config",
    "BeitError": "beit.errors",
    "BeitFeatureExtractor": "beit.image",
    "BeitForImageClassification": "beit.models_torch",
    "BeitForMaskedImageModeling": "beit.models_torch",
    "BeitForSemanticSegmentation": "beit.models_torch",
    "BeitImageProcessor": "beit.image",
    "BeitImageProcessorFast": "beit.image",
    "BeitImageProcessorPil": "beit.image",
    "BeitModel": "beit.models_torch",
    "BeitModelOutputWithPooling": "beit.outputs",
    "BeitPreTrainedModel": "beit.models_torch",
    "Data2VecVisionConfig": "beit.config",
    "Data2VecVisionForImageClassification": "beit.models_torch",
    "Data2VecVisionForSemanticSegmentation": "beit.models_torch",
    "Data2VecVisionModel": "beit.models_torch",
    "Data2VecVisionPreTrainedModel": "beit.models_torch",
    "DiscreteVAE": "beit.tokenizer",
    "DiscreteVAEConfig": "beit.tokenizer",
    "FlaxBackboneOutput": "beit.outputs",
    "FlaxBeitBackbone": "beit.models_flax",
    "FlaxBeitForImageClassification": "beit.models_flax",
    "FlaxBeitForMaskedImageModeling": "beit.models_flax",
    "FlaxBeitForSemanticSegmentation": "beit.models_flax",
    "FlaxBeitModel": "beit.models_flax",
    "FlaxBeitModule": "beit.models_flax",
    "FlaxBeitModelOutputWithPooling": "beit.outputs",
    "FlaxBeitPreTrainedModel": "beit.models_flax",
    "FlaxMaskedLMOutput": "beit.outputs",
    "FlaxSemanticSegmenterOutput": "beit.outputs",
    "FlaxSequenceClassifierOutput": "beit.outputs",
    "ImageClassifierOutput": "beit.outputs",
    "KMeansConfig": "beit.tokenizer",
    "KMeansTokenizer": "beit.tokenizer",
    "MaskedLMOutput": "beit.outputs",
    "Predictor": "beit.inference.predictor",
    "SemanticSegmenterOutput": "beit.outputs",
    "VQKD": "beit.tokenizer",
    "VQKDConfig": "beit.tokenizer",
    "VisualTokenizer": "beit.tokenizer",
    "load_tokenizer": "beit.tokenizer",
    "preset": "beit.catalog",
    "register_with_transformers": "beit.models_torch.registration",
}
__all__ = [
    "VQKD",
    "AutoBackbone",
    "AutoConfig",
    "AutoFeatureExtractor",
    "AutoImageProcessor",
    "AutoModel",
    "AutoModelForImageClassification",
    "AutoModelForMaskedImageModeling",
    "AutoModelForSemanticSegmentation",
    "BackboneOutput",
    "BaseModelOutput",
    "BeitBackbone",
    "BeitConfig",
    "BeitError",
    "BeitFeatureExtractor",
    "BeitForImageClassification",
    "BeitForMaskedImageModeling",
    "BeitForSemanticSegmentation",
    "BeitImageProcessor",
    "BeitImageProcessorFast",
    "BeitImageProcessorPil",
    "BeitModel",
    "BeitModelOutputWithPooling",
    "BeitPreTrainedModel",
    "Data2VecVisionConfig",
    "Data2VecVisionForImageClassification",
    "Data2VecVisionForSemanticSegmentation",
    "Data2VecVisionModel",
    "Data2VecVisionPreTrainedModel",
    "DiscreteVAE",
    "DiscreteVAEConfig",
    "FlaxBackboneOutput",
    "FlaxBeitBackbone",
    "FlaxBeitForImageClassification",
    "FlaxBeitForMaskedImageModeling",
    "FlaxBeitForSemanticSegmentation",
    "FlaxBeitModel",
    "FlaxBeitModelOutputWithPooling",
    "FlaxBeitModule",
    "FlaxBeitPreTrainedModel",
    "FlaxMaskedLMOutput",
    "FlaxSemanticSegmenterOutput",
    "FlaxSequenceClassifierOutput",
    "ImageClassifierOutput",
    "KMeansConfig",
    "KMeansTokenizer",
    "MaskedLMOutput",
    "Predictor",
    "SemanticSegmenterOutput",
    "VQKDConfig",
    "VisualTokenizer",
    "__version__",
    "load_tokenizer",
    "preset",
    "register_with_transformers",
]


_PIPELINE = "take Predictor, or call register_with_transformers() and take that of transformers"
# Names of transformers that users of its BEiT import, and what does the same here.
_ELSEWHERE = {
    "AutoModelForInstanceSegmentation": "take AutoModelForSemanticSegmentation",
    "AutoModelForPreTraining": "take BeitForMaskedImageModeling",
    "AutoModelForUniversalSegmentation": "take AutoModelForSemanticSegmentation",
    "AutoProcessor": "take AutoImageProcessor",
    "BeitOnnxConfig": "write ONNX by `beit export` or beit.inference.export",
    "DefaultDataCollator": "take that of transformers, which collates for these models",
    "EarlyStoppingCallback": "take that of transformers with its Trainer, or set early_stop of `beit finetune`",
    "FlaxAutoModel": "take FlaxBeitModel",
    "FlaxAutoModelForImageClassification": "take FlaxBeitForImageClassification",
    "ImageClassificationPipeline": _PIPELINE,
    "ImageFeatureExtractionPipeline": _PIPELINE,
    "ImageSegmentationPipeline": _PIPELINE,
    "PreTrainedModel": "take BeitPreTrainedModel",
    "PretrainedConfig": "take BeitConfig",
    "TFAutoModel": "take BeitModel or FlaxBeitModel",
    "TFData2VecVisionForImageClassification": "take Data2VecVisionForImageClassification",
    "TFData2VecVisionForSemanticSegmentation": "take Data2VecVisionForSemanticSegmentation",
    "TFData2VecVisionModel": "take Data2VecVisionModel",
    "Trainer": "take that of transformers, which trains these models, or `beit finetune`",
    "TrainerCallback": "take that of transformers with its Trainer",
    "TrainingArguments": "take that of transformers, whose Trainer trains these models, or `beit finetune`",
    "default_data_collator": "take that of transformers, which collates for these models",
    "pipeline": _PIPELINE,
    "set_seed": "take torch.manual_seed, or set_seed of transformers or accelerate",
}

_THEIRS = ("Auto", "FlaxAuto", "TFAuto", "TFBeit")  # beginnings of names of transformers


def __getattr__(name: str) -> Any:
    if name in _ELSEWHERE:
        raise ImportError(f"beit has no {name}: {_ELSEWHERE[name]}")
    if name not in _HOME and name.startswith(_THEIRS):
        near = difflib.get_close_matches(name, _HOME, n=3, cutoff=0.5)
        raise ImportError(f"beit has no {name}: take one of {', '.join(near)}, or that of transformers if it has it")
    if name not in _HOME:
        raise AttributeError(f"module 'beit' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
