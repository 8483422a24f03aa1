"""Costs on paper: the table of GPUs, counted operations, and the arithmetic of steps, memory and money."""

import json
from math import prod
from pathlib import Path

import pytest

from beit.cli.main import main
from beit.cli.training import Machines, parse_training
from beit.engine import paper
from beit.engine.muon import iteration_flops
from beit.engine.paper import Gpu, gpu_named, on_paper
from beit.errors import ConfigError
from beit.models_torch import device
from beit.settings.pretrain import PretrainJob
from beit.tasks.pretrain.task import PretrainTask
from tests.e2e.small import FINETUNE, PICTURES, PRETRAIN, TOKENIZER

TABLE = json.loads(Path(paper.__file__).with_name("gpus.json").read_text())
GPU = Gpu(bf16=1e9, tf32=5e8, fp32=1e8, memory=1e9, bandwidth=1e9, link=1e9, network=1e8, source="here")
DRY = ["--train.max_steps=9", "--run.device=cpu", "--dry-run"]


def test_every_gpu_of_the_table_is_plausible():
    for name in TABLE:
        gpu = gpu_named(name.lower())
        assert 1e14 < gpu.bf16 < 1e16
        assert gpu.fp32 <= gpu.tf32 < gpu.bf16
        assert 1e10 < gpu.memory < gpu.bandwidth
        assert gpu.network <= gpu.link < gpu.bandwidth
        assert gpu.source
    with pytest.raises(ConfigError, match=r"--device is 'H1000'; expected one of H100, H200"):
        gpu_named("H1000")


@pytest.fixture(scope="module")
def estimates(tmp_path_factory):
    words = [*PRETRAIN, *DRY, f"--run.output={tmp_path_factory.mktemp('run')}/run", "--train.batch_size=64"]
    job = parse_training(PretrainJob, "beit pretrain", "", words).job
    return {world: on_paper(PretrainTask, job, GPU, world) for world in (1, 8, 16)}


@pytest.mark.e2e
def test_what_is_counted_agrees_with_the_formula(estimates):
    one = estimates[1]
    assert one.model_flops == pytest.approx(one.cost.flops_per_picture, rel=0.15)
    assert one.preparing_flops > 0
    assert one.comes_first


@pytest.mark.e2e
def test_computing_is_shared_and_gradients_travel(estimates):
    one, eight, sixteen = estimates.values()
    assert one.computing == pytest.approx(8 * eight.computing) == pytest.approx(16 * sixteen.computing)
    peak = {"bf16": GPU.bf16, "tf32": GPU.tf32}[one.precision]
    assert one.computing == pytest.approx(64 * (one.model_flops + one.preparing_flops) / (paper.SHARE * peak))
    assert one.communicating == 0
    assert sixteen.communicating == pytest.approx(eight.communicating * 10 * (15 / 16) / (7 / 8))
    assert one.step == one.computing + one.updating
    assert sixteen.memory < one.memory


@pytest.mark.e2e
@pytest.mark.parametrize(
    "command",
    [
        ["pretrain", *PRETRAIN],
        ["finetune", *FINETUNE],
        ["tokenizer", "train", *PICTURES, *TOKENIZER],
        ["finetune", *FINETUNE, "--mixing.mixup=0.8", "--run.sharding=fsdp"],
    ],
    ids=["pretrain", "finetune", "dVAE", "mixed and divided"],
)
def test_the_command_says_time_memory_and_money(command, tmp_path, capsys):
    words = [f"--run.output={tmp_path}/run", "--processes", "16", "--device=h100", "--price", "2.5"]
    assert main([*command, *DRY, "--train.batch_size=32", *words]) == 0
    said = capsys.readouterr().out
    for part in ("estimated per process", "device       h100: ", "on paper     ", "on 16 x h100: ", "at $2.5 an hour"):
        assert part in said
    assert ("activations are not in it, and grow" in said) == (command[0] != "pretrain")
    assert not (tmp_path / "run").exists()
    assert "kernels that do so little take longer to start" in said


@pytest.mark.e2e
def test_the_precision_of_another_gpu_is_not_judged_by_this_processor(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(device.FASTEST, "way", lambda *_: pytest.fail("timed here"))
    words = [*FINETUNE, *DRY, f"--run.output={tmp_path}/run", "--train.batch_size=32", "--device=H100"]
    assert main(["finetune", *words]) == 0
    assert "slower than fp32" not in caplog.text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--device", "H100"], "--device belongs to --dry-run; a run computes on --run.device"),
        (["--dry-run", "--price", "2"], "--price belongs to --device"),
        (["--dry-run", "--device=H100", "--price=cheap"], "the price after --price is cheap"),
    ],
)
def test_what_is_refused(words, said):
    with pytest.raises(ConfigError, match=said):
        parse_training(PretrainJob, "beit pretrain", "", [*PRETRAIN, *words])


def test_the_words_may_be_written_in_both_ways():
    words = [*PRETRAIN, "--dry-run", "--processes=8", "--device", "L4", "--price=0.5"]
    assert parse_training(PretrainJob, "beit pretrain", "", words).machines == Machines(8, "L4", 0.5)


@pytest.mark.e2e
def test_what_is_computed_again_takes_longer_and_less_memory(tmp_path):
    words = [*PRETRAIN, *DRY, f"--run.output={tmp_path}/run", "--train.batch_size=64", "--run.precision=fp32"]
    plain, again = (
        on_paper(PretrainTask, parse_training(PretrainJob, "beit pretrain", "", [*words, *more]).job, GPU, 1)
        for more in ([], ["--train.recompute=true"])
    )
    assert 1.15 * plain.model_flops < again.model_flops < 1.34 * plain.model_flops
    assert again.memory < plain.memory


@pytest.mark.e2e
def test_muon_orthogonalises_and_keeps_one_moment(tmp_path):
    words = [*PRETRAIN, *DRY, f"--run.output={tmp_path}/run", "--train.batch_size=64"]
    by_adam, by_muon = (
        on_paper(PretrainTask, parse_training(PretrainJob, "beit pretrain", "", [*words, *more]).job, GPU, 1)
        for more in ([], ["--optim.name=muon"])
    )
    matrices = [(32, 32)] * 8 + [(64, 32)] * 4
    flops, numbers = (sum(one(*shape) for shape in matrices) for one in (iteration_flops, lambda *shape: prod(shape)))
    more = flops / (paper.SHARE * GPU.bf16) - 8 * numbers / GPU.bandwidth
    assert by_muon.updating == pytest.approx(by_adam.updating + more)
