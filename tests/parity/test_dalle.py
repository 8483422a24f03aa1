"""The discrete VAE against recorded outputs of openai/DALL-E."""

import json
import re

import numpy as np
import torch
from safetensors.torch import load_file

from beit.tokenizer import DiscreteVAE, DiscreteVAEConfig
from tests.conftest import GOLDEN

FOLDER = GOLDEN / "dalle"


def ours(name):
    """Translate a name of openai/DALL-E: encoder.blocks.group_1.block_2.res_path.conv_3.w."""
    coder, _, rest = name.partition(".blocks.")
    rest = re.sub(r"^input\.", "stem.", rest)
    rest = re.sub(r"^output\.conv\.", "head.", rest)
    rest = re.sub(r"^group_(\d)\.block_(\d)", lambda m: f"groups.{int(m[1]) - 1}.{int(m[2]) - 1}", rest)
    rest = re.sub(r"res_path\.conv_(\d)", lambda m: f"convolutions.{int(m[1]) - 1}", rest)
    rest = rest.replace("id_path", "identity")
    return f"{coder}.{rest[:-1]}{'weight' if rest[-1] == 'w' else 'bias'}"


def test_the_recorded_model():
    case = json.loads((FOLDER / "case.json").read_text())
    config = DiscreteVAEConfig(
        vocab_size=case["encoder"]["vocab_size"],
        hidden_size=case["encoder"]["n_hid"],
        blocks_per_group=case["encoder"]["n_blk_per_group"],
        groups=case["encoder"]["group_count"],
        decoder_input_size=case["decoder"]["n_init"],
    )
    model = DiscreteVAE(config)
    tensors = load_file(FOLDER / "weights.safetensors")
    model.load_state_dict({ours(name): tensor for name, tensor in tensors.items()})
    io = np.load(FOLDER / "io.npz")
    with torch.no_grad():
        pixels = torch.from_numpy(io["pixels"])
        np.testing.assert_allclose(model.logits(pixels).numpy(), io["encoder_logits"], atol=2e-5, rtol=1e-4)
        tokens = model.encode(pixels)
        assert np.array_equal(tokens.numpy(), io["tokens"])
        one_hot = torch.nn.functional.one_hot(tokens, 64).movedim(-1, 1).float()
        np.testing.assert_allclose(model.decoder(one_hot).numpy(), io["decoder_output"], atol=2e-5, rtol=1e-4)
        np.testing.assert_allclose(model.decode(tokens).numpy(), io["reconstruction"], atol=2e-5, rtol=1e-4)
