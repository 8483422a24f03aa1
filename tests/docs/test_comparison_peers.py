"""What the comparison says of transformers, looked up in the sources of the versions that it names.

Each check is a cell of the page, the beginning of what it has to say, and what has to hold in the source for it to be
true: so that a new version of a peer, or a new word on the page, is noticed.
"""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

import beit
from tests.docs.test_comparison_page import PAGE, ROOT

V4, V5 = "tf 4", "tf 5"
BEIT, SCRIPT = "models/beit/modeling_beit.py", "models/beit/convert_beit_unilm_to_pytorch.py"


def package(version):
    """The folder of transformers in a version, installed for the tests or for the exchange with it."""
    if version == V5:
        return Path(find_spec("transformers").origin).parent
    found = list((ROOT / ".interop").glob("4.37.2/lib/python*/site-packages/transformers"))
    if not found:
        pytest.skip("transformers 4.37.2 is not here; `make test-interop` installs it")
    return found[0]


def cell(row, version):
    """What the page says in a row about a version."""
    heads = None
    for line in PAGE.splitlines():
        cells = [part.strip() for part in line.strip("|").split("|")] if line.startswith("|") else None
        if cells is None:
            heads = None
        elif heads is None:
            heads = cells
        elif cells[0] == row:
            return next(text for head, text in zip(heads, cells, strict=True) if version in head.split(", "))
    raise AssertionError(f"the page has no row {row!r} on {version}")


def has(file, pattern):
    """A check: whether a file of the package holds a pattern."""

    def check(folder):
        return re.search(pattern, (folder / file).read_text(encoding="utf-8")) is not None

    return check


def lacks(file, pattern):
    """A check: whether a file of the package holds no such pattern."""
    return lambda folder: not has(file, pattern)(folder)


def is_there(file):
    """A check: whether the package has a file."""
    return lambda folder: (folder / file).exists()


def is_gone(file):
    """A check: whether the package has no such file."""
    return lambda folder: not (folder / file).exists()


CHECKS = [
    ("classification", V4, "yes", has(BEIT, "class BeitForImageClassification")),
    ("classification", V5, "yes", has(BEIT, "class BeitForImageClassification")),
    ("masked image modelling", V4, "yes", has(BEIT, "class BeitForMaskedImageModeling")),
    ("masked image modelling", V5, "yes", has(BEIT, "class BeitForMaskedImageModeling")),
    ("data2vec vision models, DiT", V4, "yes", is_there("models/data2vec/modeling_data2vec_vision.py")),
    ("data2vec vision models, DiT", V5, "yes", is_there("models/data2vec/modeling_data2vec_vision.py")),
    ("segmentation (UperNet)", V4, "yes", has(BEIT, "class BeitForSemanticSegmentation")),
    ("segmentation (UperNet)", V5, "yes", has(BEIT, "class BeitForSemanticSegmentation")),
    ("backbone of feature maps", V4, "yes", has(BEIT, "class BeitBackbone")),
    ("backbone of feature maps", V5, "yes", has(BEIT, "class BeitBackbone")),
    ("`prune_heads`", V4, "without", has("modeling_utils.py", "def prune_heads")),
    ("`prune_heads`", V4, "without", lacks(BEIT, r"bias_table.*(kept|prune)")),
    ("`prune_heads`", V5, "no longer", lacks("modeling_utils.py", "def prune_heads")),
    ("BEiT v2 patch aggregation in pre-training", V4, "no", lacks(BEIT, "cls_pt|early_layers")),
    ("BEiT v2 patch aggregation in pre-training", V5, "no", lacks(BEIT, "cls_pt|early_layers")),
    ("pre-training that encodes visible patches only, with a decoder", V4, "no (`vit_mae`", is_there("models/vit_mae")),
    ("pre-training that encodes visible patches only, with a decoder", V5, "no (`vit_mae`", is_there("models/vit_mae")),
    ("JAX / Flax", V5, "none", is_gone("modeling_flax_utils.py")),
    ("fused attention with the bias", V4, "no", lacks(BEIT, "sdpa|scaled_dot_product")),
    ("fused attention with the bias", V5, "yes (`sdpa`)", has(BEIT, "_supports_sdpa = True")),
    ("gradient checkpointing", V4, "yes", has(BEIT, "supports_gradient_checkpointing = True")),
    ("gradient checkpointing", V5, "yes", has(BEIT, "supports_gradient_checkpointing = True")),
    ("`head_mask`", V4, "yes", has(BEIT, "head_mask")),
    ("`head_mask`", V5, "no longer", lacks(BEIT, "head_mask")),
    ("reads the authors' `.pth`", V4, "by a conversion script", is_there(SCRIPT)),
    ("reads the authors' `.pth`", V5, "no", is_gone(SCRIPT)),
    ("reads timm's", V5, "through its wrapper", is_there("models/timm_wrapper")),
    ("reads timm's", V4, "no", is_gone("models/timm_wrapper")),
    ("reads Flax", V4, "yes", is_there("modeling_flax_pytorch_utils.py")),
    ("reads Flax", V5, "no", is_gone("modeling_flax_pytorch_utils.py")),
    ("pickles", V4, "`torch.load(weights_only=True)`", has("modeling_utils.py", "weights_only")),
    ("pickles", V5, "safetensors first", has("modeling_utils.py", "weights_only: bool = True")),
    ("ONNX", V4, "yes (`transformers.onnx`)", is_there("onnx")),
    ("ONNX", V5, "yes (`transformers.exporters`)", is_there("exporters/exporter_onnx.py")),
    ("OpenVINO; 8 bits", V5, "yes, in general", is_there("exporters/exporter_openvino.py")),
    ("OpenVINO; 8 bits", V4, "no", is_gone("exporters")),
    ("block-wise masks", V4, "no", lacks("models/beit/image_processing_beit.py", "mask_generator|MaskingGenerator")),
    ("block-wise masks", V5, "no", lacks("models/beit/image_processing_beit.py", "mask_generator|MaskingGenerator")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("row", "version", "says", "holds"), CHECKS, ids=lambda one: one if isinstance(one, str) else ""
)
def test_a_cell_of_the_page(row, version, says, holds):
    assert cell(row, version).startswith(says)
    assert holds(package(version))


def test_the_classes_in_flax():
    ours = [name for name in beit.__all__ if re.fullmatch(r"FlaxBeit(Model|Backbone|For\w+)", name)]
    assert cell("JAX / Flax", "here") == f"{len(ours)} classes"
    text = (package(V4) / "models/beit/modeling_flax_beit.py").read_text(encoding="utf-8")
    theirs = re.findall(r"class FlaxBeit(?:Model|For\w+)\(FlaxBeitPreTrainedModel\)", text)
    assert cell("JAX / Flax", V4) == f"{len(theirs)} classes"


def test_the_versions_are_those_that_are_looked_up():
    from importlib.metadata import version

    assert f"| tf 5 | transformers {version('transformers')} |" in PAGE
    assert f'__version__ = "{re.search(r"tf 4 . transformers ([0-9.]+)", PAGE)[1].rstrip(",")}"' in (
        package(V4) / "__init__.py"
    ).read_text(encoding="utf-8")
