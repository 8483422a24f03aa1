"""What the comparison says was measured here is in the results, and what it names exists."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "comparison.md").read_text(encoding="utf-8")


def result(name):
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text(encoding="utf-8"))


def row(beginning):
    return next(line for line in PAGE.splitlines() if line.startswith(f"| {beginning}"))


def test_speed_and_memory_of_a_step():
    for name, beginning in (("pretrain_step", "a step of pre-training"), ("segmentation", "a step of segmentation")):
        measured = result(name)
        assert f"{measured['speed_ratio']:.2f} times as fast, {measured['memory_ratio']:.2f} of" in row(beginning)


def test_the_flax_forward_pass():
    one, eight = (result("flax_forward")["speed_ratio"][batch] for batch in ("1", "8"))
    assert f"{one:.2f} and {eight:.2f} times" in row("Flax forward")


def test_the_tokenizer():
    cases = [result("tokenizer")["cases"][f"2 cores, batch of {batch}"] for batch in (8, 32)]
    assert [case["differing"] for case in cases] == [0, 0]
    assert f"{cases[0]['ratio']:.2f} and {cases[1]['ratio']:.2f} times" in row("OpenAI's tokenizer, batch")


def test_the_processor():
    ratios = result("processor")["cases"]["decoded, 2 cores"]["ratios"]
    assert row("time for a batch").split("|")[3:5] == [f" {ratios[name]:.2f} " for name in ("4.37.2", "5.23.0")]


def test_what_is_named_exists():
    paths = [path for path in re.findall(r"`((?:tests|benchmarks)/[\w/.*]+)`", PAGE) if "results" not in path]
    assert len(paths) >= 8
    assert [path for path in paths if not list(ROOT.glob(path))] == []
