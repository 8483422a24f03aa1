"""Our models against transformers 5 with random options, and where transformers errs, against the formula itself."""

from math import prod
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

import beit
from beit import BeitConfig
from tests.interop.drawn import POSITIONS, backbones, cases, flags, segmentations
from tests.interop.formula import formula
from tests.interop.models import assert_close, randomised

TABLE = "relative_position_bias.relative_position_bias_table"
# Our parameter -> theirs, inside the encoder; and the names outside of it.
ENCODER = {
    "embeddings.cls_token": "embeddings.cls_token",
    "embeddings.mask_token": "embeddings.mask_token",
    "embeddings.patch_embeddings.projection.weight": "embeddings.patch_embeddings.projection.weight",
    "embeddings.position_embeddings": "embeddings.position_embeddings",
    f"encoder.{TABLE}": "shared_position_bias.relative_position_bias_table",
    f"encoder.layer.0.attention.attention.{TABLE}": f"layers.0.{TABLE}",
    "encoder.layer.0.attention.attention.query.bias": "layers.0.attention.q_proj.bias",
    "encoder.layer.0.attention.output.dense.weight": "layers.0.attention.o_proj.weight",
    "encoder.layer.0.intermediate.dense.weight": "layers.0.mlp.fc1.weight",
    "encoder.layer.0.lambda_1": "layers.0.lambda_1",
    "pooler.layernorm.weight": "pooler.layernorm.weight",
}
HEADS = {
    "lm_head.weight": "lm_head.weight",
    "layernorm.weight": "layernorm.weight",
    "classifier.weight": "classifier.weight",
    "fpn2.0.weight": "fpn.fpn2.weight",
    "fpn1.1.weight": "fpn.fpn1.normalization.weight",
    "decode_head.classifier.weight": "decode_head.classifier.weight",
    "decode_head.bottleneck.conv.weight": "decode_head.psp_bottleneck.convolution.weight",
    "auxiliary_head.classifier.weight": "auxiliary_head.classifier.weight",
}
few = settings(max_examples=30, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def hf():
    """Load transformers, quietly."""
    transformers = pytest.importorskip("transformers", minversion="5.0")
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


@pytest.fixture(scope="module")
def erring(hf):
    """Skip what documents a defect of one version of transformers under any other."""
    if not hf.__version__.startswith("5.23."):
        pytest.skip(f"documents transformers 5.23, this is {hf.__version__}")
    return hf


def built(hf, kind, options, seed):
    """Our model with random values, and what transformers makes of the folder that we save."""
    ours = randomised(getattr(beit, kind)(BeitConfig(**options)), seed)
    theirs, report = published(hf, ours)
    assert not any(report.values()), report
    return ours, theirs


def published(hf, ours):
    with TemporaryDirectory() as folder:
        ours.save_pretrained(folder)
        kind = getattr(hf, type(ours).__name__)
        return kind.from_pretrained(folder, attn_implementation="eager", output_loading_info=True)


def pixels_for(options, size, seed, batch=2):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(batch, options["num_channels"], *size, generator=rng)


def random_mask(options, size, seed):
    """Some patches of every picture, at least one."""
    patch = options["patch_size"]
    count = prod(size) // (patch * patch if isinstance(patch, int) else prod(patch))
    mask = torch.rand(2, count, generator=torch.Generator().manual_seed(seed)) < 0.5
    mask[:, 0] = True
    return mask


def assert_same(ours, theirs, arguments, names):
    """Compare outputs, hidden states, attention maps and gradients; then the fused kernel with the reference."""
    wanted = {"output_hidden_states": True, "output_attentions": True}
    one, other = ours(**arguments, **wanted), theirs(**arguments, **wanted)
    for name in (*names, "hidden_states", "attentions"):
        assert_close(one[name], other[name], name)
    for output in (one, other):
        scalar_of(output, names).backward()
    assert_same_gradients(ours, theirs)
    with torch.no_grad():
        quick = ours(**arguments)
    assert "attentions" not in quick
    for name in names:
        assert_close(quick[name], other[name], f"fused {name}")


def scalar_of(output, names):
    """The loss, or a sum of the outputs with weights that differ."""
    if "loss" in names:
        return output.loss
    values = output[names[0]]
    values = values if isinstance(values, tuple) else (values,)
    return sum((value * torch.linspace(-1, 2, value.numel()).view(value.shape)).sum() for value in values)


def assert_same_gradients(ours, theirs):
    root = "beit." if hasattr(ours, "beit") else ""
    their_root = "beit." if hasattr(theirs, "beit") else ""
    pairs = {root + name: their_root + other for name, other in ENCODER.items()}
    pairs |= HEADS
    own, other = dict(ours.named_parameters()), dict(theirs.named_parameters())
    shared = [name for name in pairs if name in own and own[name].grad is not None]
    for name in shared:
        assert_close(own[name].grad, other[pairs[name]].grad, f"gradient of {name}")
    assert len(shared) >= 2


@few
@given(cases(), seeds, flags)
def test_model(hf, case, seed, masked):
    options, size = case
    ours, theirs = built(hf, "BeitModel", options, seed)
    arguments = {"pixel_values": pixels_for(options, size, seed)}
    if masked and options["use_mask_token"]:
        arguments["bool_masked_pos"] = random_mask(options, size, seed)
    assert_same(ours, theirs, arguments, ["pooler_output", "last_hidden_state"])


@few
@given(cases(pooling=st.just(True)), seeds)
def test_masked_image_modeling(hf, case, seed):
    options, size = case
    ours, theirs = built(hf, "BeitForMaskedImageModeling", options | {"use_mask_token": True}, seed)
    mask = random_mask(options, size, seed)
    labels = torch.randint(11, (int(mask.sum()),), generator=torch.Generator().manual_seed(seed))
    arguments = {"pixel_values": pixels_for(options, size, seed), "bool_masked_pos": mask, "labels": labels}
    assert_same(ours, theirs, arguments, ["loss", "logits"])


PROBLEMS = ["regression", "single_label_classification", "multi_label_classification"]


@few
@given(cases(), seeds, st.sampled_from(PROBLEMS), st.integers(1, 5), flags)
def test_classification(hf, case, seed, problem, classes, stated):
    options, size = case
    if problem == "single_label_classification":
        classes = max(classes, 2)  # one class is refused there
    rng = torch.Generator().manual_seed(seed)
    labels = {
        "regression": torch.randn((2, classes) if classes > 1 else (2,), generator=rng),
        "single_label_classification": torch.randint(classes, (2,), generator=rng),
        "multi_label_classification": torch.rand(2, classes, generator=rng).round(),
    }[problem]
    # the problem type inferred from labels alone: floats mean regression for one class, several labels at once for more
    inferable = (problem == "regression") == (classes == 1)
    options = options | {"num_labels": classes, "problem_type": problem if stated or not inferable else None}
    ours, theirs = built(hf, "BeitForImageClassification", options, seed)
    arguments = {"pixel_values": pixels_for(options, size, seed), "labels": labels}
    assert_same(ours, theirs, arguments, ["loss", "logits"])
    assert ours.config.problem_type == theirs.config.problem_type == problem


@few
@given(segmentations(), seeds)
def test_segmentation(hf, case, seed):
    options, size = case
    ours, theirs = built(hf, "BeitForSemanticSegmentation", options, seed)
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(options["num_labels"], (2, *size), generator=rng)
    labels[torch.rand(labels.shape, generator=rng) < 0.3] = options["semantic_loss_ignore_index"]
    labels[0, 0, 0] = 1
    arguments = {"pixel_values": pixels_for(options, size, seed), "labels": labels}
    assert_same(ours, theirs, arguments, ["loss", "logits"])
    with torch.no_grad():  # batch norms by the statistics of the batch, which they also record
        one, other = ours.train()(**arguments), theirs.train()(**arguments)
    assert_close((one.loss, one.logits), (other.loss, other.logits), "training", times=10)
    recorded = ours.decode_head.bottleneck.bn.running_var, theirs.decode_head.psp_bottleneck.normalization.running_var
    assert_close(*recorded, "running variance", times=10)


@few
@given(backbones(), seeds)
def test_backbone(hf, case, seed):
    options, size = case
    ours, theirs = built(hf, "BeitBackbone", options, seed)
    assert ours.channels == theirs.channels
    assert ours.out_features == list(theirs.out_features)
    assert_same(ours, theirs, {"pixel_values": pixels_for(options, size, seed)}, ["feature_maps"])


def by_formula(ours, pixels, mask=None):
    with TemporaryDirectory() as folder:
        ours.save_pretrained(folder)
        return formula(folder, ours.config, pixels, mask)


def assert_formula(ours, pixels, mask=None):
    hidden, maps, pooled = by_formula(ours, pixels, mask)
    with torch.no_grad():
        output = ours(pixels, mask, output_hidden_states=True, output_attentions=True)
        quick = ours(pixels, mask)
    assert_close(output.hidden_states, tuple(hidden), "hidden states")
    assert_close(output.attentions, tuple(maps), "attentions")
    assert_close(output.pooler_output, pooled, "pooled")
    assert_close(quick.pooler_output, pooled, "fused")
    return pooled


@settings(few, max_examples=60)
@given(cases(sound=False), seeds, flags)
def test_the_formula(case, seed, masked):
    """Also where transformers errs: grids and patches that are no square, positions on them, masks, "selu"."""
    options, size = case
    ours = randomised(beit.BeitModel(BeitConfig(**options)), seed)
    mask = random_mask(options, size, seed) if masked and options["use_mask_token"] else None
    assert_formula(ours, pixels_for(options, size, seed), mask)


# What follows documents defects of transformers 5.23, each beside what is right.

SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "image_size": 16,
    "patch_size": 4,
    "num_channels": 3,
    "vocab_size": 11,
}


def disagree(one, other):
    return not torch.allclose(one, other, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("positions", POSITIONS[1:])
def test_bias_of_a_grid_that_is_no_square(erring, positions):
    """It reads the table as (width, height), so bias is wrong even at the model's own size."""
    options = SMALL | {"image_size": [8, 16], positions: True}
    ours, theirs = built(erring, "BeitModel", options, 0)
    pixels = pixels_for(options, (8, 16), 0)
    right = assert_formula(ours, pixels)
    assert disagree(theirs(pixels).pooler_output.double(), right)


def test_positions_of_a_grid_that_is_no_square(erring):
    """It takes the grid for a square: 2 x 4 patches raise, 1 x 4 become a stretched 2 x 2."""
    for size, silent in (((8, 16), False), ((4, 16), True)):
        options = SMALL | {"image_size": list(size), "use_absolute_position_embeddings": True}
        ours, theirs = built(erring, "BeitModel", options, 0)
        pixels = pixels_for(options, size, 0)
        assert_formula(ours, pixels)
        if silent:
            states = by_formula(ours, pixels)[0]
            assert disagree(theirs(pixels, output_hidden_states=True).hidden_states[0].double(), states[0])
        else:
            with pytest.raises(RuntimeError, match="is invalid for input of size"):
                theirs(pixels)


def test_patches_that_are_no_square(erring):
    """A bias divides the image size by the pair; so do backbones, segmentation, and positions at another size."""
    options = SMALL | {"patch_size": [4, 8]}
    pixels = pixels_for(options, (16, 16), 0)
    biased = randomised(beit.BeitModel(BeitConfig(**options, use_relative_position_bias=True)), 0)
    assert_formula(biased, pixels)
    with pytest.raises(TypeError, match="unsupported operand"):
        published(erring, biased)
    _, theirs = built(erring, "BeitBackbone", options, 0)
    with pytest.raises(TypeError, match="unsupported operand"):
        theirs(pixels)


def test_two_norms_of_masked_image_modeling_are_swapped(erring):
    """With use_mean_pooling=False, "layernorm" and "beit.layernorm" are both loaded into the wrong place."""
    options = SMALL | {"use_mask_token": True, "use_mean_pooling": False}
    ours, theirs = built(erring, "BeitForMaskedImageModeling", options, 0)
    pixels, mask = pixels_for(options, (16, 16), 0), random_mask(options, (16, 16), 0)
    assert torch.equal(theirs.layernorm.weight, ours.beit.layernorm.weight)
    assert torch.equal(theirs.beit.layernorm.weight, ours.layernorm.weight)
    assert disagree(ours(pixels, mask).logits, theirs(pixels, mask).logits)
    theirs.layernorm, theirs.beit.layernorm = theirs.beit.layernorm, theirs.layernorm
    assert_close(ours(pixels, mask).logits, theirs(pixels, mask).logits)


def test_forms_of_masked_labels(erring):
    """It takes the list of masked tokens with a boolean mask alone; a map, a 0/1 mask, or no mask raise."""
    options = SMALL | {"use_mask_token": True}
    ours, theirs = built(erring, "BeitForMaskedImageModeling", options, 0)
    pixels, mask = pixels_for(options, (16, 16), 0), random_mask(options, (16, 16), 0)
    tokens = torch.arange(mask.numel()).view(mask.shape) % 11
    reference = theirs(pixels, mask, labels=tokens[mask]).loss
    plain = functional.cross_entropy(theirs(pixels).logits.flatten(0, 1), tokens.flatten())
    forms = [(mask, tokens, reference), (mask.long(), tokens[mask], reference), (None, tokens, plain)]
    for given_mask, labels, right in forms:
        assert_close(ours(pixels, given_mask, labels=labels).loss, right)
        with pytest.raises(ValueError, match="Expected input batch_size"):
            theirs(pixels, given_mask, labels=labels)


def test_every_label_ignored(erring):
    """A mean over no pixel is not a number there; no pixel, no loss."""
    options = SMALL | {"num_hidden_layers": 4, "out_indices": [1, 2, 3, 4], "num_labels": 3, "auxiliary_channels": 5}
    ours, theirs = built(erring, "BeitForSemanticSegmentation", options, 0)
    pixels, labels = pixels_for(options, (16, 16), 0), torch.full((2, 16, 16), 255)
    loss = ours(pixels, labels=labels).loss
    assert loss == 0
    loss.backward()
    assert not any(parameter.grad.any() for parameter in ours.parameters() if parameter.grad is not None)
    assert theirs(pixels, labels=labels).loss.isnan()


def test_epsilon_of_a_pyramid(erring):
    """It keeps batch_norm_eps in the config and computes with 1e-5."""
    options = SMALL | {"num_hidden_layers": 4, "out_indices": [1, 2, 3, 4], "add_fpn": True, "batch_norm_eps": 0.1}
    ours, theirs = built(erring, "BeitBackbone", options, 0)
    pixels = pixels_for(options, (16, 16), 0)
    assert theirs.config.batch_norm_eps == 0.1
    first = ours(pixels).feature_maps[0]
    assert disagree(first, theirs(pixels).feature_maps[0])
    theirs.fpn.fpn1.normalization.eps = 0.1
    assert_close(first, theirs(pixels).feature_maps[0])


def test_a_backbone_that_pools_by_cls(erring):
    """Its backbone holds a final norm that no output uses, and reports it missing from older files."""
    ours = randomised(beit.BeitBackbone(BeitConfig(**SMALL, use_mean_pooling=False)), 0)
    theirs, report = published(erring, ours)
    assert report["missing_keys"] == {"beit.layernorm.weight", "beit.layernorm.bias"}
    pixels = pixels_for(SMALL, (16, 16), 0)
    assert_close(ours(pixels).feature_maps, theirs(pixels).feature_maps)


def test_a_forward_in_inference_mode(erring):
    """Its index is cached for the whole process: made in inference mode, it breaks the training of every model."""
    options = SMALL | {"image_size": 20, "use_relative_position_bias": True}
    ours, theirs = built(erring, "BeitModel", options, 0)
    pixels = pixels_for(options, (36, 20), 0)  # a size of its own: no other test meets the broken index
    for model in (ours, theirs):
        with torch.inference_mode():
            model(pixels)
    ours(pixels).pooler_output.sum().backward()
    with pytest.raises(RuntimeError, match="Inference tensors cannot be saved for backward"):
        theirs(pixels).pooler_output.sum().backward()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"layer_scale_init_value": 0}, Exception, "expected float, got int"),
        ({"hidden_act": "selu"}, KeyError, "selu"),
        ({"num_labels": 1, "problem_type": "single_label_classification"}, ValueError, "requires `num_labels > 1`"),
    ],
)
def test_options_it_refuses(erring, options, error, message):
    """No layer scale as a whole number, and "selu", are documented; one class of its own has a loss of 0."""
    ours = beit.BeitForImageClassification(BeitConfig(**SMALL, **options))
    assert torch.isfinite(ours(pixels_for(SMALL, (16, 16), 0)).logits).all()
    with pytest.raises(error, match=message):
        erring.BeitForImageClassification(erring.BeitConfig(**SMALL, **options))


def test_half_precision_survives(hf, tmp_path):
    """Their model, loaded by us, cast and saved, is loaded by them in half precision."""
    published(hf, beit.BeitModel(BeitConfig(**SMALL)))[0].save_pretrained(tmp_path / "theirs")
    beit.BeitModel.from_pretrained(tmp_path / "theirs", layer_norm_eps=1e-6).half().save_pretrained(tmp_path / "half")
    assert hf.BeitModel.from_pretrained(tmp_path / "half").dtype == torch.float16
