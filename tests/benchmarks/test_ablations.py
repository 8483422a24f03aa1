"""The variants of the ablations that are programs of their own: pixels in the place of visual tokens."""

import json

import pytest
import torch
from torch.nn import functional

from beit import BeitForMaskedImageModeling
from tests.e2e.small import MODEL, PICTURES, UNWATCHED


class Grey(torch.nn.Module):
    """A model that predicts 0 for every number of a patch."""

    class config:  # noqa: N801  # as models name it
        patch_hw = (4, 4)

    def masked_logits(self, pixels_BCHW, masked_BN):
        return torch.zeros(int(masked_BN.sum()), 3 * 4 * 4)


def test_the_loss_of_pixels_is_that_of_the_masked_patches(program):
    torch.manual_seed(0)
    loss = program("pretrain_pixels").PixelLoss(Grey())
    pixels, mask = torch.randn(2, 3, 8, 8), torch.tensor([[True, False, False, False], [False, False, False, True]])
    hidden = torch.stack([pixels[0, :, :4, :4], pixels[1, :, 4:, 4:]])
    found = loss({"pixel_values": pixels, "bool_masked_pos": mask})["loss"]
    torch.testing.assert_close(found, functional.mse_loss(torch.zeros_like(hidden), hidden))


@pytest.mark.e2e
@pytest.mark.parametrize("decoder", [[], ["--decoder.layers=1", "--mask.kind=random", "--model.positions=absolute"]])
def test_pixels_are_learned(program, monkeypatch, tmp_path, decoder):
    options = [
        *(*PICTURES, "--data.per_class=30", *MODEL, "--mask.count=7", "--mask.min_block=2", *decoder),
        *("--optim.lr=3e-3", "--optim.warmup_steps=2", "--train.batch_size=32", "--train.max_steps=30"),
        *("--run.report=false", *UNWATCHED, f"--run.output={tmp_path}/run"),
    ]
    monkeypatch.setattr("sys.argv", ["pretrain_pixels.py", *options])
    program("pretrain_pixels").main()
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert 0 < result["loss"] < result["grey_loss"]
    assert BeitForMaskedImageModeling.from_pretrained(tmp_path / "run" / "model").config.vocab_size == 3 * 4 * 4
