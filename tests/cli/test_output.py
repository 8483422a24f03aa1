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
