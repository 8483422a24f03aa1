"""Trainings with Muon: killed and resumed, on two processes, divided, forecast, and where it is refused."""

import json
import signal

import pytest

from tests.e2e.small import FINETUNE, PICTURES, PRETRAIN, TOKENIZER, UNWATCHED, losses

STEPS = 12
COMMON = [
    *PRETRAIN, *UNWATCHED, "--data.per_class=8", "--run.device=cpu", "--run.log_every=1", "--run.save_every=4",
    "--run.report=false", f"--train.max_steps={STEPS}", "--optim.name=muon", "--optim.lr=5e-3",
    "--optim.weight_decay_end=0.2",
]  # fmt: skip
FSDP = "--run.sharding=fsdp"
HALF = "--run.precision=bf16"  # also of Muon's iterations


@pytest.fixture(scope="module")
def whole(fork_server, tmp_path_factory):
    """Return a run that nobody disturbed, and the option that names its tokenizer."""
    run = tmp_path_factory.mktemp("muon") / "run"
    ended = fork_server.run("pretrain", *COMMON, f"--run.output={run}")
    assert not any(ended.statuses), ended.errors
    return run, f"--tokenizer.path={run}/tokenizer/model"


def weights(run):
    return (run / "model/model.safetensors").read_bytes()


@pytest.mark.parametrize(("ranks", "how"), [(1, []), (2, []), (2, [FSDP, HALF])], ids=["one", "two", "divided"])
def test_killed_it_continues_bit_for_bit(fork_server, whole, tmp_path, ranks, how):
    undisturbed, tokenizer = whole
    command = ["pretrain", *COMMON, tokenizer, *how]
    if ranks > 1:
        undisturbed = tmp_path / "undisturbed"
        ended = fork_server.run(*command, f"--run.output={undisturbed}", ranks=ranks)
        assert not any(ended.statuses), ended.errors
        near = 2e-2 if HALF in how else 1e-3
        assert list(losses(undisturbed).values()) == pytest.approx(list(losses(whole[0]).values()), rel=near)
    run = tmp_path / "run"
    command = [*command, f"--run.output={run}"]
    ended = fork_server.run(*command, ranks=ranks, kill_after=run / "checkpoints/step_00000004")
    assert -signal.SIGKILL in ended.statuses
    ended = fork_server.run(*command, ranks=ranks)
    assert not any(ended.statuses), ended.errors
    assert "continuing" in ended.stdout
    assert losses(run) == losses(undisturbed)
    assert weights(run) == weights(undisturbed)


def test_it_learns_and_the_recipe_says_so(whole):
    run = whole[0]
    assert "name: muon" in (run / "recipe.yaml").read_text()
    assert losses(run)[STEPS] < losses(run)[1]
    assert json.loads((run / "result.json").read_text())["pictures"] > 0


def test_a_run_does_not_change_its_optimiser(fork_server, whole, tmp_path):
    run = tmp_path / "run"
    command = ["pretrain", *COMMON, whole[1], f"--run.output={run}"]
    fork_server.run(*command, kill_after=run / "checkpoints/step_00000004")
    for force, words in (([], "optim.name was 'muon' and is now 'adamw'"), (["--force"], "with another optim.name")):
        ended = fork_server.run(*command, "--optim.name=adamw", *force)
        assert ended.statuses == [1]
        assert words in ended.stderr


def test_a_dry_run_counts_its_memory(fork_server, whole, tmp_path):
    ended = fork_server.run("pretrain", *COMMON, whole[1], f"--run.output={tmp_path}/run", "--dry-run")
    assert not any(ended.statuses), ended.errors
    assert "weights and optimiser" in ended.stdout
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["pretrain", *COMMON, "--run.framework=jax"], "optim.name is muon and run.framework is jax"),
        (["pretrain", *COMMON, "--tokenizer.optim.name=muon"], "tokenizer.optim.name is muon, and a discrete VAE has"),
        (["tokenizer", "train", *PICTURES, *TOKENIZER, "--optim.name=muon"], "set optim.name to adamw"),
        (["finetune", *FINETUNE, "--optim.name=muon", "--lora.rank=2", "--checkpoint=MODEL"], "or freeze: encoder"),
    ],
)
def test_where_it_is_refused_nothing_is_written(fork_server, whole, tmp_path, command, words):
    command = [word.replace("MODEL", str(whole[0] / "model")) for word in command]
    ended = fork_server.run(*command, f"--run.output={tmp_path}/run")
    assert ended.statuses == [1]
    assert words in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_fine_tuning_with_layer_wise_decay(fork_server, whole, tmp_path):
    ended = fork_server.run(
        "finetune", *FINETUNE, "--optim.name=muon", "--optim.layer_decay=0.7", f"--checkpoint={whole[0]}/model",
        "--train.max_steps=8", "--train.batch_size=32", "--run.log_every=1", "--run.report=false",
        f"--run.output={tmp_path}/run",
    )  # fmt: skip
    assert not any(ended.statuses), ended.errors
    assert list(losses(tmp_path / "run")) == list(range(1, 9))
    assert 0 <= json.loads((tmp_path / "run/result.json").read_text())["accuracy"] <= 1
