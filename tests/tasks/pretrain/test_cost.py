"""The estimated cost of a step, beside the measured one."""

import os
import subprocess
import sys

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from beit.config import BeitConfig
from beit.models_torch import BeitForMaskedImageModeling, MaskedPatchDecoder, PatchAggregation
from beit.tasks.pretrain.cost import Kept, activation_bytes, encoding_flops, forward_flops, training_flops
from beit.tokenizer import DiscreteVAE, DiscreteVAEConfig, KMeansConfig, KMeansTokenizer

# Small blocks given back at once, so that the most that a process held is what it had in use at one time. What is there
# before the model is left out, the code of a first step included.
MEASURE = """
import torch
from torch.nn.functional import cross_entropy
from beit.catalog import preset
from beit.models_torch import BeitForMaskedImageModeling
from beit.engine.throughput import state_bytes
from beit.tasks.pretrain.cost import Kept, activation_bytes

def step(pictures, masked, **sizes):
    model = BeitForMaskedImageModeling(preset("tiny", **sizes)).train()
    if KEPT.recomputed:
        model.gradient_checkpointing_enable()
    optimiser = torch.optim.AdamW(model.parameters(), fused=True)
    mask = torch.zeros(pictures, model.beit.embeddings.grid.patches, dtype=torch.bool)
    mask[:, :masked] = True
    places = torch.arange(masked).expand(pictures, -1)
    pixels = torch.rand(pictures, 3, model.config.image_size, model.config.image_size)
    for _ in range(2):  # the first has no moments yet
        logits = model.masked_logits(pixels, mask, places)
        cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long)).backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    return model

def held():  # of this process alone; the count of getrusage begins with what the process that started it held
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) * 1024

step(1, 4, image_size=32, num_hidden_layers=1, vocab_size=64)
before = held()
sizes = dict(image_size=112, vocab_size=4096, num_hidden_layers=6)
model = step(32, 20, **sizes)
estimate = state_bytes(model) + sum(activation_bytes(model.config, 32, 20, KEPT).values())
print(estimate / (held() - before))
"""


@pytest.mark.e2e
@pytest.mark.skipif(sys.platform != "linux", reason="measures with options of glibc")
@pytest.mark.parametrize("recomputed", [False, True])
def test_the_memory_estimate_is_near_what_a_step_takes(recomputed):
    frugal = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", MEASURE.replace("KEPT", f"Kept(gelu_once=True, recomputed={recomputed})")]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **frugal}, timeout=120)
    assert done.returncode == 0, done.stderr
    assert 0.75 < float(done.stdout) < 1.25


def test_operations_are_those_that_torch_counts():
    config = BeitConfig(
        hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128, image_size=32, patch_size=8,
        vocab_size=50, use_mask_token=True, use_shared_relative_position_bias=True,
    )  # fmt: skip
    model = BeitForMaskedImageModeling(config).eval()
    mask = torch.zeros(1, 16, dtype=torch.bool)
    mask[0, :6] = True
    # torch counts no fused attention on a CPU
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model.masked_logits(torch.randn(1, 3, 32, 32), mask)
    assert forward_flops(config, masked=6) == pytest.approx(counter.get_total_flops(), rel=0.03)
    assert training_flops(config, 6) == 3 * forward_flops(config, 6)


def test_a_decoder_of_masked_patches_is_counted_and_spares_the_encoder():
    config = BeitConfig(
        hidden_size=64, num_hidden_layers=4, num_attention_heads=4, intermediate_size=128, image_size=32, patch_size=8,
        vocab_size=50, use_mask_token=True, use_absolute_position_embeddings=True,
    )  # fmt: skip
    model = BeitForMaskedImageModeling(config)
    decoder = MaskedPatchDecoder(model, layers=2)
    mask = torch.zeros(1, 16, dtype=torch.bool)
    mask[0, :10] = True
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        decoder.eval()(model.eval(), torch.randn(1, 3, 32, 32), mask)
    assert forward_flops(config, 10, 2) == pytest.approx(counter.get_total_flops(), rel=0.03)
    assert training_flops(config, 10, 2) == 3 * forward_flops(config, 10, 2)
    plain, split = (activation_bytes(config, 8, 10, decoder_layers=layers) for layers in (0, 2))
    assert split["activations"] / plain["activations"] == pytest.approx((4 * 7 + 2 * 17) / (4 * 17))
    assert split["logits"] == plain["logits"]


def test_patch_aggregation_is_counted_too():
    config = BeitConfig(
        hidden_size=64, num_hidden_layers=4, num_attention_heads=4, intermediate_size=128, image_size=32, patch_size=8,
        vocab_size=50, use_mask_token=True, use_shared_relative_position_bias=True,
    )  # fmt: skip
    model = BeitForMaskedImageModeling(config)
    mask = torch.zeros(1, 16, dtype=torch.bool)
    mask[0, :6] = True
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        PatchAggregation(model, 3, layers=2).eval()(model.eval(), torch.randn(1, 3, 32, 32), mask)
    assert forward_flops(config, 6, 0, 2) == pytest.approx(counter.get_total_flops(), rel=0.03)
    assert training_flops(config, 6, 0, 2) == 3 * forward_flops(config, 6, 0, 2)
    plain, twice = (activation_bytes(config, 8, 6, aggregation_layers=layers) for layers in (0, 2))
    assert twice["activations"] / plain["activations"] == pytest.approx(6 / 4)
    assert twice["logits"] == 2 * plain["logits"]


def test_what_is_computed_again_is_not_kept():
    sizes = {"hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 256, "image_size": 32, "patch_size": 8}
    config = BeitConfig(**sizes, num_hidden_layers=12)
    whole, again = (activation_bytes(config, 8, 6, Kept(recomputed=again))["activations"] for again in (False, True))
    one = whole / 12
    assert again == one + 12 * 8 * 17 * 64 * 4  # a layer, and the inputs of all
    half = activation_bytes(config, 8, 6, Kept(bytes_per_number=2, recomputed=True))["activations"]
    assert half == one / 2 + 12 * 8 * 17 * 64 * 4  # between layers all is in float32


def convolutions(config, side):
    """Return the operations of every convolution of the encoder: two for each weight and place."""
    places = []
    model = DiscreteVAE(config).encoder
    for layer in (part for part in model.modules() if isinstance(part, torch.nn.Conv2d)):
        layer.register_forward_hook(lambda layer, _, out: places.append(2 * layer.weight.numel() * out[0, 0].numel()))
    model(torch.zeros(1, 3, side, side))
    return sum(places)


def test_those_of_a_discrete_vae_are_its_convolutions():
    config = DiscreteVAEConfig(vocab_size=16, hidden_size=8, blocks_per_group=1, groups=2, decoder_input_size=8)
    tokenizer = DiscreteVAE(config)
    assert encoding_flops(tokenizer, 3, 16, 16) == convolutions(config, 16)
    assert all(parameter.device.type == "cpu" for parameter in tokenizer.parameters())


def test_that_of_openai_is_known():
    with torch.device("meta"):
        tokenizer = DiscreteVAE(DiscreteVAEConfig())
    assert encoding_flops(tokenizer, 3, 112, 112) == pytest.approx(5.21e10, rel=1e-2)


def test_those_of_clusters_are_counted_too():
    tokenizer = KMeansTokenizer(KMeansConfig(vocab_size=8, patch_size=4, window=8, image_size=16))
    values = 3 * 8**2
    assert encoding_flops(tokenizer, 3, 16, 16) == 16 * 2 * values * (values + 8)


def test_what_is_no_module_has_none():
    class Brightness:
        vocab_size = 4

    assert encoding_flops(Brightness(), 3, 16, 16) == 0
