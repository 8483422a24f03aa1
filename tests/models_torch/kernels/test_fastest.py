"""Ways to compute are timed once per machine, kept in a file, and obeyed when a run goes on."""

import json
import time
from importlib import import_module

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from beit import BeitConfig, BeitForImageClassification
from beit.errors import ConfigError
from beit.models_torch.kernels import fastest
from beit.models_torch.kernels.fastest import MOST_ROUNDS, ROUNDS, FastestWays, cache_file


@pytest.fixture
def clock(monkeypatch, tmp_path):
    """Seconds that a way takes, as the ways themselves say."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    now = [0.0]
    for name in ("perf_counter", "thread_time"):
        monkeypatch.setattr(fastest.time, name, lambda: now[0])

    def lasting(*seconds):
        left = list(seconds)

        def compute(*_):
            now[0] += left.pop(0) if len(left) > 1 else left[0]

        return compute

    return lasting


def test_the_fastest_is_taken_and_noise_is_not_counted(clock):
    # one slow first call, and one that something else held up
    ways = {"torch": clock(1.0), "onednn": clock(9.0, 0.5, 7.0, 0.5)}
    assert FastestWays().way("linear", ways, list) == "onednn"


def test_times_of_a_busy_machine_are_taken_again_until_two_agree(clock):
    slower = [1.0] + [9.0 / (1 + step) for step in range(ROUNDS)]  # no two within a tenth, and then 0.5 twice
    ways = {"torch": clock(0.6), "onednn": clock(*slower, 0.5, 0.5)}
    assert FastestWays().way("linear", ways, list) == "onednn"


def test_a_machine_that_stays_busy_is_not_timed_for_ever_and_what_it_showed_is_not_kept(clock):
    calls = [2.0**-step for step in range(40)]  # no two within a tenth
    ways = {"torch": clock(2.0**-MOST_ROUNDS * 1.5), "onednn": clock(*calls)}
    assert FastestWays().way("linear", ways, list) == "onednn"  # the last of so many rounds
    assert not cache_file().exists()
    another = {"torch": clock(0.5), "onednn": clock(1.0)}
    assert FastestWays().way("linear", another, list) == "torch"
    assert cache_file().exists()


def test_one_thread_is_timed_by_what_it_computes_not_by_what_holds_it_up(monkeypatch, tmp_path):
    """A busy machine took its processor away for longer than the computations last, and decided for all later runs."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def computes(rounds, held_up):
        def compute(numbers):
            time.sleep(held_up)
            for _ in range(rounds):
                numbers.sin()

        return compute

    ways = {"torch": computes(5000, 0), "onednn": computes(10, 0.02)}  # waking up costs as much as some hundred
    assert FastestWays().way("sine", ways, lambda: [torch.ones(1000)]) == "onednn"


def test_a_second_process_does_not_time_again(clock):
    ways = {"torch": clock(1.0), "onednn": clock(0.5)}
    FastestWays().way("linear", ways, list)
    never = {"torch": pytest.fail, "onednn": pytest.fail}
    assert FastestWays().way("linear", never, list) == "onednn"
    assert list(json.loads(cache_file().read_text())) == [f"linear, {torch.get_num_threads()} threads"]


def test_what_another_process_timed_meanwhile_counts(clock):
    slow, ways = FastestWays(), {"torch": clock(0.5), "onednn": clock(1.0)}
    slow._known("", {})  # it has read the file, which is not there yet
    FastestWays().way("linear", {"torch": clock(1.0), "onednn": clock(0.5)}, list)
    assert slow.way("linear", ways, list) == "onednn"


def test_every_way_takes_its_turn(clock):
    order = []
    ways = {name: lambda name=name: order.append(name) for name in ("torch", "onednn")}
    FastestWays().way("linear", ways, list)
    assert order == ["torch", "onednn"] * (1 + ROUNDS)


@pytest.mark.parametrize("stored", ["", "[]", '{"linear, 1 threads": 3}', '{"linear, 1 threads": {"torch": "fast"}}'])
def test_a_damaged_file_is_timed_again(clock, stored):
    cache_file().parent.mkdir(parents=True)
    cache_file().write_text(stored)
    assert FastestWays().way("linear", {"torch": clock(1.0), "onednn": clock(0.5)}, list) == "onednn"
    assert json.loads(cache_file().read_text()).popitem()[1] == {"torch": 1.0, "onednn": 0.5}


def test_where_nothing_can_be_kept_it_is_timed_all_the_same(clock, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert FastestWays().way("linear", {"torch": clock(1.0), "onednn": clock(0.5)}, list) == "onednn"


@pytest.mark.parametrize(("mode", "taken"), [("torch", "torch"), ("onednn", "onednn")])
def test_a_named_library_is_taken_untimed(mode, taken):
    never = {"torch": pytest.fail, "onednn": pytest.fail}
    assert FastestWays(mode).way("linear", never, list) == taken


def test_a_library_that_has_no_way_gives_place_to_pytorch():
    assert FastestWays("onednn").way("linear", {"torch": pytest.fail}, list) == "torch"


def test_choices_are_obeyed_in_another_process(clock):
    first, ways = FastestWays("onednn"), {"torch": clock(0.5), "onednn": clock(1.0)}
    first.way("linear", ways, list)
    second = FastestWays()
    second.obey(first.choices())
    assert second.way("linear", ways, list) == "onednn"
    assert second.way("another", ways, list) == "torch"


def test_an_unknown_mode():
    with pytest.raises(ConfigError, match="BEIT_KERNELS is 'mkl'; expected one of auto, torch, onednn; unset it"):
        FastestWays("mkl")


def test_processors_differ(monkeypatch):
    before = cache_file()
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert cache_file() != before
    assert fastest.processor()


def small_model():
    options = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
    config = BeitConfig(**options, image_size=32, patch_size=8, use_relative_position_bias=True)
    return BeitForImageClassification(config).train(), torch.zeros(4, 3, 32, 32)


@pytest.fixture
def nothing_timed(monkeypatch, tmp_path):
    """A machine on which nothing was timed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(import_module("beit.models_torch.kernels.attention"), "FASTEST", ways := FastestWays())
    yield
    assert ways.choices(), "something was timed"


def test_activation_checkpointing_does_not_miss_what_is_timed(nothing_timed):
    model, pixels = small_model()
    model.gradient_checkpointing_enable()
    model(pixels, labels=torch.zeros(4, dtype=torch.long)).loss.backward()


def test_what_is_timed_is_not_counted(nothing_timed):
    model, pixels = small_model()
    counts, saved = [], []
    for _ in range(2):
        with FlopCounterMode(display=False) as counter, torch.autograd.graph.saved_tensors_hooks(saved.append, id):
            model(pixels)
        counts.append((counter.get_total_flops(), len(saved)))
        saved.clear()
    assert counts[0] == counts[1]
