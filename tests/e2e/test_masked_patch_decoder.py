"""Pre-trainings that encode visible patches only: killed and resumed, on two processes, and used afterwards."""

import json
import shutil
import signal

import pytest

from beit import BeitForMaskedImageModeling
from beit.cli.main import main
from tests.e2e.small import PRETRAIN, losses

STEPS = 12
COMMON = [
    *PRETRAIN, "--data.per_class=8", "--run.device=cpu", "--run.report=false", "--run.log_every=1",
    "--run.save_every=4", f"--train.max_steps={STEPS}",
    "--decoder.layers=1", "--model.positions=absolute", "--mask.kind=random", "--mask.count=10",
    "--validation.every=4", "--validation.pictures=32", "--train.ema_decay=0.9",
    "--train.recompute=true", "--optim.lr=1e-2", "--gallery.every=4",
]  # fmt: skip
FSDP = "--run.sharding=fsdp"


def done(ended):
    assert not any(ended.statuses), ended.errors
    return ended


@pytest.fixture(scope="module")
def whole(fork_server, tmp_path_factory):
    """Return a run that nobody disturbed, and the option that names its tokenizer."""
    run = tmp_path_factory.mktemp("decoder") / "run"
    done(fork_server.run("pretrain", *COMMON, f"--run.output={run}"))
    return run, f"--tokenizer.path={run}/tokenizer/model"


def test_killed_it_continues_bit_for_bit(fork_server, whole, tmp_path):
    undisturbed, tokenizer = whole
    run = tmp_path / "run"
    command = ["pretrain", *COMMON, tokenizer, f"--run.output={run}"]
    ended = fork_server.run(*command, kill_after=run / "checkpoints/step_00000004")
    assert -signal.SIGKILL in ended.statuses
    assert "continuing" in done(fork_server.run(*command)).stdout
    assert losses(run) == losses(undisturbed)
    weights = [f"{name}.safetensors" for name in ("model/model", "model_average/model", "best/decoder")]
    for name in (*weights, "result.json"):
        assert (run / name).read_bytes() == (undisturbed / name).read_bytes(), name


@pytest.mark.parametrize("how", [[], [FSDP]], ids=["whole", "divided"])
def test_two_processes_learn_as_one(fork_server, whole, tmp_path, how):
    run, tokenizer = whole
    done(fork_server.run("pretrain", *COMMON, tokenizer, *how, f"--run.output={tmp_path}/two", ranks=2))
    assert list(losses(tmp_path / "two").values()) == pytest.approx(list(losses(run).values()), rel=1e-3)


def test_it_learns_and_what_it_measures_is_the_decoders(whole):
    run, _ = whole
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert losses(run)[STEPS] < losses(run)[1]
    held_out = min(line["held_out_loss"] for line in lines if "held_out_loss" in line)
    assert json.loads((run / "result.json").read_text())["loss"] == pytest.approx(held_out, rel=0.1)


def test_the_model_reconstructs_with_the_decoder_beside_it(whole, tmp_path, capsys):
    run, tokenizer = whole
    assert BeitForMaskedImageModeling.from_pretrained(run / "model").config.mask_tokens_in_decoder
    predict = ["predict", str(run / "model"), str(run / "pictures"), "--task"]
    assert main([*predict, "embed", "--output", str(tmp_path / "embeddings.jsonl")]) == 0
    capsys.readouterr()
    paint = [*predict, "reconstruct", "--tokenizer", tokenizer.partition("=")[2], "--output"]
    assert main([*paint, str(tmp_path / "painted")]) == 0
    assert len(list((tmp_path / "painted").glob("*.png"))) >= 1
    alone = tmp_path / "alone"
    shutil.copytree(run / "model", alone)
    (alone / "decoder.safetensors").unlink()
    assert main([paint[0], str(alone), *paint[2:], str(tmp_path / "nothing")]) == 1
    assert "no decoder.safetensors beside it" in capsys.readouterr().err
