"""Training of VQ-KD: its loss, its gradients, its codebook."""

import copy

import pytest
import torch

from beit.errors import ConfigError
from beit.tokenizer.vq_kd import VQKD, distillation_loss
from tests.tokenizer.small import SMALL


def test_distillation_loss():
    target = torch.randn(2, 5, 20)
    assert distillation_loss(3 * target, target).item() == pytest.approx(0, abs=1e-6)
    assert distillation_loss(-target, 2 * target).item() == pytest.approx(2, abs=1e-6)
    predicted = torch.randn(2, 5, 20)
    cosines = [
        float(a @ b / (a.norm() * b.norm())) for a, b in zip(predicted.view(10, 20), target.view(10, 20), strict=True)
    ]
    assert distillation_loss(predicted, target).item() == pytest.approx(1 - sum(cosines) / 10, abs=1e-6)
    assert distillation_loss(predicted.bfloat16(), target).dtype == torch.float32
    with pytest.raises(ConfigError, match=r"\(2, 5, 20\), those predicted \(2, 5, 19\)"):
        distillation_loss(predicted[..., :19], target)


def pictures(step):
    """Pictures of flat patches in random colours, and a teacher that sees the colours."""
    generator = torch.Generator().manual_seed(step)
    colours = torch.rand(4, 3, 4, 4, generator=generator)
    project = torch.randn(3, 20, generator=torch.Generator().manual_seed(-1))
    pixels = colours.repeat_interleave(8, 2).repeat_interleave(8, 3)
    return pixels, (colours.flatten(2).transpose(1, 2) - 0.5) @ project


def trained(model, optimiser, steps):
    losses, revived = [], 0
    for step in steps:
        torch.manual_seed(step)
        pixels, target = pictures(step)
        output = model(pixels)
        loss = distillation_loss(output.predicted, target)
        optimiser.zero_grad()
        (loss + output.commitment).backward()
        optimiser.step()
        losses.append(loss.item())
        revived += int(output.revived)
    return losses, revived


def new_run(revive_below):
    torch.manual_seed(0)
    model = VQKD(SMALL).train()
    model.quantiser.initialised.fill_(True)  # no k-means: most codes start where no feature is
    model.quantiser.revive_below, model.quantiser.decay = revive_below, 0.9
    return model, torch.optim.AdamW(model.parameters(), lr=1e-3)


@pytest.mark.e2e
def test_training_lowers_the_loss_and_revival_uses_more_codes():
    used, revivals = {}, {}
    for revive_below in (0.0, 0.2):
        model, optimiser = new_run(revive_below)
        losses, revivals[revive_below] = trained(model, optimiser, range(120))
        assert sum(losses[-10:]) < 0.6 * sum(losses[:10])
        with torch.no_grad():
            used[revive_below] = len(torch.cat([model.encode(pictures(step)[0]) for step in range(900, 905)]).unique())
    assert revivals[0.0] == 0 < revivals[0.2]
    assert used[0.0] < used[0.2]


def test_every_parameter_gets_a_gradient():
    model, _ = new_run(0)
    pixels, target = pictures(0)
    output = model(pixels)
    (distillation_loss(output.predicted, target) + output.commitment).backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
    assert model.encoder.embeddings.patch_embeddings.projection.weight.grad.abs().sum() > 0


@pytest.mark.e2e
def test_a_saved_training_goes_on_bit_for_bit(tmp_path):
    model, optimiser = new_run(0.2)
    trained(model, optimiser, range(12))
    model.save_pretrained(tmp_path)
    resumed = VQKD.from_pretrained(tmp_path).train()
    resumed.quantiser.revive_below, resumed.quantiser.decay = 0.2, 0.9
    again = torch.optim.AdamW(resumed.parameters(), lr=1e-3)
    again.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    expected = trained(model, optimiser, range(12, 24))
    assert trained(resumed, again, range(12, 24)) == expected
    assert expected[1] > 0  # codes were revived on the way
    own = model.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in resumed.state_dict().items())
