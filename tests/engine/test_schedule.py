"""Learning rates over a run."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beit.engine.schedule import FINETUNING, PRETRAINING, PRETRAINING_MUON, Schedule, cosine
from beit.errors import ConfigError
from beit.settings.groups import OptimSettings, TrainSettings


def test_learning_rate_of_a_run():
    optim = OptimSettings(lr=1.0, min_lr=0.1, warmup_steps=10)
    schedule = Schedule(optim, TrainSettings(max_steps=100), pictures=1)
    rates = [schedule.rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 11)
    assert rates[10] == 1.0
    assert rates[99] == pytest.approx(0.1)
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    # half way down, the cosine is half way between
    schedule = Schedule(replace(optim, min_lr=0.0), TrainSettings(max_steps=99), pictures=1)
    assert schedule.rate(54) == pytest.approx(0.5)


def test_cosine_is_flat_outside():
    assert (cosine(2.0, 1.0, -1), cosine(2.0, 1.0, 0.5), cosine(2.0, 1.0, 7)) == (2.0, 1.5, 1.0)


def test_impossible_warm_up():
    with pytest.raises(
        ConfigError, match=r"warm-up of 10 steps is not shorter than the run of 10; lower optim\.warmup"
    ):
        Schedule(OptimSettings(warmup_steps=10), TrainSettings(max_steps=10), pictures=100).check()


def test_a_decline_that_would_rise_is_refused():
    """As of a pre-training that goes on at a lower rate than the least one of other runs."""

    def check(optim, prefix=""):
        Schedule(optim, TrainSettings(max_steps=100), pictures=100).check(1, prefix)

    with pytest.raises(
        ConfigError, match=r"tokenizer\.optim\.min_lr is 1e-05 and tokenizer\.optim\.lr 2e-06, .* 2e-08"
    ):
        check(OptimSettings(lr=2e-6), "tokenizer.")
    check(OptimSettings(lr=1e-5))
    check(OptimSettings())  # auto: once it is known


def test_steps_follow_from_epochs():
    schedule = Schedule(OptimSettings(warmup_epochs=2), TrainSettings(batch_size=32, epochs=10), pictures=100)
    assert (schedule.steps, schedule.warmup) == (31, 6)


@pytest.mark.parametrize(
    ("length", "epochs", "steps"),
    [
        ({"epochs": 100}, 10, 31), ({"epochs": 800}, 10, 31), ({"epochs": 20}, 2, 6), ({"epochs": 0.5}, 0.05, 0),
        ({"max_steps": 40}, 1.28, 4), ({"max_steps": 3}, 0.096, 0), ({"max_steps": 1}, 0.032, 0),
        ({"max_steps": 3200}, 10, 31),
    ],
)  # fmt: skip
def test_the_warm_up_is_a_tenth_of_the_run_and_ten_epochs_at_most(length, epochs, steps):
    schedule = Schedule(OptimSettings(), TrainSettings(batch_size=32, **length), pictures=100)
    schedule.check()
    assert (schedule.warmup_epochs, schedule.warmup) == (epochs, steps)
    resolved = Schedule(OptimSettings(warmup_epochs=epochs), schedule.train, pictures=100)
    assert resolved.warmup == steps
    assert Schedule(OptimSettings(warmup_steps=2), schedule.train, pictures=100).warmup == 2


def test_the_authors_rate_for_a_smaller_batch():
    assert PRETRAINING.at(2048) == 1.5e-3
    assert PRETRAINING.at(512) == 7.5e-4  # unilm 383
    assert FINETUNING.at(64) == 1e-3


@given(st.integers(1, 10_000))
def test_a_quarter_of_the_pictures_takes_half_of_the_rate(pictures):
    assert PRETRAINING.at(pictures) == pytest.approx(PRETRAINING.at(4 * pictures) / 2, rel=0.01)


def test_without_a_rule_the_batch_does_not_matter():
    assert PRETRAINING_MUON.at(8) == PRETRAINING_MUON.at(4096) == 6e-3


def test_reasons():
    assert PRETRAINING.reason(2048) == "0.0015 at 2,048 pictures per step, that of the published pre-training"
    assert PRETRAINING.reason(1).startswith("by the square root of the batch from 0.0015 at 2,048 pictures per step")
    assert "measured with Muon" in PRETRAINING_MUON.reason(1)
