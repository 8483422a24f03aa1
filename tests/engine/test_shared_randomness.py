import pytest
import torch
from torch import nn

from beit import BeitForImageClassification, preset
from beit.engine.sharding import shared_stream
from beit.models_torch.layers import DropPath
from tests.conftest import TINY_MODEL


def test_processes_together_drop_what_one_would():
    branch = torch.ones(12, 2, 3)
    drawn = {}
    for rank, world in ((0, 1), (0, 3), (1, 3), (2, 3)):
        path = DropPath(0.5)
        assert shared_stream(nn.Sequential(path), rank, world) == 0
        torch.manual_seed(7)
        drawn[rank, world] = path(branch[rank::world])
    assert drawn[0, 1].unique().tolist() == [0, 2], "some are dropped, some kept"
    for rank in range(3):
        assert drawn[rank, 3].equal(drawn[0, 1][rank::3])


def test_pairs_that_are_dealt_together_drop_alike():
    whole, dealt = DropPath(0.5), DropPath(0.5)
    torch.manual_seed(7)
    expected = whole(torch.ones(12, 2, 3)).view(3, 2, 2, 2, 3)
    for rank in range(2):
        assert shared_stream(nn.Sequential(dealt), rank, 2, together=2) == 0
        torch.manual_seed(7)
        assert dealt(torch.ones(6, 2, 3)).equal(expected[:, rank].flatten(0, 1))
    torch.manual_seed(7)  # an odd number, such as one part of a batch
    assert dealt(torch.ones(5, 2, 3)).equal(expected[:, 1].flatten(0, 1)[:5])


@pytest.mark.parametrize("name", ["hidden_dropout_prob", "attention_probs_dropout_prob", "drop_path_rate"])
def test_with_dropout_or_without_drop_path_every_process_draws_for_itself(name):
    options = {"drop_path_rate": 0.1, name: 0.0 if name == "drop_path_rate" else 0.1}
    model = BeitForImageClassification(preset("tiny", **{**TINY_MODEL, **options}))
    assert shared_stream(model, 1, 2) == 1
    assert all(part.rows == (0, 1, 1) for part in model.modules() if isinstance(part, DropPath))
