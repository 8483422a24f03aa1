"""Dry runs of a pre-training: the forecast, and what is refused."""

import re
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator

from beit.cli import forecast as cli_forecast
from beit.cli.main import main
from beit.config import BeitConfig
from beit.engine import forecast, timed_steps
from beit.engine import torch_backend as trainee
from beit.image import Preprocessing
from beit.models_torch import BeitForMaskedImageModeling
from beit.tasks.pretrain.task import PretrainTask
from tests.e2e.small import PICTURES, PRETRAIN

pytestmark = pytest.mark.e2e

DRY = ["pretrain", *PRETRAIN, "--train.max_steps=9", "--run.device=cpu", "--dry-run"]


def run_forecast(capsys, *options):
    status = main([*DRY, *options])
    shown = capsys.readouterr()
    return status, shown.out.partition("parameters   ")[2], shown.err


@pytest.fixture
def steps(monkeypatch):
    """Shapes of what goes through the model in every part of a step."""
    seen = []
    real = trainee.add_gradients

    def note(accelerator, module, progress, parts, weights):
        seen.append([len(part["pixel_values"]) for part in parts if "bool_masked_pos" in part])
        return real(accelerator, module, progress, parts, weights)

    monkeypatch.setattr(trainee, "add_gradients", note)
    return seen


def test_a_checkpoint_is_what_is_measured(tmp_path, capsys):
    config = BeitConfig(
        hidden_size=48, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64, image_size=16, patch_size=4,
        vocab_size=32, use_mask_token=True, use_shared_relative_position_bias=True,
    )  # fmt: skip
    model = BeitForMaskedImageModeling(config)
    model.save_pretrained(tmp_path / "model")
    Preprocessing((16, 16), (18, 18)).save_pretrained(tmp_path / "model")
    codebook = [word for word in PRETRAIN if "tokenizer" in word]
    command = [*PICTURES, *codebook, "--mask.count=7", "--mask.min_block=2", "--train.batch_size=8", "--dry-run"]
    settings = ["--train.max_steps=9", "--optim.warmup_steps=0", "--run.device=cpu"]
    assert main(["pretrain", *command, *settings, f"--checkpoint={tmp_path / 'model'}"]) == 0
    assert f"parameters   {model.num_parameters():,}\n" in capsys.readouterr().out


def test_one_process_takes_its_share_of_the_batch(steps, capsys):
    status, shown, error = run_forecast(capsys, "--processes", "4", "--train.accumulate=2")
    assert status == 0, error
    assert steps == [[4, 4]] * 6 + [[]] * 6  # then those of the tokenizer's training
    assert "9 of 32 pictures, 8 on each of 4 processes" in shown
    assert "as one of 4 processes like this; their communication is not counted" in shown
    assert re.search(r"on 4 processes, and \d+ s before for its tokenizer", shown)
    status, alone, _ = run_forecast(capsys)
    assert steps[12:] == [[32]] * 6 + [[]] * 6
    assert "processes like this" not in alone.replace("one process like this", "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--processes=5"], "train.batch_size 32 is not a multiple of the 5 processes; use 30"),
        (["--processes=16", "--train.accumulate=3"], "train.accumulate is 3, and each of 16 processes has 2 of the 32"),
        (["--processes=0"], "the number after --processes is 0; expected 1 or more"),
        (["--processes"], "the number after --processes is missing; expected 1 or more"),
        (["--tokenizer.optim.warmup_steps=20"], "the warm-up of 20 steps is not shorter than the run of 20"),
    ],
)
def test_what_the_run_would_refuse_is_refused(capsys, options, message):
    status, _, error = run_forecast(capsys, *options)
    assert status == 1
    assert message in error
    assert error.count("\n") == 1


def test_a_run_of_days_is_answered_with_a_smaller_one(monkeypatch, capsys):
    _, shown, _ = run_forecast(capsys)
    assert "recipes/pretrain_cifar10_tiny.yaml" not in shown
    monkeypatch.setattr(cli_forecast, "_LONG", 0.0)
    _, shown, _ = run_forecast(capsys)
    assert "see recipes/pretrain_cifar10_tiny.yaml" in shown


def test_a_slow_machine_takes_no_step_after_enough(monkeypatch, steps, capsys):
    monkeypatch.setattr(timed_steps, "_ENOUGH_SECONDS", 0.0)
    status, _, error = run_forecast(capsys)
    assert status == 0, error
    assert steps == [[32]] * 2 + [[]] * 2, "one to warm up, one that counts"


def test_pictures_of_which_none_can_be_read_are_one_line(tmp_path, capsys):
    for number in range(40):
        (tmp_path / f"{number}.png").write_bytes(b"no picture")
    status, _, error = run_forecast(capsys, f"--data.path={tmp_path}")
    assert status == 1
    assert re.search(r"beit: none of the \d+ pictures is usable; first: \S+\.png ", error)
    assert "Traceback" not in error


def test_processes_are_only_forecast(capsys):
    assert main(["pretrain", *PRETRAIN, "--processes=2"]) == 1
    assert "--processes belongs to --dry-run" in capsys.readouterr().err


def fails(kind, text):
    def fail(*_):
        raise kind(text)

    return fail


@pytest.mark.parametrize(
    "failure",
    [
        (torch.OutOfMemoryError, "CUDA out of memory. Tried to allocate 20.00 GiB"),
        (MemoryError, ""),
        (RuntimeError, "[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_too_little_memory_is_said_below_what_is_known(monkeypatch, capsys, failure):
    monkeypatch.setattr(trainee, "add_gradients", fails(*failure))
    status, shown, error = run_forecast(capsys, "--train.accumulate=2")
    assert status == 1
    for word in ("estimated per process", "GFLOP per picture", "9 of 32 pictures"):
        assert word in shown
    assert "the 32 pictures of a process go through the model in 2 parts; raise train.accumulate" in error
    assert error.count("\n") == 1


def test_too_little_memory_for_the_tokenizer_names_its_settings(monkeypatch, capsys):
    real = trainee.add_gradients

    def add_gradients(accelerator, module, progress, parts, weights):
        if "bool_masked_pos" not in parts[0]:
            raise MemoryError
        return real(accelerator, module, progress, parts, weights)

    monkeypatch.setattr(trainee, "add_gradients", add_gradients)
    status, _, error = run_forecast(capsys)
    assert status == 1
    assert "raise tokenizer.train.accumulate, or lower tokenizer.train.batch_size" in error


def test_another_error_stays_what_it_is(monkeypatch):
    monkeypatch.setattr(trainee, "add_gradients", fails(RuntimeError, "something else"))
    with pytest.raises(RuntimeError, match="something else"):
        main(DRY)


def test_a_moving_average_clipping_and_compilers_are_those_of_the_run(monkeypatch, capsys):
    limits, compiled = [], []
    monkeypatch.setattr(
        Accelerator, "clip_grad_norm_", lambda _, weights, limit: limits.append(limit) or torch.ones(())
    )
    monkeypatch.setattr(torch, "compile", lambda what, **_: compiled.append(what) or what)
    options = ["--train.ema_decay=0.9", "--optim.clip_grad=0.5", "--train.compile=true"]
    status, shown, error = run_forecast(capsys, *options, "--tokenizer.encoding.compile=true")
    assert status == 0, error
    assert "moving average 0.00 GiB" in shown
    assert limits[:6] == [0.5] * 6
    assert len(compiled) == 2


@pytest.mark.parametrize(("share", "hinted"), [(0.19, False), (0.21, True)])
def test_stored_tokens_are_recommended_from_a_fifth_of_a_step(share, hinted):
    speed = SimpleNamespace(preparing_share=share, data_share=0.0)
    assert any("beit tokenizer encode" in line for line in cli_forecast._hints(PretrainTask, speed)) == hinted


def test_a_step_is_compared_with_a_product_computed_as_it_is(monkeypatch, capsys):
    modes = []

    def gemm_rate(*_):
        modes.append(torch.are_deterministic_algorithms_enabled())
        return 1e12

    monkeypatch.setattr(forecast, "gemm_rate", gemm_rate)
    assert run_forecast(capsys)[0] == 0
    assert modes == [True], "exact as on every CPU, rather than as the program was"


def test_all_that_learns_takes_memory(capsys):
    decoder = ["--decoder.layers=2", "--model.positions=absolute", "--mask.kind=random"]
    _, plain, _ = run_forecast(capsys, "--model.hidden_size=384", *decoder[1:])
    _, split, _ = run_forecast(capsys, "--model.hidden_size=384", *decoder)
    least, most = (float(re.search(r"weights and optimiser (\S+) GiB", shown)[1]) for shown in (plain, split))
    assert most > 1.5 * least
