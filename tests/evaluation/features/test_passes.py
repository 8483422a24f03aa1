"""Passes of pictures through a frozen model: what they compute, and what they need not compute again."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch

from beit.data import ExactView, Subset, open_source
from beit.errors import DataError
from beit.evaluation.features.frozen import Frozen
from beit.evaluation.features.layers import PictureSet, features_of
from beit.evaluation.features.passes import ModelPasses, keeping
from beit.image import Preprocessing
from beit.settings.benchmark import BenchmarkJob
from beit.settings.groups import DataSettings
from beit.settings.inputs import Sources

VIEW = Preprocessing.cropping((8, 8), 1.0)


def rows(tensors):
    """Two layers: the rows of a picture as patches, and their squares."""
    pixels = tensors["pixel_values"].mean(dim=1)
    return [pixels, pixels**2]


class Bench:
    """A model that counts what passes through it, and the passes of a command that is given again and again."""

    def __init__(self, folder, pictures=40):
        source = open_source("digits:train")
        self.sources = Sources(Subset(source, np.arange(pictures)), Subset(source, np.arange(100, 120)))
        self.folder, self.opened, self.seen, self.notes = folder, 0, 0, []
        self.frozen = Frozen("a model", "model", VIEW, "a test", self.open, (8, 1), lambda: "a", 0)

    def open(self):
        self.opened += 1

        def layers(tensors):
            self.seen += len(tensors["pixel_values"])
            return rows(tensors)

        self.model = weakref.ref(layers)
        return layers

    def passes(self, frozen=None, **settings):
        output = None if self.folder is None else str(self.folder)
        data = DataSettings("digits:train", workers=0)
        job = BenchmarkJob(("a",), data, output=output, **{"attentive_pictures": 20, **settings})
        kept, cpu = keeping(job, self.sources), torch.device("cpu")
        return ModelPasses(frozen or self.frozen, self.sources, job, cpu, "fp32", kept, self.notes.append)

    def file(self, ending=".safetensors"):
        (path,) = (self.folder / "features").glob(f"*{ending}")
        return path


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path / "benchmark")


def test_features_are_the_means_of_a_pass(bench):
    features = bench.passes().features()
    for part, source in ((features.train, bench.sources.train), (features.val, bench.sources.val)):
        passed = features_of(rows, PictureSet(source, ExactView(VIEW), 0, 16, workers=0))
        for found, layer in zip(part.layers, passed.layers, strict=True):
            assert np.array_equal(found, layer.means_PD)
        assert np.array_equal(part.labels_P, source.labels)
        assert part.pictures_P.tolist() == list(range(len(source)))
    assert features.speed > 0


def test_the_second_time_nothing_is_computed(bench):
    first = bench.passes().features()
    assert (bench.opened, bench.seen, bench.notes) == (1, 60, ["a model: 60 pictures"])
    bench.notes.clear()
    again = bench.passes(k=(3,), shots=(), draws=2).features()
    assert (bench.opened, bench.seen) == (1, 60)
    assert bench.notes == [f"features of a model: read from {bench.file()}"]
    assert again.speed == first.speed
    for one, other in zip(first.train.layers + first.val.layers, again.train.layers + again.val.layers, strict=True):
        assert np.array_equal(one, other)


def test_a_model_stays_in_memory_no_longer_than_its_passes(bench):
    passes = bench.passes()
    features = passes.features()
    passes.attentive(features, 1)
    assert bench.model() is not None
    del passes
    gc.collect()
    assert bench.model() is None
    assert len(features.train.labels_P) == 40


def test_the_attentive_probe_is_fitted_once(bench):
    passes = bench.passes()
    scores = passes.attentive(passes.features(), 2)
    assert (bench.opened, bench.seen) == (1, 60 + 20 + 20)
    assert scores.layer == 2
    again = bench.passes()
    assert again.attentive(again.features(), 2) == scores
    assert (bench.opened, bench.seen) == (1, 100)
    assert again.attentive(again.features(), 1).layer == 1
    assert (bench.opened, bench.seen) == (2, 140)
    other = bench.passes(seed=1)
    other.attentive(other.features(), 1)
    assert (bench.opened, bench.seen) == (3, 180)


def test_what_is_damaged_is_computed_again(bench):
    passes = bench.passes()
    first = passes.features()
    passes.attentive(first, 1)
    for ending in (".safetensors", ".json"):
        content = bench.file(ending).read_bytes()
        bench.file(ending).write_bytes(content[: len(content) // 2])
    passes = bench.passes()
    again = passes.features()
    passes.attentive(again, 1)
    assert (bench.opened, bench.seen) == (2, 200)
    assert np.array_equal(again.train.layers[1], first.train.layers[1])
    features, probe = (note for note in bench.notes if not note.endswith(" pictures"))
    assert features.startswith("features of a model: computed again, since what is kept cannot be used: ")
    assert probe.startswith("attentive probe of a model: fitted again, since its scores are lost: ")
    bench.notes.clear()
    bench.passes().features()
    assert bench.notes == [f"features of a model: read from {bench.file()}"]


def test_another_model_view_or_precision_is_computed(bench):
    bench.passes().features()
    bench.passes(replace(bench.frozen, content=lambda: "b")).features()
    bench.passes(replace(bench.frozen, view=Preprocessing((8, 8), 9))).features()
    bench.sources = Sources(bench.sources.train, Subset(bench.sources.val, np.arange(10)))
    bench.passes().features()
    assert bench.opened == 4
    assert len(list((bench.folder / "features").iterdir())) == 4


def test_without_an_output_nothing_is_kept():
    bench = Bench(None)
    for _ in range(2):
        bench.passes().features()
    assert (bench.opened, bench.seen, bench.notes) == (2, 120, ["a model: 60 pictures"] * 2)


def test_broken_pictures_are_counted_when_features_are_read_too(bench, pictures):
    (pictures / "cat" / "2.png").write_bytes(b"no picture")
    source = open_source(str(pictures))
    bench.sources = Sources(source, source)
    allowed = DataSettings("digits:train", workers=0, max_broken=0.5)

    def passes(data):
        job = BenchmarkJob(("a",), data, output=str(bench.folder))
        kept, cpu = keeping(job, bench.sources), torch.device("cpu")
        return ModelPasses(bench.frozen, bench.sources, job, cpu, "fp32", kept, bench.notes.append)

    features = passes(allowed).features()
    assert [broken.name for broken in features.train.broken] == [str(pictures / "cat" / "2.png")]
    assert 2 not in features.train.pictures_P
    assert passes(allowed).features().train.broken == features.train.broken
    with pytest.raises(DataError, match="1 of 12 pictures is broken, more than"):
        passes(replace(allowed, max_broken=0.0)).features()
    assert bench.opened == 1


@pytest.mark.parametrize(
    "other", [{"min_side": 7}, {"max_pixels": 9}, {"columns": ("b", "label")}, {"value_range": (0, 9)}, {"frame": 1}]
)
def test_features_are_kept_for_one_reading_of_the_pictures(tmp_path, other):
    """Pictures of the hub are known by their commit alone, and of others not all are looked at."""
    bench = Bench(tmp_path)
    one, two = (
        keeping(BenchmarkJob(("a",), DataSettings("digits:train", **options), output=str(tmp_path)), bench.sources)
        for options in ({}, other)
    )
    assert one.folder == two.folder
    assert one.pictures != two.pictures
