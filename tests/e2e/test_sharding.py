"""Parameters, gradients and optimiser state divided over two processes: the same run as with whole copies."""

import json

import pytest
import torch
from safetensors.torch import load_file

from beit.engine.sharding import travelling
from tests.e2e.small import FEW, FINETUNE, PICTURES, PRETRAIN, UNWATCHED, losses

COMMON = [
    *PRETRAIN, *FEW, "--run.device=cpu", "--run.log_every=1", "--run.save_every=8", "--run.report=false",
    "--train.max_steps=24", "--train.accumulate=2", "--train.ema_decay=0.9", "--optim.clip_grad=0.5",
    "--validation.every=8", "--validation.pictures=32",
]  # fmt: skip
FSDP = "--run.sharding=fsdp"
BRIEF = [*COMMON, *UNWATCHED]


def done(ended):
    assert not any(ended.statuses), ended.errors
    return ended


@pytest.fixture(scope="module")
def copies(fork_server, tmp_path_factory):
    """Return a run of two processes with whole copies, and the tokenizer that all runs share."""
    run = tmp_path_factory.mktemp("ddp") / "run"
    done(fork_server.run("pretrain", *COMMON, f"--run.output={run}", ranks=2))
    return run, f"--tokenizer.path={run}/tokenizer/model"


@pytest.fixture(scope="module")
def divided(fork_server, copies, tmp_path_factory):
    """The same run, divided over the two processes."""
    run = tmp_path_factory.mktemp("fsdp") / "run"
    done(fork_server.run("pretrain", *COMMON, copies[1], FSDP, f"--run.output={run}", ranks=2))
    return run


def numbers(run, split, name):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line[name] for line in lines if line["split"] == split and name in line]


def assert_same(expected, run, bound):
    assert list(losses(run)) == list(losses(expected))
    for split, name in (("train", "loss"), ("train", "grad_norm"), ("val", "held_out_loss")):
        assert numbers(run, split, name) == pytest.approx(numbers(expected, split, name), rel=bound), name
    assert json.loads((run / "result.json").read_text())["loss"] == pytest.approx(
        json.loads((expected / "result.json").read_text())["loss"], rel=bound
    )
    for name in ("model", "model_average", "best"):
        ours, theirs = (load_file(folder / name / "model.safetensors") for folder in (run, expected))
        assert ours.keys() == theirs.keys()
        for key, tensor in ours.items():
            torch.testing.assert_close(
                tensor, theirs[key], rtol=bound, atol=bound, msg=lambda text, key=key: key + text
            )


def test_divided_equals_whole(copies, divided):
    assert max(numbers(divided, "train", "grad_norm")) > 0.5, "the gradient is clipped"
    assert_same(copies[0], divided, 1e-4)


def test_a_run_changes_how_and_over_how_many_it_is_divided(fork_server, copies, tmp_path):
    """Whole copies on two processes, then divided over two, then one process; interrupted after steps 8 and 16."""
    whole, tokenizer = copies
    run = tmp_path / "run"
    command = ["pretrain", *BRIEF, tokenizer, f"--run.output={run}"]
    for ranks, how, step in ((2, [], 8), (2, [FSDP], 16)):
        newest = run / f"checkpoints/step_{step:08d}"
        assert -9 in fork_server.run(*command, *how, ranks=ranks, kill_after=newest).statuses
        assert newest.exists()
        assert not (run / "result.json").exists()
    last = done(fork_server.run(*command))
    assert "after step " in last.outputs[0]
    assert_same(whole, run, 1e-5)


def test_a_divided_run_resumes_bit_for_bit(fork_server, copies, divided, tmp_path):
    command = ["pretrain", *BRIEF, copies[1], FSDP]
    run = tmp_path / "run"
    fork_server.run(*command, f"--run.output={run}", ranks=2, kill_after=run / "checkpoints/step_00000008")
    done(fork_server.run(*command, f"--run.output={run}", ranks=2))
    for name in ("model", "model_average", "best"):
        weights = [folder / name / "model.safetensors" for folder in (divided, run)]
        assert weights[0].read_bytes() == weights[1].read_bytes(), name


def test_patch_aggregation_is_divided_too(fork_server, copies, tmp_path):
    tokenizer = copies[1]
    more = ["--aggregation.early_layer=1", "--train.max_steps=20"]
    for name, how in (("ddp", []), ("fsdp", [FSDP])):
        done(fork_server.run("pretrain", *BRIEF, tokenizer, *more, *how, f"--run.output={tmp_path}/{name}", ranks=2))
    assert_same(tmp_path / "ddp", tmp_path / "fsdp", 1e-4)


def test_fine_tuning_with_layer_wise_decay(fork_server, tmp_path):
    command = ["finetune", *FINETUNE, "--run.device=cpu", "--run.log_every=1", "--run.report=false",
               "--train.max_steps=20", "--train.batch_size=32", "--optim.layer_decay=0.7"]  # fmt: skip
    for name, how in (("ddp", []), ("fsdp", [FSDP])):
        done(fork_server.run(*command, *how, f"--run.output={tmp_path}/{name}", ranks=2))
    expected, divided = losses(tmp_path / "ddp"), losses(tmp_path / "fsdp")
    assert list(divided.values()) == pytest.approx(list(expected.values()), rel=1e-4)


def test_a_codebook_beside_divided_parameters(fork_server, tmp_path):
    """Its codes are no parameters: they stay whole, and the same on both processes."""
    teacher = tmp_path / "teacher"
    done(fork_server.run("finetune", *FINETUNE, "--train.max_steps=8", "--run.report=false", f"--run.output={teacher}"))
    command = [
        "tokenizer", "distill", *PICTURES, f"--teacher={teacher}/model", "--image_size=16", "--model.patch_size=4",
        "--model.vocab_size=32", "--model.code_size=8", "--model.hidden_size=32", "--model.num_hidden_layers=1",
        "--model.num_attention_heads=4", "--model.intermediate_size=64", "--model.decoder_layers=1",
        "--optim.warmup_steps=2", "--train.batch_size=32", "--train.max_steps=20", "--run.device=cpu",
        "--validation.every=10", "--run.report=false", "--run.log_every=1",
    ]  # fmt: skip
    for name, how in (("ddp", []), ("fsdp", [FSDP])):
        done(fork_server.run(*command, *how, f"--run.output={tmp_path}/{name}", ranks=2))
    for name in ("loss", "perplexity", "dead_codes"):
        expected, divided = (numbers(tmp_path / kind, "train", name) for kind in ("ddp", "fsdp"))
        assert divided == pytest.approx(expected, rel=1e-4), name


COMPILED = """
import torch
import torch.distributed as dist
from accelerate import Accelerator
from beit import BeitConfig, BeitForMaskedImageModeling
from beit.engine.compilation import compile_layers
from beit.engine.sharding import divided, full_tensor
from torch._dynamo.testing import CompileCounterWithBackend

counter, compile_ = CompileCounterWithBackend("aot_eager"), torch.compile
torch.compile = lambda what, **how: compile_(what, **{**how, "backend": counter, "fullgraph": True})
accelerator = Accelerator(cpu=True)
torch.manual_seed(0)
model = BeitForMaskedImageModeling(BeitConfig(
    hidden_size=32, num_hidden_layers=4, num_attention_heads=4, intermediate_size=64, image_size=32, patch_size=8,
    vocab_size=64, use_shared_relative_position_bias=True, use_mask_token=True, drop_path_rate=0.0, layer_norm_eps=1e-6,
))
pixels, mask, tokens = torch.randn(4, 3, 32, 32), torch.arange(16).lt(6).expand(4, 16), torch.randint(64, (4, 16))
own = divided(model, accelerator)
compile_layers(own)
for part in (model, own):
    for _ in range(2):
        part.zero_grad()
        part.train()(pixels, mask, labels=tokens).loss.backward()
for (name, whole), mine in zip(model.named_parameters(), own.parameters(), strict=True):
    if whole.grad is not None:
        torch.testing.assert_close(full_tensor(mine.grad), whole.grad, atol=1e-6, rtol=1e-4, msg=name)
assert counter.frame_count == 1, counter.frame_count
if accelerator.is_main_process:
    print("one program")
dist.destroy_process_group()
"""


def test_divided_layers_are_compiled(fork_server):
    """One program for all layers, whose parameters are gathered before it and freed after it."""
    ended = fork_server.run(code=COMPILED, ranks=2)
    assert ended.statuses == [0, 0], ended.errors
    assert "one program" in ended.stdout


def test_types_that_travel():
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    kinds = [travelling(device, precision) for device, precision in ((gpu, "bf16"), (gpu, "no"), (cpu, "bf16"))]
    assert [kind.param_dtype for kind in kinds] == [torch.bfloat16, None, None]
    assert all(kind.reduce_dtype == torch.float32 and not kind.cast_forward_inputs for kind in kinds)
