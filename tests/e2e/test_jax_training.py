"""Training in JAX through the command line: the same losses as torch, devices, kills, and what it refuses."""

import json
import signal
import time

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.conftest import XLA_FLAGS
from tests.e2e.small import FINETUNE, PRETRAIN, UNWATCHED, losses
from tests.fork_server import fork_server

STEPS = 20
LENGTH = [f"--train.max_steps={STEPS}", "--run.log_every=1", "--run.report=false"]
PRETRAINING = ["pretrain", *PRETRAIN, *UNWATCHED, *LENGTH, "--model.drop_path_rate=0"]
JAX = ["--run.framework=jax", "--run.device=cpu"]
FOUR = {"XLA_FLAGS": " ".join((*XLA_FLAGS, "--xla_force_host_platform_device_count=4"))}


def beit(*arguments, **options):
    """Run the command line in a process that has imported JAX."""
    return fork_server("jax").run(*arguments, **options)


def done(*arguments, **options):
    process = beit(*arguments, **options)
    assert process.returncode == 0, process.stderr
    return process


@pytest.fixture(scope="module")
def in_torch(tmp_path_factory):
    """A run in torch, with its tokenizer."""
    run = tmp_path_factory.mktemp("torch") / "run"
    done(*PRETRAINING, f"--run.output={run}")
    return run


@pytest.fixture(scope="module")
def tokens(in_torch):
    return f"--tokenizer.path={in_torch / 'tokenizer/model'}"


@pytest.fixture(scope="module")
def in_jax(tokens, tmp_path_factory):
    """The same run in JAX."""
    run = tmp_path_factory.mktemp("jax") / "run"
    done(*PRETRAINING, *JAX, tokens, f"--run.output={run}")
    return run


def numbers(run):
    """Return a run's training lines without what was timed."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    names = ("loss", "accuracy", "prediction_perplexity", "grad_norm", "lr")
    return [{name: line[name] for name in names if name in line} for line in lines if line["split"] == "train"]


def assert_alike(run, other, least=STEPS):
    ours, theirs = numbers(run), numbers(other)
    assert len(ours) == len(theirs) >= least
    for mine, line in zip(ours, theirs, strict=True):
        assert mine == pytest.approx(line, rel=1e-4, abs=1e-4)


def test_twenty_steps_of_pretraining_have_the_losses_of_torch(in_torch, in_jax):
    assert_alike(in_jax, in_torch)
    assert losses(in_jax)[STEPS] < losses(in_jax)[1]
    result, wanted = (json.loads((run / "result.json").read_text()) for run in (in_jax, in_torch))
    assert result["loss"] == pytest.approx(wanted["loss"], abs=1e-4)
    trained, theirs = (load_file(run / "model/model.safetensors") for run in (in_jax, in_torch))
    assert trained.keys() == theirs.keys()
    for name, array in trained.items():
        np.testing.assert_allclose(array, theirs[name], atol=2e-3, err_msg=name)


def test_four_devices_share_a_batch(in_jax, tokens, tmp_path):
    done(*PRETRAINING, *JAX, tokens, f"--run.output={tmp_path / 'run'}", env=FOUR)
    assert_alike(tmp_path / "run", in_jax)
    refused = beit(*PRETRAINING, *JAX, tokens, f"--run.output={tmp_path / 'odd'}", "--train.batch_size=30", env=FOUR)
    assert refused.returncode == 1
    assert "30 pictures, which 4 devices cannot share" in refused.stderr


def test_parts_of_a_batch_add_up_layers_may_be_computed_again_and_the_tokenizer_is_torchs(in_jax, tmp_path):
    options = ["--train.accumulate=3", "--train.recompute=true"]  # it trains the same tokenizer first
    done(*PRETRAINING, *JAX, *options, f"--run.output={tmp_path / 'run'}")
    lines, wanted = numbers(tmp_path / "run"), numbers(in_jax)
    assert [line["loss"] for line in lines] == pytest.approx([line["loss"] for line in wanted], abs=1e-4)


@pytest.mark.parametrize("chance", [["--model.drop_path_rate=0.3", "--train.ema_decay=0.9"]])
def test_a_killed_run_continues_bit_for_bit(tokens, tmp_path, chance):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    command = [*PRETRAINING, *JAX, tokens, *chance, "--run.save_every=4"]
    done(*command, f"--run.output={whole}")
    process = fork_server("jax").start(*command, f"--run.output={cut}")
    after, deadline = int(np.random.default_rng().integers(5, STEPS - 4)), time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if max(losses(cut), default=0) >= after and any((cut / "checkpoints").glob("step_*")):
            break  # a checkpoint may be whole some steps later only
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert max(losses(cut)) < STEPS, "killed in the middle"
    printed = done(*command, f"--run.output={cut}").stdout
    assert "continuing" in printed
    assert losses(cut) == losses(whole), f"killed after step {after}"
    for name in ("model/model.safetensors", "model_average/model.safetensors", "result.json"):
        assert (cut / name).read_bytes() == (whole / name).read_bytes(), name
    assert (whole / "model_average/model.safetensors").read_bytes() != (whole / "model/model.safetensors").read_bytes()


TUNINGS = {
    "mixed": ["--mixing.mixup=0.8", "--mixing.cutmix=1.0", "--optim.layer_decay=0.7", "--model.drop_path_rate=0"],
    "frozen": ["--freeze=encoder", "--mixing.mixup=0", "--mixing.cutmix=0", "--class_weights=balanced"],
}


@pytest.mark.parametrize("kind", TUNINGS)
def test_fine_tuning_has_the_losses_of_torch(in_torch, kind, tmp_path):
    command = [
        "finetune", *FINETUNE, *LENGTH, *TUNINGS[kind], f"--checkpoint={in_torch / 'model'}",
        "--optim.lr=1e-3", "--train.ema_decay=0.9", "--train.batch_size=32", "--optim.weight_decay_end=0.2",
    ]  # fmt: skip
    done(*command, f"--run.output={tmp_path / 'torch'}")
    done(*command, *JAX, f"--run.output={tmp_path / 'jax'}")
    assert_alike(tmp_path / "jax", tmp_path / "torch")
    result, wanted = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("jax", "torch"))
    for name in ("accuracy", "average_accuracy"):
        assert result[name] == pytest.approx(wanted[name], abs=0.01)


def test_what_jax_does_not_train_is_refused_before_the_first_step(in_torch, in_jax, tokens, tmp_path):
    for options, message in (
        (["--run.sharding=fsdp"], "run.sharding is fsdp"),
        (["--train.compile=true"], "train.compile is set, and run.framework jax always compiles"),
        (["--aggregation.early_layer=1"], "aggregation.early_layer is set"),
    ):
        refused = beit(*PRETRAINING, *JAX, tokens, *options, f"--run.output={tmp_path / 'run'}")
        assert refused.returncode == 1, options
        assert message in refused.stderr
    lora = ["finetune", *FINETUNE, *LENGTH, f"--checkpoint={in_torch / 'model'}", "--lora.rank=2", *JAX]
    refused = beit(*lora, f"--run.output={tmp_path / 'lora'}")
    assert (refused.returncode, "lora.rank is set" in refused.stderr) == (1, True)
    more = ["--run.force=true", "--train.max_steps=21", "--run.framework=torch", f"--run.output={in_jax}"]
    (in_jax / "result.json").rename(in_jax / "kept.json")
    refused = beit(*PRETRAINING, tokens, *more)
    (in_jax / "kept.json").rename(in_jax / "result.json")
    assert refused.returncode == 1
    assert "optimiser.safetensors" in refused.stderr
