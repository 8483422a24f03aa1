"""Quality of the tokenizer that a pre-training trains first."""

import re

import pytest

from beit.cli.main import main
from beit.evaluation.tokenizer.quality import says_little
from beit.tokenizer import DiscreteVAE
from tests.e2e.small import PICTURES, PRETRAIN, TOKENIZER


@pytest.mark.parametrize(
    ("perplexity", "vocab_size", "little"),
    [(1.0, 512, True), (15.0, 512, True), (16.0, 512, False), (1.9, 16, True), (2.1, 16, False), (245, 8192, True)],
)
def test_tokens_that_hardly_differ_are_reported(perplexity, vocab_size, little):
    warning = says_little({"perplexity": perplexity, "vocab_size": vocab_size})
    assert (warning is not None) == little
    if warning:
        assert f"perplexity {perplexity:.1f} of at most {vocab_size}" in warning
        assert "tokenizer.path" in warning


@pytest.fixture
def one_code(monkeypatch):
    """A code that starts far above the others stays there on every processor; a high rate would leave it to chance."""

    class OneCode(DiscreteVAE):
        def __init__(self, config):
            super().__init__(config)
            self.encoder.head.bias.data[0] = 50.0

    monkeypatch.setattr("beit.tasks.tokenizer.dvae.DiscreteVAE", OneCode)


@pytest.mark.e2e
def test_commands_that_measure_a_tokenizer_say_so(one_code, tmp_path, capsys):
    run, tokens = f"{tmp_path}/run", f"--tokenizer={tmp_path}/run/model"
    assert main(["tokenizer", "train", *PICTURES, *TOKENIZER, "--train.max_steps=8", f"--run.output={run}"]) == 0
    warning = "the tokens say little about a picture: perplexity 1.0 of at most 32"
    assert warning in capsys.readouterr().out
    assert warning.replace("the", "The", 1) in (tmp_path / "run/report.html").read_text()
    for action in (["evaluate"], ["encode", f"--output={tmp_path}/tokens"]):
        assert main(["tokenizer", *action, *PICTURES[:2], tokens]) == 0
        assert warning in capsys.readouterr().out


@pytest.mark.e2e
def test_a_codebook_that_fell_to_one_code(one_code, tmp_path, capsys, caplog):
    command = ["pretrain", *PRETRAIN, "--tokenizer.train.max_steps=8", "--train.max_steps=8"]
    assert main([*command, f"--run.output={tmp_path}/run", "--run.report=false", "--run.force"]) == 0
    shown = capsys.readouterr().out
    assert "1 of 32 codes used, perplexity 1.0\n" in shown
    assert "there was next to nothing to learn: one token is nearly everywhere" in shown
    assert "the tokens say little about a picture: perplexity 1.0 of at most 32" in caplog.text


@pytest.mark.e2e
def test_a_tokenizer_that_is_worth_something(tmp_path, capsys, caplog):
    assert main(["pretrain", *PRETRAIN, "--train.max_steps=8", f"--run.output={tmp_path}/run"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"tokenizer: 65 pictures: PSNR .* codes used, perplexity", shown)
    assert "next to nothing" not in shown
    assert "the tokens say little" not in caplog.text
