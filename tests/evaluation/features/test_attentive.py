"""Attentive probe: what it finds, what it is chosen with, and its pass over pictures."""

import numpy as np
import pytest
import torch

from beit.data import Subset, Views, open_source
from beit.errors import DataError
from beit.evaluation.features import attentive
from beit.evaluation.features.attentive import (
    AttentiveProbe,
    attentive_accuracy,
    attentive_split,
    fit_attentive,
    score_attentive,
    train_attentive,
)
from beit.evaluation.features.layers import PictureSet
from beit.evaluation.features.ridge import choosing_split
from beit.image import Preprocessing

CPU = torch.device("cpu")


def hidden_classes(pictures, seed):
    """Patch features (P, 6, 16) of noise: in each picture one patch, anywhere, holds its class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(pictures).remainder(2)
    patches = torch.randn(pictures, 6, 16, generator=generator)
    patches[:, :, 0] = 0.0
    place = torch.randint(6, (pictures,), generator=generator)
    patches[torch.arange(pictures), place, 0] = 8.0 * (2.0 * labels - 1)
    return patches.half(), labels.numpy()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(attentive, "RATE", 1e-2)


def test_it_is_attention_by_its_formula():
    torch.manual_seed(0)
    probe, patches = AttentiveProbe(12, 3).double(), torch.randn(5, 7, 12).double()
    known = probe.norm(patches)
    weight, bias = probe.attention.in_proj_weight.chunk(3), probe.attention.in_proj_bias.chunk(3)
    query, key, value = (
        (states @ weight.T + bias).unflatten(2, (4, 3)).transpose(1, 2)
        for states, weight, bias in zip((probe.query.expand(5, 1, 12), known, known), weight, bias, strict=True)
    )
    shares = (query @ key.transpose(2, 3) / 3**0.5).softmax(dim=3)
    seen = probe.attention.out_proj((shares @ value).transpose(1, 2).flatten(2))
    assert torch.allclose(probe(patches), probe.head(probe.last_norm(seen[:, 0])))


def test_heads_divide_any_width():
    assert AttentiveProbe(16, 2).attention.num_heads == 4
    assert AttentiveProbe(22, 2).attention.num_heads == 2
    assert AttentiveProbe(33, 2)(torch.randn(2, 3, 33)).shape == (2, 2)


def test_it_finds_the_patch_that_counts():
    patches, labels = hidden_classes(200, 0)
    probe, epochs, held_out = fit_attentive(patches, labels, 150, seed=0)
    assert epochs in attentive.EPOCHS
    assert held_out > 0.85
    assert attentive_accuracy(probe, *hidden_classes(300, 1)) > 0.85


def test_epochs_are_those_that_do_best_on_held_out_pictures():
    patches, labels = hidden_classes(120, 0)
    tried = {
        epochs: attentive_accuracy(train_attentive(patches[:90], labels[:90], epochs, 0), patches[90:], labels[90:])
        for epochs in attentive.EPOCHS
    }
    probe, epochs, held_out = fit_attentive(patches, labels, 90, seed=0)
    assert held_out == max(tried.values()) == tried[epochs]
    assert epochs == min(number for number in tried if tried[number] == held_out)
    again = train_attentive(patches, labels, epochs, 0)
    assert all(torch.equal(one, other) for one, other in zip(probe.parameters(), again.parameters(), strict=True))


def test_a_seed_gives_a_probe_and_leaves_the_random_stream_alone():
    patches, labels = hidden_classes(40, 0)
    before = torch.random.get_rng_state()
    weights = [train_attentive(patches, labels, 1, seed).head.weight for seed in (0, 0, 1)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(before, torch.random.get_rng_state())


def test_its_pictures_are_of_both_parts_of_the_ridge_probe():
    known, held_out = choosing_split(100)
    fitted, chosen = attentive_split(100, 40)
    assert (len(fitted), len(chosen)) == (30, 10)
    assert set(fitted) < set(known)
    assert set(chosen) < set(held_out)
    fitted, chosen = attentive_split(30, 40)
    assert sorted([*fitted, *chosen]) == list(range(30))


def digits(*indices):
    """Some handwritten digits as batches, and how they are seen."""
    part = Subset(open_source("digits:train"), np.array(indices, dtype=np.int64))
    return PictureSet(part, Views(Preprocessing.cropping((8, 8), 1.0)), 0, 16, workers=0)


def rows(tensors):
    """Two layers: noise, and the rows of a picture as patches."""
    pixels = tensors["pixel_values"].mean(dim=1)
    return [torch.zeros_like(pixels), pixels]


def test_scores_of_a_pass_are_those_of_its_arrays():
    known, asked = digits(*range(100)), digits(*range(200, 240))
    scores = score_attentive(rows, 2, known, 75, asked, 0, CPU)

    def whole(pictures):
        patches = torch.cat([rows(batch.tensors)[1] for batch in pictures.batches()]).half()
        return patches, pictures.source.labels

    probe, epochs, held_out = fit_attentive(*whole(known), 75, 0)
    assert scores.accuracy == attentive_accuracy(probe, *whole(asked))
    assert (scores.layer, scores.epochs, scores.held_out, scores.pictures) == (2, epochs, held_out, 100)
    assert scores.accuracy > 0.3


def test_features_beyond_half_precision_are_refused():
    with pytest.raises(DataError, match="patch features of layer 2 are not finite in half precision; expected numbers"):
        score_attentive(lambda tensors: [1e6 * layer for layer in rows(tensors)], 2, digits(0, 1), 1, digits(2), 0, CPU)


def test_validation_pictures_beyond_it_are_refused_too():
    def layers(tensors):
        return [layer * (1e6 if len(layer) == 3 else 1) for layer in rows(tensors)]

    with pytest.raises(DataError, match="patch features of layer 2 are not finite in half precision"):
        score_attentive(layers, 2, digits(*range(40)), 30, digits(50, 51, 52), 0, CPU)
