"""Compiled layers: the number of programs, their results, and when a GPU gets them."""

from copy import deepcopy
from types import SimpleNamespace

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from beit import BeitConfig, BeitForMaskedImageModeling
from beit.engine.automatic import choose
from beit.engine.compilation import choose_compilation, compile_layers
from beit.engine.exactness import computing
from beit.models_torch import device
from beit.settings.groups import DataSettings, OptimSettings, RunSettings, TrainSettings
from beit.settings.pretrain import PretrainJob
from beit.settings.tokenizer import CodebookLossSettings
from beit.tasks.tokenizer.dvae import DiscreteVAELoss
from beit.tokenizer import DiscreteVAE, DiscreteVAEConfig
from beit.tokenizer.coders import Decoder
from tests.conftest import TINY_MODEL

GPU = torch.device("cuda")
MASK, TOKENS = torch.arange(16).lt(6).expand(4, 16), torch.arange(64).view(4, 16)


@pytest.fixture
def programs(monkeypatch):
    """Compile without generating code, and count the programs."""
    torch._dynamo.reset()
    counter, compile_ = CompileCounterWithBackend("aot_eager"), torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda what, **how: compile_(what, **{**how, "backend": counter, "fullgraph": True})
    )
    return counter


def model_of(depth, drop_path):
    torch.manual_seed(0)
    options = {**TINY_MODEL, "num_hidden_layers": depth, "drop_path_rate": drop_path, "layer_norm_eps": 1e-6}
    return BeitForMaskedImageModeling(
        BeitConfig(**options, use_shared_relative_position_bias=True, use_mask_token=True)
    ).train()


def step(model, pixels):
    model.zero_grad()
    count = len(pixels)
    model(pixels, MASK[:count], labels=TOKENS[:count] % model.config.vocab_size).loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


@pytest.mark.e2e
@pytest.mark.parametrize(("drop_path", "expected"), [(0.0, 1), (0.3, 2)], ids=["plain", "drop path"])
@pytest.mark.parametrize("depth", [2, 12])
def test_programs_of_a_training(programs, depth, drop_path, expected):
    """One for all layers, and one for the first, which drops nothing; none for measurements, nor after them."""
    model = model_of(depth, drop_path)
    compile_layers(model)
    for _ in range(2):
        step(model, torch.randn(4, 3, 32, 32))
        model.eval()
        for batch in (4, 3, 1):
            with torch.no_grad():
                model(torch.randn(batch, 3, 32, 32), MASK[:batch])
        model.train()
    assert programs.frame_count == expected


@pytest.mark.e2e
@pytest.mark.parametrize("recompute", [False, True])
def test_gradients_are_those_of_plain_layers(programs, recompute):
    plain = model_of(3, 0.0)
    compiled, pixels = deepcopy(plain), torch.randn(4, 3, 32, 32)
    if recompute:
        compiled.gradient_checkpointing_enable()
    compile_layers(compiled)
    expected, found = step(plain, pixels), step(compiled, pixels)
    assert programs.frame_count == 1
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-6, rtol=1e-4)


@pytest.mark.e2e
def test_drop_path_of_a_compiled_layer(programs):
    """Every layer has its own rate although all share one program."""
    layers = [layer.train() for layer in model_of(12, 0.9).beit.encoder.layer]
    drops = [layer.drop_path for layer in layers]
    compiled = torch.compile(lambda path, branch: path(branch), dynamic=False)
    branch = torch.ones(4000, 1, 1)
    torch.manual_seed(0)
    for path in drops[1:]:
        factors = compiled(path, branch)
        assert factors.unique().tolist() == pytest.approx([0, 1 / (1 - path.rate)])
        assert float(factors.mean()) == pytest.approx(1, abs=0.2)
    assert programs.frame_count == 1


def test_a_copy_computes_with_its_own_weights():
    model = model_of(2, 0.0)
    compile_layers(model)
    layer = deepcopy(model).beit.encoder.layer[0]
    assert layer.forward.__self__ is layer
    assert model.state_dict().keys() == model_of(2, 0.0).state_dict().keys()


@pytest.mark.e2e
def test_a_discrete_vae_is_compiled_once_for_all_temperatures(programs):
    torch.manual_seed(0)
    model = DiscreteVAE(
        DiscreteVAEConfig(vocab_size=16, hidden_size=8, blocks_per_group=1, groups=2, decoder_input_size=8)
    )
    loss = DiscreteVAELoss(model, CodebookLossSettings()).train()
    compile_layers(loss)
    for progress in (0.0, 0.1, 0.2, 0.3):
        loss({"tokenizer_pixels": torch.rand(2, 3, 8, 8)}, progress)["loss"].backward()
    assert programs.frame_count == 2  # encoder and decoder


@pytest.mark.e2e
def test_a_discrete_vae_learns_in_half_precision_and_deterministic_mode():
    """With the program that is really made: it lost every gradient above the nearest neighbours of the decoder."""
    torch._dynamo.reset()
    torch.manual_seed(0)
    plain = Decoder(DiscreteVAEConfig(vocab_size=16, hidden_size=8, blocks_per_group=1, groups=2, decoder_input_size=8))
    compiled, found = deepcopy(plain.train()), []
    compile_layers(compiled)
    codes = torch.rand(4, 16, 4, 4)
    with computing(exact=True, device=torch.device("cpu")):
        for decoder in (plain, compiled):
            with torch.autocast("cpu", torch.bfloat16):
                decoder(codes).float().square().mean().backward()
            found.append({name: parameter.grad for name, parameter in decoder.named_parameters()})
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=0.05, atol=0.02 * float(gradient.abs().max()))


@pytest.mark.parametrize(
    ("exact", "triton", "capability", "expected"),
    [
        (False, object(), (9, 0), True),
        (True, object(), (9, 0), False),
        (False, None, (9, 0), False),
        (False, object(), (6, 1), False),
        (False, object(), "no C compiler", False),
    ],
)
def test_compiled_on_a_gpu_that_can(monkeypatch, exact, triton, capability, expected):
    monkeypatch.setattr(device, "find_spec", lambda _: triton)
    there = capability != "no C compiler"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability if there else (9, 0))
    monkeypatch.setattr(device.shutil, "which", lambda name: name if there else None)
    choice = choose_compilation(GPU, exact)
    assert choice[:2] == ("train.compile", expected)
    assert choice.reason


@pytest.mark.parametrize(
    ("kind", "framework", "wanted", "expected"),
    [
        ("cuda", "torch", "auto", ["train.compile"]),
        ("cuda", "torch", True, []),
        ("cuda", "jax", "auto", []),
        ("cpu", "torch", "auto", []),
    ],
)
def test_what_is_chosen(monkeypatch, kind, framework, wanted, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    job = PretrainJob(
        DataSettings("pictures", workers=0),
        run=RunSettings(framework=framework, precision="bf16", exact=False),
        optim=OptimSettings(lr=1e-3, warmup_steps=0),
        train=TrainSettings(compile=wanted),
    )
    task = SimpleNamespace(settings=job, accelerator=SimpleNamespace(device=torch.device(kind)))
    assert [choice.setting for choice in choose(task)] == expected
