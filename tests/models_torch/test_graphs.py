"""Models under compilation, export, autocast, activation checkpointing and wrappers."""

import shutil
import warnings

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from beit import (
    BeitBackbone,
    BeitConfig,
    BeitForImageClassification,
    BeitForMaskedImageModeling,
    BeitForSemanticSegmentation,
    BeitModel,
)
from tests.conftest import TINY_MODEL
from tests.fork_server import fork_server

pytestmark = pytest.mark.e2e

OPTIONS = {**TINY_MODEL, "layer_norm_eps": 1e-6, "drop_path_rate": 0.0}
FOUR_MAPS = {**OPTIONS, "num_hidden_layers": 4, "out_indices": [1, 2, 3, 4]}
KINDS = {
    "model": lambda: BeitModel(BeitConfig(**OPTIONS, use_relative_position_bias=True)),
    "mim": lambda: BeitForMaskedImageModeling(
        BeitConfig(**OPTIONS, use_shared_relative_position_bias=True, use_mask_token=True)
    ),
    "classify": lambda: BeitForImageClassification(
        BeitConfig(**OPTIONS, use_absolute_position_embeddings=True, use_relative_position_bias=True)
    ),
    "segment": lambda: BeitForSemanticSegmentation(
        BeitConfig(**FOUR_MAPS, num_labels=5, pool_scales=[1, 2], use_relative_position_bias=True)
    ),
    "backbone": lambda: BeitBackbone(BeitConfig(**FOUR_MAPS, use_relative_position_bias=True, add_fpn=True)),
}


@pytest.fixture(params=KINDS)
def model(request):
    torch.manual_seed(0)
    model = KINDS[request.param]().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def first(output):
    value = output[0]
    return value[-1] if isinstance(value, tuple) else value


SIZES = {"own": (32, 32), "other": (48, 24)}
# heads over maps, which are slow to compile, see the harder size
CASES = [(kind, size) for kind in KINDS for size in SIZES if size == "other" or kind not in ("segment", "backbone")]


@pytest.mark.parametrize(("model", "size"), CASES, indirect=["model"])
def test_compiled_whole_and_once_for_all_batch_sizes(model, size):
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("eager")
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend=counter)
    with torch.no_grad():
        for batch in (2, 3, 5):
            pixels = torch.randn(batch, 3, *SIZES[size])
            torch.testing.assert_close(first(compiled(pixels)), first(model(pixels)), atol=1e-4, rtol=1e-4)
    assert counter.frame_count == 1


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch's own compiler needs g++")
def test_compiled_by_inductor():
    torch._dynamo.reset()
    model = BeitForImageClassification(
        BeitConfig(**{**OPTIONS, "num_hidden_layers": 1}, use_relative_position_bias=True)
    )
    compiled = torch.compile(model.eval(), fullgraph=True, dynamic=True)
    with torch.no_grad(), torch._dynamo.config.patch(error_on_recompile=True):
        for batch in (2, 3):
            pixels = torch.randn(batch, 3, 32, 32)
            torch.testing.assert_close(compiled(pixels).logits, model(pixels).logits, atol=1e-5, rtol=1e-4)


def test_compiled_with_a_marked_batch():
    """Without `dynamic=True`, one mark on the first batch has the same effect."""
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("eager")
    model = KINDS["classify"]().eval()
    compiled = torch.compile(model, fullgraph=True, backend=counter)
    with torch.no_grad():
        for batch in (2, 3, 4):
            pixels = torch.randn(batch, 3, 32, 32)
            torch._dynamo.mark_dynamic(pixels, 0)
            torch.testing.assert_close(compiled(pixels).logits, model(pixels).logits)
    assert counter.frame_count == 1


def test_compiled_training():
    """Loss and gradients of a compiled masked-image-modelling step are those of a plain one."""
    torch._dynamo.reset()
    model = KINDS["mim"]().train()
    pixels, mask = torch.randn(2, 3, 32, 32), torch.arange(16).lt(6).expand(2, 16)
    tokens = torch.randint(64, (2, 16))
    gradients = []
    for step in (model, torch.compile(model, fullgraph=True, backend="aot_eager")):
        model.zero_grad()
        step(pixels, labels=tokens).loss.backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)
    assert torch.isfinite(model(pixels, mask, labels=tokens).loss)


@pytest.mark.parametrize("training", [True, False])
def test_compiled_with_documented_labels(training):
    """The flat list of the masked patches' tokens, whose number depends on the mask."""
    torch._dynamo.reset()
    model = KINDS["mim"]().train(training)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    for masked in (5, 9):
        mask = torch.arange(16).lt(masked).expand(2, 16).contiguous()
        pixels, tokens = torch.randn(2, 3, 32, 32), torch.randint(64, (2 * masked,))
        torch.testing.assert_close(compiled(pixels, mask, labels=tokens).loss, model(pixels, mask, labels=tokens).loss)


def test_exported_with_any_batch_size(model):
    batch = torch.export.Dim("batch", min=1, max=64)
    pixels = torch.randn(2, 3, 32, 32)
    shapes = {"pixel_values": {0: batch}}
    if isinstance(model, BeitForImageClassification | BeitForSemanticSegmentation | BeitModel | BeitBackbone):
        program = torch.export.export(model, (), {"pixel_values": pixels}, dynamic_shapes=shapes)
        arguments = {}
    else:
        mask = torch.rand(2, 16) < 0.5
        arguments = {"bool_masked_pos": mask}
        program = torch.export.export(
            model, (), {"pixel_values": pixels, **arguments}, dynamic_shapes={**shapes, "bool_masked_pos": {0: batch}}
        )
    with torch.no_grad():
        for size in (1, 2, 5):
            pixels = torch.randn(size, 3, 32, 32)
            given = {name: value[:1].expand(size, -1) for name, value in arguments.items()}
            exported = program.module()(pixel_values=pixels, **given)
            torch.testing.assert_close(first(exported), first(model(pixels, **given)), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(model, dtype):
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        exact = first(model(pixels))
        with torch.autocast("cpu", dtype=dtype):
            ours = first(model(pixels))
    assert torch.isfinite(ours).all()
    error = (ours.float() - exact).norm() / exact.norm()
    assert error < (0.05 if dtype == torch.bfloat16 else 0.01)


def test_autocast_training():
    model = KINDS["segment"]().train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(torch.randn(2, 3, 32, 32), labels=torch.randint(5, (2, 32, 32))).loss
    loss.backward()
    assert loss.dtype == torch.float32
    assert all(parameter.grad is None or torch.isfinite(parameter.grad).all() for parameter in model.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_parameters(model, dtype):
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        exact = first(model(pixels))
        ours = first(model.to(dtype)(pixels.to(dtype)))
    assert ours.dtype == dtype
    assert (ours.float() - exact).norm() / exact.norm() < 0.1


def test_an_epsilon_that_vanishes_in_half_precision_is_a_warning():
    model = BeitModel(BeitConfig(**TINY_MODEL))
    with pytest.warns(UserWarning, match="layer_norm_eps 1e-12 is 0 in torch.float16; the original code uses 1e-6"):
        model.half()
    with warnings.catch_warnings(action="error"):
        assert BeitModel(BeitConfig(**TINY_MODEL, layer_norm_eps=1e-6)).half().dtype == torch.float16


@pytest.mark.parametrize("kind", ["mim", "classify", "segment"])
def test_gradient_checkpointing_gives_identical_gradients(kind):
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        model = KINDS[kind]()
        if checkpointing:
            model.gradient_checkpointing_enable()
        model.train()
        torch.manual_seed(1)
        output = model(torch.randn(2, 3, 32, 32))
        output.logits.square().sum().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    assert all(torch.equal(gradients[0][name], gradients[1][name]) for name in gradients[0])


def test_reentrant_checkpointing_is_warned_of():
    model = KINDS["model"]()
    with pytest.warns(UserWarning, match="use_reentrant is True, without effect"):
        model.gradient_checkpointing_enable({"use_reentrant": True})
    assert model.is_gradient_checkpointing


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every_n_layers": 0}, "every_n_layers is 0; expected at least 1"),
        ({"offload": True}, "offload is True; expected False"),
    ],
)
def test_checkpointing_that_cannot_be_is_refused(options, message):
    model = KINDS["model"]()
    with pytest.raises(ValueError, match=message):
        model.activation_checkpointing_enable(**options)
    assert not model.is_gradient_checkpointing
    model.activation_checkpointing_enable()
    model.activation_checkpointing_disable()
    assert not model.is_gradient_checkpointing


PARALLEL = """
import os, sys
import torch
import torch.distributed as dist
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.nn.parallel import DistributedDataParallel
from beit import BeitConfig, BeitForImageClassification

dist.init_process_group("gloo")
rank = dist.get_rank()
config = BeitConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, image_size=32,
                    patch_size=8, use_relative_position_bias=True, use_shared_relative_position_bias=True,
                    num_labels=3, drop_path_rate=0.0, layer_norm_eps=1e-6)
torch.manual_seed(0)
pixels, labels = torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 1])

def fresh():
    torch.manual_seed(1)
    model = BeitForImageClassification(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model

def steps(model, slices):
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for _ in range(3):
        loss = model(pixels[slices], labels=labels[slices]).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        total = loss.detach().clone()
        if slices != slice(None):
            dist.all_reduce(total)
            total /= dist.get_world_size()
        losses.append(total.item())
    model.eval()
    with torch.no_grad():
        return torch.tensor(losses), model(pixels).logits

mine = slice(rank * 2, rank * 2 + 2)
alone = steps(fresh(), slice(None))
sharded = fresh()
for layer in sharded.beit.encoder.layer:
    fully_shard(layer)
fully_shard(sharded)
wrapped = {
    "ddp": DistributedDataParallel(fresh()),
    "fsdp2": sharded,
    "fsdp1": FullyShardedDataParallel(fresh(), use_orig_params=True, device_id=torch.device("cpu")),
}
for name, model in wrapped.items():
    losses, logits = steps(model, mine)
    torch.testing.assert_close(losses, alone[0], atol=1e-5, rtol=1e-4, msg=name)
    torch.testing.assert_close(logits, alone[1], atol=1e-4, rtol=1e-4, msg=name)
dist.barrier()
if rank == 0:
    print("all", list(wrapped), "world", dist.get_world_size())
dist.destroy_process_group()
"""


def test_two_processes_give_the_result_of_one():
    """Three steps and an evaluation under DDP and both kinds of FSDP."""
    done = fork_server().run(code=PARALLEL, ranks=2)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "all ['ddp', 'fsdp2', 'fsdp1'] world 2" in done.stdout
