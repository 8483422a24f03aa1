import pytest
import torch
from torch.nn import functional

from beit import BeitForImageClassification, preset
from beit.data import Mixing
from beit.engine.optimiser import parameter_groups
from beit.tasks.finetune.loss import FinetuneLoss, Targets, balanced_weights, weighted
from tests.conftest import TINY_MODEL


class Fixed(torch.nn.Module):
    """A model that says the same whatever it sees."""

    def __init__(self, logits, kind):
        super().__init__()
        self.logits = logits
        self.config = preset("tiny", **TINY_MODEL, problem_type=kind)

    def forward(self, pixels, return_dict):
        return self


LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 1.0, -3.0], [1.0, 1.0, 1.0], [-2.0, 0.3, 0.1]])
LABELS = torch.tensor([0, 2, 1, 1])
PIXELS = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 8, 8)
SINGLE = "single_label_classification"


def loss_of(kind, targets, weights=None, logits=LOGITS, smoothing=0.0):
    return FinetuneLoss(Fixed(logits, kind), weights, smoothing=smoothing)({"pixel_values": PIXELS, **targets}, 0.0)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_torchs_own_where_torch_has_it(smoothing):
    targets = Targets(SINGLE, 3, smoothing)({"pixel_values": PIXELS, "labels": LABELS}, 0)
    values = loss_of(SINGLE, targets)
    expected = functional.cross_entropy(LOGITS, LABELS, label_smoothing=smoothing)
    assert values["loss"] == pytest.approx(float(expected), abs=1e-6)
    assert values["accuracy"] == 0.5


def test_smoothed_targets_by_hand():
    targets = Targets(SINGLE, 4, 0.1).plain(torch.tensor([1]))
    assert targets.tolist() == [pytest.approx([0.025, 0.925, 0.025, 0.025])]


def test_weighted_classes_by_hand():
    labels = torch.tensor([0, 0, 0, 1])
    weights = balanced_weights(labels, 2)
    assert weights.tolist() == pytest.approx([4 / 6, 2.0])
    assert weights[labels].mean() == 1
    logits = LOGITS[:, :2]
    targets = Targets(SINGLE, 2)({"pixel_values": PIXELS, "labels": labels}, 0)
    losses = functional.cross_entropy(logits, labels, reduction="none")
    expected = (losses * weights[labels]).mean()
    assert loss_of(SINGLE, targets, weights, logits)["loss"] == pytest.approx(float(expected), abs=1e-6)


def test_what_smoothing_gives_to_a_rare_class_counts_as_its_picture_does():
    weights = balanced_weights([0] * 99 + [1], 2)
    targets = Targets(SINGLE, 2, 0.1)({"pixel_values": PIXELS, "labels": torch.tensor([0, 0, 0, 1])}, 0)
    common, rare = weighted(targets["targets"], weights, 0.1)[[0, 3]]
    assert common.tolist() == pytest.approx([0.95 * 50 / 99, 0.05 * 50 / 99]), "the smoothed target times its factor"
    assert rare.tolist() == pytest.approx([0.05 * 50, 0.95 * 50])
    logits = LOGITS[:, :2]
    losses = functional.cross_entropy(logits, torch.tensor([0, 0, 0, 1]), label_smoothing=0.1, reduction="none")
    expected = (losses * weights[[0, 0, 0, 1]]).mean()
    found = loss_of(SINGLE, targets, weights, logits, smoothing=0.1)
    assert found["loss"] == pytest.approx(float(expected), rel=1e-6)


def test_a_mixed_picture_counts_as_both_of_its_classes():
    weights, whole = torch.tensor([0.5, 2.0, 7.0]), Targets(SINGLE, 3, 0.1).plain(torch.tensor([0, 2]))
    mixed = weighted((0.3 * whole[0] + 0.7 * whole[1])[None], weights, 0.1)
    assert torch.allclose(mixed[0], 0.3 * 0.5 * whole[0] + 0.7 * 7.0 * whole[1], atol=1e-6)


def test_a_class_that_no_picture_is_of_changes_no_other():
    assert balanced_weights([0, 0, 0, 2], 3).tolist() == pytest.approx([4 / 6, 0, 2])


def test_several_labels_and_numbers():
    hot = torch.tensor([[1.0, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]])
    kind = "multi_label_classification"
    plain = Targets(kind, 3)({"pixel_values": PIXELS, "labels": hot}, 0)
    expected = functional.binary_cross_entropy_with_logits(LOGITS, hot)
    assert loss_of(kind, plain)["loss"] == pytest.approx(float(expected), abs=1e-6)
    assert Targets(kind, 3, 0.2).plain(hot)[0].tolist() == pytest.approx([0.9, 0.1, 0.9])
    numbers = {"pixel_values": PIXELS, "labels": torch.tensor([[1.0], [2], [3], [4]])}
    values = loss_of("regression", Targets("regression", 1)(numbers, 0), logits=torch.zeros(4, 1))
    assert values["loss"] == pytest.approx((1 + 4 + 9 + 16) / 4)
    assert values.keys() == {"loss"}


def test_a_mixed_batch_is_a_function_of_seed_and_step():
    batch = {"pixel_values": PIXELS, "labels": LABELS}
    mixing = Mixing(mixup=0.8, cutmix=1.0)

    def mixed(seed, step):
        return Targets(SINGLE, 3, 0.1, mixing, seed)(batch, step)

    assert torch.equal(mixed(0, 5)["pixel_values"], mixed(0, 5)["pixel_values"])
    assert not torch.equal(mixed(0, 5)["pixel_values"], mixed(0, 6)["pixel_values"])
    assert not torch.equal(mixed(0, 5)["targets"], mixed(1, 5)["targets"])
    for step in range(20):
        tensors = mixed(0, step)
        assert "labels" not in tensors, "no accuracy of pictures that are two at once"
        assert torch.allclose(tensors["targets"].sum(1), torch.ones(4))
        # what the pixels hold of the partner, 1 away, is what the target holds of it
        share = 1 - (tensors["pixel_values"][0] - PIXELS[0]).mean()
        own, other = Targets(SINGLE, 3, 0.1).plain(LABELS[:2])
        assert torch.allclose(tensors["targets"][0], share * own + (1 - share) * other, atol=1e-5)


def test_a_frozen_encoder_computes_as_in_evaluation():
    options = {**TINY_MODEL, "drop_path_rate": 0.5, "hidden_dropout_prob": 0.5}
    model = BeitForImageClassification(preset("tiny", **options, problem_type=SINGLE))
    objective = FinetuneLoss(model, frozen=True)
    objective.train()
    assert model.classifier.training
    assert not any(module.training for module in model.beit.modules())
    objective.eval()
    assert not model.classifier.training
    FinetuneLoss(model).train()
    assert all(module.training for module in model.beit.modules())


def test_layer_decay_of_twelve_layers_by_hand():
    """0.65 per layer from the head down, as `LayerDecayValueAssigner` of the original code assigns it."""
    options = {**TINY_MODEL, "num_hidden_layers": 12, "use_mask_token": True, "use_absolute_position_embeddings": True}
    model = BeitForImageClassification(
        preset("tiny", **options, use_relative_position_bias=True, use_shared_relative_position_bias=False)
    )
    scale = {
        id(parameter): group["lr_scale"]
        for group in parameter_groups(model, 0.05, 0.65, 12)
        for parameter in group["params"]
    }

    def of(name):
        return scale[id(model.get_parameter(name))]

    lowest = 0.0036972  # 0.65 ** 13
    for name in ("cls_token", "mask_token", "position_embeddings", "patch_embeddings.projection.weight"):
        assert of(f"beit.embeddings.{name}") == pytest.approx(lowest, rel=1e-4)
    table = "beit.encoder.layer.0.attention.attention.relative_position_bias.relative_position_bias_table"
    assert of(table) == pytest.approx(0.0056880, rel=1e-4)  # 0.65 ** 12
    assert of("beit.encoder.layer.5.attention.attention.key.weight") == pytest.approx(0.0490222, rel=1e-4)  # 0.65 ** 7
    assert of("beit.encoder.layer.11.layernorm_after.bias") == pytest.approx(0.65)
    assert of("beit.pooler.layernorm.weight") == of("classifier.weight") == 1
