"""The loss of pixels, by hand; and the layers that UperNet sees."""

import pytest
import torch
from torch.nn import functional

from beit import BeitConfig, BeitForImageClassification, BeitForSemanticSegmentation
from beit.settings.groups import DataSettings, ModelSettings
from beit.settings.segment import HardPixelSettings, SegmentJob, TrainingLabelMapSettings
from beit.tasks.segment.loss import SegmentLoss, hard_pixels
from beit.tasks.segment.model import starting_segmenter
from beit.tasks.segment.parts import share_batch_norms
from tests.conftest import TINY_MODEL

DATA = DataSettings("pictures")
MAPS = TrainingLabelMapSettings("maps", "classes.txt")
OPTIONS = {**TINY_MODEL, "num_hidden_layers": 4, "out_indices": [1, 2, 3, 4], "num_labels": 5}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return BeitForSemanticSegmentation(BeitConfig(**OPTIONS)).eval()


@pytest.fixture
def scene(model):
    rng = torch.Generator().manual_seed(1)
    height, width = model.config.image_hw
    labels = torch.randint(0, 5, (2, height, width), generator=rng)
    labels[:, :4] = 255
    return {"pixel_values": torch.randn(2, 3, height, width, generator=rng), "labels": labels}


def test_it_is_the_loss_of_the_model(model, scene):
    values = SegmentLoss(model)(scene)
    expected = model(scene["pixel_values"], labels=scene["labels"])
    torch.testing.assert_close(values["loss"], expected.loss)
    full = functional.interpolate(expected.logits, scene["labels"].shape[1:], mode="bilinear", align_corners=False)
    right = (full.argmax(1) == scene["labels"]).sum() / (scene["labels"] != 255).sum()
    torch.testing.assert_close(values["pixel_accuracy"], right)
    assert values["auxiliary_loss"] < values["loss"]


def test_weights_are_factors_on_the_loss_of_each_class(model, scene):
    scene["labels"][scene["labels"] == 3] = 2
    plain = SegmentLoss(model)(scene)["loss"]
    doubled = SegmentLoss(model, torch.tensor([2.0, 2.0, 2.0, 7.0, 2.0]))(scene)["loss"]
    torch.testing.assert_close(doubled, 2 * plain)


def test_nothing_to_learn_from(model, scene):
    scene["labels"].fill_(255)
    assert SegmentLoss(model)(scene)["loss"] == 0


def test_hard_pixels_by_hand():
    true = torch.tensor([[0.9, 0.8, 0.6, 0.3, 0.99, 0.2]])
    logits = torch.stack((true.log(), (1 - true).log()), dim=1).unsqueeze(2)
    labels = torch.tensor([[[0, 0, 0, 0, 0, 255]]])
    kept = {least: hard_pixels(logits, labels, 0.7, least).flatten().tolist() for least in (1, 2, 3, 9)}
    assert kept[1] == kept[2] == [False, False, True, True, False, False]
    assert kept[3] == [False, True, True, True, False, False], "at least three"
    assert kept[9] == [True, True, True, True, True, False], "all that have a class"


def test_easy_pixels_have_no_gradient(model, scene):
    everything = SegmentLoss(model, hard_pixels=HardPixelSettings(confidence=0.99, least=1))(scene)["loss"]
    hardest = SegmentLoss(model, hard_pixels=HardPixelSettings(confidence=0.01, least=10))(scene)["loss"]
    torch.testing.assert_close(everything, SegmentLoss(model)(scene)["loss"])
    assert hardest > everything


@pytest.mark.parametrize(
    ("depth", "layers", "taps", "meaning"),
    [
        (12, None, (4, 6, 8, 12), "original"),
        (24, None, (8, 12, 16, 24), "original"),
        (4, None, (1, 2, 3, 4), "original"),
        (12, (2, 4, 6, 10), (2, 4, 6, 10), "huggingface"),
    ],
)
def test_the_layers_that_upernet_sees(depth, layers, taps, meaning):
    settings = ModelSettings(
        image_size=32,
        patch_size=8,
        hidden_size=16,
        num_hidden_layers=depth,
        num_attention_heads=2,
        intermediate_size=16,
    )
    model = starting_segmenter(SegmentJob(DATA, MAPS, model=settings, layers=layers), ["a", "b"])
    assert model.taps == taps
    assert model.config.out_indices_meaning == meaning


def test_shared_batch_norms_hold_the_same(model, scene):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    expected = model(scene["pixel_values"]).logits
    share_batch_norms(model)
    norms = [module for module in model.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
    assert len(norms) > 8
    assert all(isinstance(module, torch.nn.SyncBatchNorm) for module in norms)
    assert model.state_dict().keys() == before.keys()
    torch.testing.assert_close(model(scene["pixel_values"]).logits, expected)


def test_any_checkpoint_becomes_a_segmenter(tmp_path):
    torch.manual_seed(0)
    shared = {"use_shared_relative_position_bias": True, "num_labels": 3}
    before = BeitForImageClassification(BeitConfig(**{**OPTIONS, **shared, "out_indices": None}))
    before.save_pretrained(tmp_path)
    size = before.config.image_hw[0] * 2
    job = SegmentJob(DATA, MAPS, checkpoint=str(tmp_path), model=ModelSettings(image_size=size))
    model = starting_segmenter(job, ["a", "b", "c", "d"])
    assert model.config.image_hw == (size, size)
    assert model.config.class_names == ["a", "b", "c", "d"]
    names = dict(model.named_parameters())
    same = [key for key in names if key in dict(before.named_parameters()) and key.startswith("beit.encoder.layer.1.")]
    assert len(same) > 8
    for key in same:
        torch.testing.assert_close(names[key], before.get_parameter(key))
    assert any(key.endswith("bias_table") for key in names), "one relative position bias per layer"
