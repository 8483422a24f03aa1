"""Models and tokenizers that the package brings: found by name without a network, and as good as their cards say."""

import io
import re

import numpy as np
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from PIL import Image

from beit import BeitForMaskedImageModeling, BeitImageProcessor, KMeansTokenizer, Predictor, load_tokenizer
from beit.catalog import INCLUDED_MODELS
from beit.errors import CheckpointError
from beit.evaluation.features.neighbours import knn_accuracy
from beit.evaluation.features.ridge import fit_ridge
from beit.evaluation.segmentation.scores import SegmentationScores
from beit.hub import included_folder, included_names
from beit.hub.repository import INCLUDED
from beit.image import IGNORED
from tests.conftest import REAL_DATA

MODEL, CLASSIFIER, TOKENS = "beit/nano-cifar10", "beit/nano-cifar10-classifier", "beit/nano-cifar10-tokens"
SEGMENTER = "beit/nano-camvid-segmenter"


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **__: pytest.fail("the hub was asked"))


def test_the_catalog_names_what_there_is():
    assert [known.name for known in INCLUDED_MODELS] == included_names() == [SEGMENTER, MODEL, CLASSIFIER, TOKENS]
    assert all((included_folder(name) / "README.md").is_file() for name in included_names())
    assert sum(file.stat().st_size for file in INCLUDED.rglob("*") if file.is_file()) < 16 * 2**20


@pytest.mark.parametrize("name", ["beit", "beit/", "beit/..", "beit/../hub", "beit/unknown", "other/nano-cifar10", "/"])
def test_other_names_are_not_among_them(name):
    assert included_folder(name) is None


def test_an_unknown_name_of_ours_is_answered_with_the_known_ones(monkeypatch):
    def absent(*_, **__):
        raise LocalEntryNotFoundError("absent")

    monkeypatch.setattr("beit.hub.repository.lost_hub", lambda: "hub.invalid")
    monkeypatch.setattr("huggingface_hub.hf_hub_download", absent)
    with pytest.raises(CheckpointError, match=f"'beit/nano-camvid' is not on .* brings {SEGMENTER}, {MODEL}, "):
        Predictor.from_pretrained("beit/nano-camvid")
    with pytest.raises(CheckpointError, match=r"'other/nano-camvid' is not on(?!.* brings)"):
        Predictor.from_pretrained("other/nano-camvid")


def test_a_folder_of_that_name_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / MODEL).mkdir(parents=True)
    assert included_folder(MODEL) is None


def test_every_class_loads_by_name():
    model = BeitForMaskedImageModeling.from_pretrained(MODEL)
    assert model.config.num_hidden_layers == 6
    assert next(model.parameters()).dtype.itemsize == 4
    assert dict(BeitImageProcessor.from_pretrained(MODEL).size) == {"shortest_edge": 32}
    assert load_tokenizer(TOKENS).vocab_size == KMeansTokenizer.from_pretrained(TOKENS).vocab_size == 512


def test_the_pretrained_model_reconstructs_with_its_own_decoder_and_tokenizer():
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 48, 3), dtype=np.uint8))
    (found,) = Predictor.from_pretrained(MODEL, device="cpu").reconstruct(picture, share=0.5)
    assert found.mask.sum() == pytest.approx(32, abs=8)
    assert found.reconstruction.size == (32, 32)


def pictures(name, count):
    parquet = pytest.importorskip("pyarrow.parquet")
    file = REAL_DATA / "cifar10" / f"{name}.parquet"
    if not file.exists():
        pytest.skip(f"{file} is not there")
    rows = parquet.read_table(file).slice(0, count).to_pylist()
    return [Image.open(io.BytesIO(row["image"]["bytes"])) for row in rows], np.array([row["label"] for row in rows])


@pytest.mark.e2e
def test_the_card_says_what_is_measured():
    (known, labels), (asked, classes) = pictures("train", 2000), pictures("test", 1000)
    predictor = Predictor.from_pretrained(MODEL)
    bank, found = (np.stack([one.vector for one in predictor.embed(some, layer="best")]) for some in (known, asked))
    card = (included_folder(MODEL) / "README.md").read_text()
    said = re.search(r"kNN \(k 10,\s+layer 6\) ([\d.]+) %, ridge probe ([\d.]+) %", card)
    assert 100 * knn_accuracy(bank, labels, found, classes, 10) == pytest.approx(float(said[1]), abs=0.5)
    assert 100 * fit_ridge(bank, labels).accuracy(found, classes) == pytest.approx(float(said[2]), abs=0.5)


@pytest.mark.e2e
def test_the_card_of_the_classifier_says_what_is_measured():
    asked, classes = pictures("test", 1000)
    predictor = Predictor.from_pretrained(CLASSIFIER)
    names = predictor.model.config.class_names
    right = [names.index(one.label) == truth for one, truth in zip(predictor.classify(asked), classes, strict=True)]
    card = (included_folder(CLASSIFIER) / "README.md").read_text()
    said = re.search(r"([\d.]+) % of the first\s+1,000", card)
    assert 100 * np.mean(right) == pytest.approx(float(said[1]), abs=0.5)


@pytest.mark.e2e
def test_the_card_of_the_segmenter_says_what_is_measured():
    streets = REAL_DATA / "camvid" / "val"
    if not streets.exists():
        pytest.skip(f"{streets} is not there")
    predictor = Predictor.from_pretrained(SEGMENTER)
    scores = SegmentationScores(len(predictor.classes))
    for path in sorted((streets / "images").iterdir())[:4]:
        mask = np.asarray(Image.open(streets / "masks" / f"{path.stem}.png")).astype(np.int64)
        labels = torch.as_tensor(predictor.segment(path)[0].labels)
        scores.add(labels, torch.from_numpy(np.where(mask == 11, IGNORED, mask)))
    card = (included_folder(SEGMENTER) / "README.md").read_text()
    said = re.search(r"As packaged, ([\d.]+) % of the first 4 ", card)
    assert 100 * scores.numbers()["mean_iou"] == pytest.approx(float(said[1]), abs=0.5)
