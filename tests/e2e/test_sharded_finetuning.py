"""Fine-tuning divided over two processes with what changes which parameters learn, or keeps more of them."""

import json

import pytest
from safetensors.torch import load_file

from beit.cli.main import main
from beit.config import BeitConfig
from beit.image import Preprocessing
from beit.models_torch import BeitForImageClassification
from beit.tasks.finetune.lora import FILE_NAME
from tests.conftest import TINY_MODEL
from tests.e2e.small import PICTURES, losses

COMMON = [
    *PICTURES, "--data.val_path=digits:test", "--run.device=cpu", "--run.log_every=1", "--run.report=false",
    "--run.save_every=4", "--train.max_steps=8", "--train.batch_size=32", "--train.accumulate=2",
    "--optim.warmup_steps=2", "--optim.lr=1e-2", "--optim.clip_grad=0.5",
]  # fmt: skip
LORA, PROBE, AVERAGE = ["--lora.rank=2", "--lora.feed_forward=true"], ["--freeze=encoder"], ["--train.ema_decay=0.5"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A model without classes of the digits, so that its head is new."""
    folder = tmp_path_factory.mktemp("checkpoint") / "model"
    BeitForImageClassification(BeitConfig(**TINY_MODEL, num_labels=3)).save_pretrained(folder)
    Preprocessing.cropping((32, 32), 1.0).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    "options", [LORA, PROBE, AVERAGE, [*LORA, *AVERAGE], [*PROBE, *AVERAGE]],
    ids=["lora", "probe", "average", "lora_average", "probe_average"],
)  # fmt: skip
def test_divided_equals_whole(fork_server, checkpoint, tmp_path, options):
    """The same losses, and models that hold and measure the same; what is saved is a plain model."""
    command = ["finetune", *COMMON, f"--checkpoint={checkpoint}", *options]
    for how in ("ddp", "fsdp"):
        ended = fork_server.run(*command, f"--run.sharding={how}", f"--run.output={tmp_path}/{how}", ranks=2)
        assert not any(ended.statuses), ended.errors
    whole, run = tmp_path / "ddp", tmp_path / "fsdp"
    expected = losses(whole)
    assert len(expected) == 8
    assert len(set(expected.values())) == 8, "something is learnt"
    assert list(losses(run).values()) == pytest.approx(list(expected.values()), rel=1e-4)
    result = json.loads((run / "result.json").read_text())
    assert result == pytest.approx(json.loads((whole / "result.json").read_text()), rel=1e-3)
    names = ["model"] + ["model_average"] * (options[-1:] == AVERAGE)
    for name in names:
        assert_evaluates(run / name, tmp_path, result["loss" if name == "model" else "average_loss"])
    if options[0] in LORA:
        trained, theirs = (load_file(folder / "model" / FILE_NAME) for folder in (run, whole))
        assert trained.keys() == theirs.keys()
        assert max(float((trained[key] - theirs[key]).abs().max()) for key in trained) < 1e-4
    if options[0] in PROBE:
        before, after = (load_file(folder / "model.safetensors") for folder in (checkpoint, run / "model"))
        changed = {key for key in before if before[key].shape != after[key].shape or (before[key] != after[key]).any()}
        assert changed == {"classifier.weight", "classifier.bias"}


def assert_evaluates(model, place, loss):
    output = place / "evaluated.json"
    options = ["--data.path=digits:test", "--data.workers=0", "--device=cpu", f"--output={output}"]
    assert main(["evaluate", f"--model={model}", *options]) == 0
    assert json.loads(output.read_text())["numbers"]["loss"] == pytest.approx(loss, rel=1e-4)


def test_an_adaptation_continues_divided_otherwise(fork_server, checkpoint, tmp_path):
    """Over two processes until it is killed after step 4, then whole over one: as if never divided."""
    command = ["finetune", *COMMON, f"--checkpoint={checkpoint}", *LORA, *AVERAGE]
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert fork_server.run(*command, f"--run.output={whole}").statuses == [0]
    newest = run / "checkpoints/step_00000004"
    divided = fork_server.run(*command, "--run.sharding=fsdp", f"--run.output={run}", ranks=2, kill_after=newest)
    assert -9 in divided.statuses
    ended = fork_server.run(*command, f"--run.output={run}")
    assert ended.statuses == [0], ended.errors
    assert "after step 4" in ended.outputs[0]
    assert list(losses(run).values()) == pytest.approx(list(losses(whole).values()), rel=1e-4)
