"""The pictures that a gallery looks at."""

import torch

from beit.catalog import preset
from beit.data import MaskPlan, Views, open_source
from beit.geometry import Grid
from beit.image import Preprocessing
from beit.models_torch import BeitForMaskedImageModeling
from beit.tasks.pretrain.held_out import HiddenPatches
from beit.tokenizer import DiscreteVAE, DiscreteVAEConfig, TokenEncoder


def test_the_model_may_be_elsewhere_when_the_scene_is_set():
    """As a model that is divided over processes is, between two looks; the device "meta" holds no numbers at all."""
    torch.manual_seed(0)
    tiny = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
    model = BeitForMaskedImageModeling(preset("tiny", image_size=16, patch_size=4, vocab_size=32, **tiny))
    codebook = DiscreteVAEConfig(vocab_size=32, hidden_size=8, blocks_per_group=1, groups=2, decoder_input_size=8)
    encoder = TokenEncoder(DiscreteVAE(codebook), torch.device("cpu"))
    views = Views(Preprocessing.cropping((16, 16), 1.0), None, (8, 8))
    plan = MaskPlan(Grid(4, 4), 7, 2)
    source = open_source("digits:test")
    expected = HiddenPatches(model, encoder, source, views, plan, 0, 3).predicted()
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    scene = HiddenPatches(model.to("meta"), encoder, source, views, plan, 0, 3)
    model.to_empty(device="cpu").load_state_dict(weights)
    torch.testing.assert_close(scene.predicted(), expected)
