"""The demo, with fewer steps, and the sentence that it ends with."""

import re

import pytest

from beit.cli.main import main
from beit.tasks import demo

FOLDERS = {demo.PRETRAINED: "finetune", demo.SCRATCH: "scratch"}
COUNT = len(demo.SEEDS)


def result(ours, *theirs):
    names = (demo.PRETRAINED, demo.SCRATCH, demo.NEAREST, demo.LOGISTIC)
    return demo.DemoResult(dict(zip(names, (ours, *theirs), strict=True)), "model", "report")


def test_demo_shows_what_was_measured(tmp_path, capsys):
    place = tmp_path / "demo"
    assert main(["demo", "--quick", f"--output={place}"]) == 0
    output = capsys.readouterr().out
    shown = {}
    for name in (*FOLDERS, demo.NEAREST, demo.LOGISTIC):
        row = next(line for line in output.splitlines() if name in line and "±" in line)
        numbers = shown[name] = [float(number) for number in re.findall(r"([\d.]+)%", row)]
        assert abs(numbers[COUNT] - sum(numbers[:COUNT]) / COUNT) < 0.11
    for name, folder in FOLDERS.items():
        runs = [demo.RunFolder(place / f"{folder}_{seed}").read_result()["accuracy"] for seed in demo.SEEDS]
        assert shown[name][:COUNT] == [round(100 * accuracy, 1) for accuracy in runs]
    assert 85 < shown[demo.LOGISTIC][COUNT] < 91
    assert 87 < shown[demo.NEAREST][COUNT] < 91
    assert output.count("predicted") == 5
    assert f"{shown[demo.PRETRAINED][COUNT]}% of the test pictures" in output.splitlines()[-2]
    assert output.splitlines()[-1].startswith("That was --quick")
    page = (place / "report.html").read_text()
    assert "Does pre-training help?" in page
    assert demo.NEAREST in page
    assert "Confusion matrix" in page
    assert main(["demo", f"--output={place}"]) == 1
    refused = capsys.readouterr().err
    assert f"{place} holds a demo with --quick" in refused
    assert "choose another --output, or remove that folder" in refused, "the demo has no run.force and no run.output"


def test_both_ways_take_as_many_steps_on_the_same_pictures(tmp_path):
    before = demo.pretrain_job(tmp_path, tmp_path / "tokenizer/model")
    tuned = demo.finetune_job(tmp_path, 1, tmp_path / "pretrain/model")
    scratch = demo.scratch_job(tmp_path, 1, before, tuned)
    assert scratch.train.max_steps == before.train.max_steps + tuned.train.max_steps
    assert before.train.batch_size == tuned.train.batch_size == scratch.train.batch_size
    assert (before.optim.name, before.augment) == (scratch.optim.name, scratch.augment)
    assert demo.shortened(scratch).train.max_steps == scratch.train.max_steps // 20
    other = {"run", "checkpoint", "optim", "train"}
    assert {name for name in vars(tuned) if getattr(tuned, name) != getattr(scratch, name)} == other
    assert scratch.run.seed == tuned.run.seed


@pytest.mark.parametrize(
    ("scratch", "expected"),
    [
        ([0.91, 0.92, 0.93], "95.0% of the test pictures: 3.0 points ahead of training from scratch"),
        ([0.96, 0.97, 0.99], "95.0% of the test pictures: 2.3 points behind training from scratch"),
        ([0.92, 0.94, 0.98], "level with training from scratch for as many steps (+0.3 points), 6.0 points ahead of"),
    ],
)
def test_the_sentence_at_the_end_says_who_is_ahead(scratch, expected):
    """Level are those that differ by less than the standard error over the seeds."""
    assert expected in demo.verdict(result([0.94, 0.95, 0.96], scratch, [0.88, 0.89, 0.90], [0.85, 0.86, 0.87]))
