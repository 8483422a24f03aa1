"""A tokenizer whose codebook collapses stops by itself; one that recovers, or is forced to go on, does not."""

import pytest
import torch

from beit.data import only_on_cpu
from beit.engine.run import run
from beit.errors import BeitError
from beit.settings.groups import DataSettings, OptimSettings, RunSettings, TrainSettings
from beit.settings.tokenizer import CodebookSettings, TokenizerJob
from beit.tasks.tokenizer.dvae import DiscreteVAETask
from beit.tasks.tokenizer.task import CollapseWatch
from beit.tokenizer.encoding import least_perplexity


def reasons(watch, perplexities, every=10):
    found = [watch.note(every * number, value) for number, value in enumerate(perplexities, start=1)]
    return {every * number: reason for number, reason in enumerate(found, start=1) if reason}


def test_a_collapse_that_lasts_is_a_reason_said_once():
    found = reasons(CollapseWatch(2.0, 400, "lower the rate"), [1.0] * 40)
    assert list(found) == [200], "a hundred steps after the first quarter"
    assert "a perplexity of 1.00 after step 200, and have been below 2.00 since step 100" in found[200]
    assert found[200].endswith("lower the rate, and start again in another run.output")


@pytest.mark.parametrize(
    "perplexities",
    [[1.0] * 9 + [2.0] * 31, [3.0] * 31 + [1.0] * 9, ([1.0] * 9 + [2.5]) * 4],
    ids=["in the warm-up", "at the very end", "not for long"],
)
def test_a_collapse_that_passes_is_none(perplexities):
    assert not reasons(CollapseWatch(2.0, 400, ""), perplexities)


def test_few_looks_are_not_enough():
    assert not reasons(CollapseWatch(2.0, 1000, ""), [5.0, 1.0, 1.0, 1.0], every=250)


@pytest.mark.parametrize(("codes", "least"), [(8192, 2.0), (11, 2.0), (2, 1.1)])
def test_the_least_perplexity_follows_the_codebook(codes, least):
    assert least_perplexity(codes) == pytest.approx(least)


@pytest.mark.parametrize(("channels", "objection"), [(3, None), (4, "pictures have 4 channels")])
def test_the_device_of_the_model_makes_views_of_colours(channels, objection):
    assert only_on_cpu(DiscreteVAETask(TokenizerJob(DataSettings("pictures", channels=channels))).views()) == objection


class Collapsed(DiscreteVAETask):
    """One whose first code wins everywhere."""

    def build(self):
        loss = super().build()
        torch.nn.init.zeros_(loss.model.encoder.head.weight)
        with torch.no_grad():
            loss.model.encoder.head.bias[0] = 100.0
        return loss


@pytest.mark.e2e
def test_a_training_of_a_tokenizer_stops_with_its_reason(tmp_path, caplog):
    def job(name, **options):
        return TokenizerJob(
            DataSettings("digits:train", workers=0),
            run=RunSettings(str(tmp_path / name), report=False, trackers=(), **options),
            image_size=8,
            codebook=CodebookSettings(vocab_size=32, hidden_size=8, blocks_per_group=1, groups=2, decoder_input_size=8),
            optim=OptimSettings(lr=1e-12, min_lr=0, warmup_epochs=0),
            train=TrainSettings(batch_size=4, max_steps=150),
        )

    with pytest.raises(BeitError, match=r"the codebook has collapsed; lower optim\.lr.*--run\.force true goes on"):
        run(Collapsed, job("stopped"))
    assert (tmp_path / "stopped/stopped.json").exists()
    assert run(Collapsed, job("forced", force=True)).finished
    assert caplog.text.count("the codebook has collapsed") == 1
