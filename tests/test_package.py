import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import beit

ROOT = Path(__file__).parents[1]
FROZEN_API = [
    "AutoModelForSemanticSegmentation",
    "AutoModelForMaskedImageModeling",
    "AutoModelForImageClassification",
    "AutoModel",
    "AutoBackbone",
    "AutoFeatureExtractor",
    "AutoConfig",
    "AutoImageProcessor",
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
    "VQKD",
    "VQKDConfig",
    "VisualTokenizer",
    "__version__",
    "load_tokenizer",
    "preset",
    "register_with_transformers",
]


def test_public_names_are_frozen():
    assert sorted(beit.__all__) == sorted(FROZEN_API)
    assert set(FROZEN_API) <= set(dir(beit))


@pytest.mark.parametrize("name", FROZEN_API)
def test_every_public_name_resolves(name):
    assert getattr(beit, name) is not None


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'BeitFor'"):
        beit.BeitFor  # noqa: B018


@pytest.mark.parametrize(
    "name", ["AutoModelForImageRetrieval", "FlaxAutoModelForMaskedLM", "TFBeitForImageClassification"]
)
def test_a_name_of_transformers_is_an_import_error_that_names_ours(name):
    with pytest.raises(
        ImportError, match=f"beit has no {name}: take one of .*Beit|AutoModel.*, or that of transformers"
    ):
        getattr(beit, name)


def test_import_loads_no_framework():
    code = "import sys, beit; print(sorted({'torch', 'jax', 'numpy', 'PIL'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.e2e
def test_export_is_found_in_its_package_and_loaded_on_use():
    code = (
        "import sys; from beit.inference import export as package; print('torch' in sys.modules, package.__all__);"
        "print([getattr(package, name).__module__ for name in package.__all__])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "False ['ExportJob', 'export']",
        "['beit.settings.export', 'beit.inference.export.job']",
    ]


def test_arithmetic_rooms_load_no_framework():
    code = (
        "import sys, beit.config, beit.catalog, beit.outputs, beit.geometry, beit.image, beit.weights;"
        "print(sorted({'torch', 'jax'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.e2e
def test_a_first_answer_needs_no_algebra(tmp_path):
    """Operations on the meta device and symbolic shapes bring sympy along, half a second and 35 MB."""
    config = beit.BeitConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    beit.BeitForImageClassification(config).save_pretrained(tmp_path)
    code = (
        "import sys, torch; from beit import BeitForImageClassification as Model; before = 'sympy' in sys.modules;"
        f"Model.from_pretrained({str(tmp_path)!r})(torch.zeros(1, 3, 224, 224));"
        "print(before, 'sympy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
USERS = {need for extra, needs in PROJECT["optional-dependencies"].items() if extra != "dev" for need in needs}


@pytest.mark.parametrize("need", sorted({*PROJECT["dependencies"], *USERS}))
def test_every_dependency_has_an_oldest_and_a_newest_version(need):
    """The oldest in pyproject.toml, the newest that the tests have run with in constraints.txt; here is one between."""
    requirement = Requirement(need)
    assert any(bound.operator in (">=", "==") for bound in requirement.specifier), "the oldest"
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    held = {canonicalize_name(bound.name): bound for bound in map(Requirement, lines)}
    newest = held[canonicalize_name(requirement.name)]
    installed = Version(version(requirement.name)).public
    assert requirement.specifier.contains(installed)
    assert newest.specifier.contains(installed), "raise its line in constraints.txt when all tests pass with it"
