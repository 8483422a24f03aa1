"""The loss of pre-training, and its targets: when nothing can be learnt from them."""

import pytest
import torch
from torch.nn import functional

from beit import BeitForMaskedImageModeling, preset
from beit.models_torch import MaskedPatchDecoder, PatchAggregation
from beit.tasks.pretrain.loss import PretrainLoss, objection_to, visual_tokens
from beit.tokenizer import DiscreteVAE, DiscreteVAEConfig, TokenEncoder
from tests.conftest import TINY_MODEL


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return TokenEncoder(DiscreteVAE(DiscreteVAEConfig(20, 8, 1, 2, 8)))


ABSOLUTE = {"use_absolute_position_embeddings": True, "use_shared_relative_position_bias": False}


def objective_of(encoder, most, early_layer=None, decoder_layers=None):
    options = {"vocab_size": 20, "drop_path_rate": 0.0, **(ABSOLUTE if decoder_layers else {})}
    model = BeitForMaskedImageModeling(preset("tiny", **{**TINY_MODEL, **options}))
    aggregation = PatchAggregation(model, early_layer, 1) if early_layer else None
    decoder = MaskedPatchDecoder(model, decoder_layers) if decoder_layers else None
    return PretrainLoss(model, encoder, most, aggregation, decoder)


def batch(objective, masked, seed=1):
    """Return a batch whose masks have some numbers of patches."""
    generator = torch.Generator().manual_seed(seed)
    grid, (height, width) = objective.model.beit.embeddings.grid, objective.model.config.image_hw
    mask = torch.zeros(len(masked), grid.patches, dtype=torch.bool)
    for row, count in zip(mask, masked, strict=True):
        row[torch.randperm(grid.patches, generator=generator)[:count]] = True
    return {
        "pixel_values": torch.randn(len(masked), 3, height, width, generator=generator),
        "tokenizer_pixels": torch.rand(len(masked), 3, 2 * grid.height, 2 * grid.width, generator=generator),
        "bool_masked_pos": mask,
    }


def test_the_loss_is_the_mean_over_masked_patches(encoder):
    objective = objective_of(encoder, most=6).eval()
    tensors = batch(objective, [6, 4, 5])
    values = objective(objective.prepare(tensors))
    mask = tensors["bool_masked_pos"]
    labels = visual_tokens(encoder, tensors)[mask]
    logits = objective.model(tensors["pixel_values"], mask, return_dict=True).logits[mask]
    torch.testing.assert_close(values["loss"], functional.cross_entropy(logits, labels))
    torch.testing.assert_close(values["accuracy"], (logits.argmax(-1) == labels).float().mean())
    share = torch.bincount(logits.argmax(-1), minlength=20) / len(labels)
    torch.testing.assert_close(values["prediction_perplexity"], share)


def test_with_a_decoder_the_prediction_is_the_decoders(encoder):
    objective = objective_of(encoder, most=6, decoder_layers=1).eval()
    tensors = batch(objective, [6, 6, 6])
    values = objective(objective.prepare(tensors))
    mask = tensors["bool_masked_pos"]
    labels = visual_tokens(encoder, tensors)[mask]
    logits = objective.decoder(objective.model, tensors["pixel_values"], mask)
    torch.testing.assert_close(values["loss"], functional.cross_entropy(logits, labels))
    torch.testing.assert_close(values["accuracy"], (logits.argmax(-1) == labels).float().mean())
    assert not torch.allclose(logits, objective.model.masked_logits(tensors["pixel_values"], mask))


@pytest.mark.e2e
@pytest.mark.parametrize("options", [{}, {"early_layer": 1}, {"decoder_layers": 1}], ids=["plain", "v2", "decoder"])
def test_it_compiles_once_and_whole(encoder, options):
    """No graph break (fullgraph) and no second compilation, however many patches the masks have."""
    torch.compiler.reset()
    objective = objective_of(encoder, most=6, **options).train()
    compilations = []

    def backend(graph, inputs):
        compilations.append(graph)
        return graph.forward

    compiled = torch.compile(objective, backend=backend, fullgraph=True)
    counts = ([6, 6], [6, 6], [6, 6]) if objective.decoder else ([6, 4], [5, 5], [3, 6])
    for step, masked in enumerate(counts):
        prepared = objective.prepare(batch(objective, masked, seed=step))
        torch.testing.assert_close(compiled(prepared, step / 10)["loss"], objective(prepared, step / 10)["loss"])
    assert len(compilations) == 1


@pytest.mark.parametrize(
    ("counts", "objects"),
    [
        ([25] * 16, False),
        ([50, 50] + [0] * 14, False),
        ([970, 20, 10] + [0] * 13, True),
        ([400] + [0] * 15, True),
        ([50, 50], False),  # a codebook of two
        ([97, 3], False),
        ([999, 1], True),
        ([0] * 16, False),  # no picture was usable, which others report
    ],
)
def test_targets_that_are_nearly_always_the_same_are_objected_to(counts, objects):
    assert (objection_to(torch.tensor(counts, dtype=torch.float64), pictures=7) is not None) == objects


def test_the_objection_names_numbers_and_remedies():
    objection = objection_to(torch.tensor([970.0, 30.0] + [0.0] * 14), pictures=7)
    for words in ("7 training pictures have a perplexity of 1.14", "97.0% of all patches", "tokenizer.path", "longer"):
        assert words in objection
