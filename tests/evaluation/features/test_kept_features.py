"""Kept features of a benchmark: what is written comes back, and what decides them is in their name."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from beit.data import BrokenPicture, Subset, open_source
from beit.errors import CheckpointError
from beit.evaluation.features.attentive import AttentiveScores
from beit.evaluation.features.frozen import raw_pixels
from beit.evaluation.features.kept_features import (
    ModelFeatures,
    SetFeatures,
    features_key,
    pictures_identity,
    read_attentive,
    read_features,
    write_attentive,
    write_features,
)
from beit.image import Preprocessing

SCORES = AttentiveScores(0.5, 2, 10, 0.75, 80)
ASKED = {"layer": 2, "most": 80, "seed": 0}


def some(pictures, broken=()):
    rng = np.random.default_rng(pictures)
    layers = [rng.normal(size=(pictures, 6)).astype(np.float32) for _ in range(12)]
    return SetFeatures(layers, rng.integers(3, size=pictures), np.arange(pictures) + 2, list(broken))


@pytest.fixture
def kept(tmp_path):
    """Features of twelve layers, and their file; a broken picture has a name that is no text."""
    features = ModelFeatures(some(20, [BrokenPicture("a\udcff.png", "it is \u00fcber")]), some(5), 12.5)
    write_features(tmp_path / "features" / "a.safetensors", features)
    return features, tmp_path / "features" / "a.safetensors"


def test_what_is_written_comes_back(kept):
    features, path = kept
    found = read_features(path)
    assert found.speed == 12.5
    for part, other in ((features.train, found.train), (features.val, found.val)):
        assert len(other.layers) == 12
        assert all(np.array_equal(one, two) for one, two in zip(part.layers, other.layers, strict=True))
        assert np.array_equal(part.labels_P, other.labels_P)
        assert np.array_equal(part.pictures_P, other.pictures_P)
        assert part.broken == other.broken


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.999])
def test_a_file_that_is_cut_off_is_damaged(kept, keep):
    _, path = kept
    content = path.read_bytes()
    path.write_bytes(content[: keep if keep > 1 else int(keep * len(content))])
    with pytest.raises(CheckpointError, match=r"a\.safetensors"):
        read_features(path)


@pytest.mark.parametrize("part", ["labels_P", "pictures_P", "layers"])
def test_a_file_whose_parts_do_not_fit_is_damaged(kept, part):
    features, path = kept
    cut = getattr(features.val, part)[:-1] if part != "layers" else [layer[:-1] for layer in features.val.layers]
    write_features(path, replace(features, val=replace(features.val, **{part: cut})))
    with pytest.raises(CheckpointError, match="is damaged or unsafe"):
        read_features(path)
    write_features(path, replace(features, val=replace(features.val, layers=features.val.layers[1:])))
    with pytest.raises(CheckpointError, match="the layers of training and validation pictures differ"):
        read_features(path)


def test_a_key_changes_with_all_that_decides_the_features():
    pixels = raw_pixels()
    keys = [
        features_key(pixels, "fp32", "pictures"),
        features_key(pixels, "bf16", "pictures"),
        features_key(pixels, "fp32", "others"),
        features_key(replace(pixels, content=lambda: "other"), "fp32", "pictures"),
        features_key(replace(pixels, view=Preprocessing((32, 32), 36)), "fp32", "pictures"),
    ]
    assert len(set(keys)) == 5
    assert features_key(replace(pixels, name="another name"), "fp32", "pictures") == keys[0]


def test_the_identity_of_pictures_is_their_content_order_and_labels(pictures):
    def identity(*indices):
        return pictures_identity(Subset(open_source(str(pictures)), np.array(indices, dtype=np.int64)))

    first = identity(0, 1, 7)
    assert first == identity(0, 1, 7)
    assert len({first, identity(0, 1, 8), identity(1, 0, 7), identity(0, 1)}) == 4
    source = open_source(str(pictures))
    assert pictures_identity(source, source) != pictures_identity(source)
    whole = pictures_identity(source)
    source.labels = 1 - source.labels
    assert pictures_identity(source) != whole
    Path(source.name(0)).write_bytes(Path(source.name(5)).read_bytes())
    assert identity(0, 1, 7) != first


def test_scores_are_those_of_the_same_settings(tmp_path):
    write_attentive(tmp_path / "a.json", ASKED, SCORES)
    assert read_attentive(tmp_path / "a.json", ASKED) == SCORES
    assert read_attentive(tmp_path / "a.json", {**ASKED, "layer": 1}) is None
    for damaged in ("", "{}", '{"asked": {"layer": 2, "most": 80, "seed": 0}, "scores": {"accuracy": 1}}'):
        (tmp_path / "a.json").write_text(damaged)
        with pytest.raises(CheckpointError, match=r"a\.json"):
            read_attentive(tmp_path / "a.json", ASKED)
