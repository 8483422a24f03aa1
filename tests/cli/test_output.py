"""Outputs of commands, looked at before the work."""

import os

import pytest

from beit.cli.main import main

PICTURES = "--data.path=digits:test"
CLASSIFIER = ["evaluate", "--model=beit/nano-cifar10-classifier", PICTURES]
TOKENIZER = ["--tokenizer=beit/nano-cifar10-tokens", PICTURES]


@pytest.mark.parametrize(
    "command",
    [
        [*CLASSIFIER, "--output"],
        [*CLASSIFIER, "--report"],
        [*CLASSIFIER, "--predictions"],
        ["tokenizer", "evaluate", *TOKENIZER, "--output"],
        ["tokenizer", "evaluate", *TOKENIZER, "--report"],
        ["tokenizer", "reconstruct", *TOKENIZER, "--output"],
        ["statistics", PICTURES, "--output"],
    ],
    ids=lambda words: " ".join((*[word for word in words if word[0] != "-"], words[-1])),
)
def test_what_could_not_be_written_is_no_work(command, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("beit.data.opening.open_source", pytest.fail)
    pipe = tmp_path / "numbers.json"
    os.mkfifo(pipe)
    assert main([*command, str(pipe)]) == 1
    assert f"cannot write {pipe}: it is a named pipe, and a file would take its place" in capsys.readouterr().err
    assert pipe.is_fifo()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--output={place}/a", "--report={place}/b/../a"], "--report is {place}/b/../a, which is also --output"),
        (["--predictions={place}/labels.csv"], "which is also --data.labels; name another file"),
        (["--output={place}/link"], "which is also --data.labels; name another file"),
    ],
)
def test_a_file_that_would_take_the_place_of_another(words, said, tmp_path, capsys):
    labels = tmp_path / "labels.csv"
    labels.write_text("picture,label\n")
    (tmp_path / "link").symlink_to(labels)
    named = [word.format(place=tmp_path) for word in (f"--data.labels={labels}", *words)]
    assert main([*CLASSIFIER, *named]) == 1
    assert said.format(place=tmp_path) in capsys.readouterr().err
    assert labels.read_text() == "picture,label\n"
