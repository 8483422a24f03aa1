"""What a person sees of a run, before it and while it works."""

import json

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from beit.cli.main import main
from beit.config import BeitConfig
from beit.models_torch import BeitForMaskedImageModeling
from beit.training.cost import forward_flops, training_flops
from beit.training.watch import sparkline
from tests.e2e.small import PRETRAIN, beit


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("watched") / "run"
    done = beit("pretrain", *PRETRAIN, "--train.max_steps=8", "--run.log_every=2", f"--run.output={path}")
    assert done.returncode == 0, done.stderr
    return path


def test_metrics_tell_how_the_machine_is_used(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for line in lines[:-1]:
        assert line["images_per_second"] > 0
        assert 0 <= line["data_wait"] <= 1
        assert line["memory_gib"] > 0.05
        assert 0 < line["flops_utilisation"] < 1
        assert 1 <= line["prediction_perplexity"] <= 32


def test_watch(run, capsys):
    assert main(["watch", str(run)]) == 0
    shown = capsys.readouterr().out
    assert "step 8 of 8, finished" in shown
    assert "prediction_perplexity" in shown
    assert main(["watch", str(run / "model")]) == 1
    assert "holds no run" in capsys.readouterr().err


def test_sparkline():
    assert sparkline([0, 1, 2, 3.5, 7]) == "▁▂▃▅█"
    assert sparkline([1, 1, 1]) == sparkline([1]) == ""
    assert len(sparkline(range(1000))) == 40


def test_a_dry_run_tells_the_cost_and_writes_nothing(tmp_path):
    done = beit("pretrain", *PRETRAIN, "--train.epochs=10", "--dry-run", f"--run.output={tmp_path}/run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for word in ("parameters", "memory", "GFLOP per picture", "steps        385 of 32 pictures", "whole run"):
        assert word in done.stdout
    assert not list(tmp_path.iterdir())
    done = beit("pretrain", *PRETRAIN, "--dry-run", "--mask.count=99", f"--run.output={tmp_path}/run")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1


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


def test_a_run_continues_with_other_settings_only_by_force(run, tmp_path):
    command = ["pretrain", *PRETRAIN, "--run.log_every=2", f"--run.output={tmp_path}/run", "--run.report=false",
               f"--tokenizer.path={run}/tokenizer/model"]  # fmt: skip
    assert beit(*command, "--train.max_steps=8").returncode == 0
    (tmp_path / "run/result.json").unlink()
    done = beit(*command, "--train.max_steps=12")
    assert done.returncode == 1
    assert "train.max_steps was 8 and is now 12" in done.stderr
    done = beit(*command, "--train.max_steps=12", "--force")
    assert done.returncode == 0, done.stderr
    assert "continues with other settings: train.max_steps was 8 and is now 12" in done.stderr
    steps = [json.loads(line)["step"] for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert max(steps) == 12
