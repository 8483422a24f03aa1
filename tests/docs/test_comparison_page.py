"""What the comparison says was measured here is in the results, and what it names exists."""

import json
import re
import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "comparison.md").read_text(encoding="utf-8")


RATIOS = [
    entry
    for path in (ROOT / "benchmarks" / "results" / "bench").glob("*.json")
    for benchmark in json.loads(path.read_text(encoding="utf-8"))["benchmarks"].values()
    for entry in benchmark["ratios"]
]


def row(beginning):
    return next(line for line in PAGE.splitlines() if line.startswith(f"| {beginning}"))


def measured(what, against):
    """The least and the most of the medians on all kinds of processors, as the page writes them."""
    medians = (
        statistics.median(one["rounds"]) for one in RATIOS if one["what"] == what and one["against"].startswith(against)
    )
    ordered = sorted({f"{median:.2f}" for median in medians}, key=float)
    return ordered[0] if len(ordered) == 1 else f"{ordered[0]} to {ordered[-1]}"


@pytest.mark.parametrize(("beginning", "what", "against", "end"), [
    ("a step of pre-training, base", "pre-training step, batch 8", "transformers", "times as fast"),
    ("a step of pre-training, base", "pre-training step, batch 8: memory", "transformers", "of the memory"),
    ("a step of segmentation", "segmentation at 640 pixels", "transformers", "times as fast"),
    ("a step of segmentation", "segmentation at 640 pixels: memory", "transformers", "of the memory"),
    ("answers, base", "answers, eager, batch 1", "transformers", "and"),
    ("answers, base", "answers, eager, batch 8", "transformers", "times as fast"),
    ("Flax forward pass", "Flax forward, batch 1", "transformers", "and"),
    ("Flax forward pass", "Flax forward, batch 8", "transformers", "times as fast"),
    ("OpenAI's tokenizer, one core", "DALL-E's tokens, 1 core, batch of 8", "DALL-E", "and"),
    ("OpenAI's tokenizer, one core", "DALL-E's tokens, 2 cores, batch of 8", "DALL-E", "times as fast"),
    ("time for a batch", "processor, decoded, 2 cores", "transformers 4", "|"),
    ("time for a batch", "processor, decoded, 2 cores", "transformers 5", "|"),
])  # fmt: skip
def test_what_is_said_to_be_faster_was_measured(beginning, what, against, end):
    assert f" {measured(what, against)} {end}" in row(beginning)


def test_what_is_named_exists():
    paths = [path for path in re.findall(r"`((?:tests|benchmarks)/[\w/.*]+)`", PAGE) if "results" not in path]
    assert len(paths) >= 8
    assert [path for path in paths if not list(ROOT.glob(path))] == []
