"""A pre-training takes any `VisualTokenizer` that it is given."""

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from beit.errors import ConfigError
from beit.settings.groups import DataSettings, ModelSettings, OptimSettings, TrainSettings
from beit.settings.pretrain import MaskSettings, PretrainJob, PretrainTokenizerSettings
from beit.tasks.pretrain.start import check_lengths
from beit.tasks.pretrain.task import PretrainTask
from beit.tokenizer import DiscreteVAE, DiscreteVAEConfig, VisualTokenizer, tokenizer_fingerprint

DATA = DataSettings("pictures")
MODEL = ModelSettings(size="tiny", image_size=32, patch_size=8, hidden_size=32, num_attention_heads=4)
MASK = MaskSettings(count=6, min_block=2)


class Bright:
    """Tells bright patches from dark ones."""

    vocab_size, stride, image_size, decodes_pixels = 2, 4, 16, False

    def map_pixels(self, pixels):
        return pixels

    def encode(self, pixels):
        return (torch.nn.functional.avg_pool2d(pixels.mean(1), self.stride) > 0.5).long()

    def decode(self, tokens):
        raise NotImplementedError


class Dark(Bright):
    """Another class, whose tokens may be others."""


class Learnt(torch.nn.Linear):
    """One with weights."""

    vocab_size, stride, image_size, decodes_pixels = 2, 4, 16, False
    map_pixels, encode, decode = Bright.map_pixels, Bright.encode, Bright.decode


def test_it_makes_the_tokens_of_the_run():
    job, tokenizer = PretrainJob(DATA, model=MODEL, mask=MASK), Bright()
    assert isinstance(tokenizer, VisualTokenizer)
    task = PretrainTask(job, tokenizer)
    assert task.tokenizer is tokenizer
    assert task.first(Path("runs")) is None
    task.accelerator = Accelerator(cpu=True)
    assert task.build().model.config.vocab_size == 2


def test_settings_of_a_tokenizer_that_is_not_trained_do_not_matter():
    settings = PretrainTokenizerSettings(train=TrainSettings(batch_size=1000))
    job = PretrainJob(
        DATA, model=MODEL, tokenizer=settings, train=TrainSettings(batch_size=8), optim=OptimSettings(warmup_steps=1)
    )
    check_lengths(job, Bright(), pictures=100, world=1)
    with pytest.raises(ConfigError, match=r"tokenizer\.train\.batch_size 1000 is larger than the 100 pictures"):
        check_lengths(job, None, pictures=100, world=1)


def test_one_that_is_named_as_well_is_refused(tmp_path):
    DiscreteVAE(DiscreteVAEConfig(20, 8, 1, 2, 8)).save_pretrained(tmp_path)
    job = PretrainJob(DATA, model=MODEL, mask=MASK, tokenizer=PretrainTokenizerSettings(path=str(tmp_path)))
    with pytest.raises(ConfigError, match=r"and a Bright is given; expected one tokenizer: leave one of them out"):
        PretrainTask(job, Bright())


def test_its_side_is_checked_as_that_of_others():
    job = PretrainJob(DATA, model=MODEL, mask=MASK, tokenizer=PretrainTokenizerSettings(image_size=32))
    with pytest.raises(ConfigError, match=r"tokenizer\.image_size 32 at 4 pixels per token gives 8 x 8 tokens"):
        PretrainTask(job, Bright())


def test_a_continued_run_can_tell_tokenizers_apart():
    torch.manual_seed(0)
    one, other = Learnt(2, 2), Learnt(2, 2)
    assert tokenizer_fingerprint(Bright()) == tokenizer_fingerprint(Bright()) != tokenizer_fingerprint(Dark())
    assert tokenizer_fingerprint(one) != tokenizer_fingerprint(other)
    other.load_state_dict(one.state_dict())
    assert tokenizer_fingerprint(one) == tokenizer_fingerprint(other)
