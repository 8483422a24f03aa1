"""Auto classes: the class by the type in a config, of a folder, a file, and a config."""

import pytest

import beit
from beit import AutoConfig, AutoModel, AutoModelForImageClassification
from beit.errors import CheckpointError, ConfigError
from beit.models_torch.auto import AUTO_MODELS
from tests.conftest import GOLDEN, TINY_MODEL

CLASSIFIER, DATA2VEC = GOLDEN / "hf_v4/classify_single", GOLDEN / "data2vec/classify"
HEADS = [
    ("AutoModel", CLASSIFIER, "BeitModel"),
    ("AutoModel", DATA2VEC, "Data2VecVisionModel"),
    ("AutoModelForImageClassification", CLASSIFIER, "BeitForImageClassification"),
    ("AutoModelForImageClassification", CLASSIFIER / "model.safetensors", "BeitForImageClassification"),
    ("AutoModelForImageClassification", DATA2VEC, "Data2VecVisionForImageClassification"),
    ("AutoModelForImageClassification", GOLDEN / "timm/beit", "BeitForImageClassification"),
    ("AutoModelForSemanticSegmentation", GOLDEN / "hf_v4/segment", "BeitForSemanticSegmentation"),
    ("AutoModelForSemanticSegmentation", GOLDEN / "data2vec/segment", "Data2VecVisionForSemanticSegmentation"),
    ("AutoModelForMaskedImageModeling", GOLDEN / "hf_v4/mim", "BeitForMaskedImageModeling"),
    ("AutoBackbone", CLASSIFIER, "BeitBackbone"),
]


@pytest.mark.parametrize(("auto", "source", "kind"), HEADS, ids=lambda one: getattr(one, "name", one))
def test_the_class_is_that_of_the_checkpoint(auto, source, kind):
    model = getattr(beit, auto).from_pretrained(source)
    assert type(model) is getattr(beit, kind)
    again = getattr(beit, auto).from_pretrained(source, config=model.config)
    assert type(again) is type(model)
    assert type(getattr(beit, auto).from_config(model.config)) is type(model)


def test_options_go_on_to_the_class():
    model, said = AutoModelForImageClassification.from_pretrained(CLASSIFIER, num_labels=4, output_loading_info=True)
    assert model.config.num_labels == 4
    assert said["mismatched_keys"] == ["classifier.bias", "classifier.weight"]
    assert AutoModel.from_pretrained(CLASSIFIER, add_pooling_layer=False).pooler is None


def test_what_there_is_not():
    with pytest.raises(ConfigError, match="there is no AutoBackbone; expected beit"):
        beit.AutoBackbone.from_pretrained(DATA2VEC)
    with pytest.raises(CheckpointError, match="/nowhere does not exist"):
        AutoModel.from_pretrained("/nowhere")
    with pytest.raises(ConfigError, match=r"AutoModel has no instances; call AutoModel\.from_pretrained"):
        AutoModel()
    with pytest.raises(ConfigError, match="AutoConfig has no instances"):
        AutoConfig()
    with pytest.raises(ConfigError, match="the config describes a model of type 'vit'"):
        AutoConfig.for_model("vit")


def test_configs():
    assert type(AutoConfig.from_pretrained(CLASSIFIER)) is beit.BeitConfig
    assert type(AutoConfig.from_pretrained(DATA2VEC, num_labels=2)) is beit.Data2VecVisionConfig
    assert AutoConfig.for_model("beit", **TINY_MODEL) == beit.BeitConfig(**TINY_MODEL)


def test_every_class_is_there():
    for auto, classes in AUTO_MODELS.items():
        assert getattr(beit, auto).name == auto
        assert all(hasattr(beit, kind) for kind in classes.values())


def test_names_of_theirs_that_are_not_here():
    with pytest.raises(ImportError, match=r"beit has no pipeline: take Predictor"):
        from beit import pipeline  # noqa: F401
    with pytest.raises(ImportError, match="beit has no TFData2VecVisionModel: take Data2VecVisionModel"):
        from beit import TFData2VecVisionModel  # noqa: F401
    with pytest.raises(ImportError, match=r"beit has no set_seed: take torch\.manual_seed"):
        from beit import set_seed  # noqa: F401
