"""A pre-training takes any `VisualTokenizer` that it is given."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator

from beit.engine import processes
from beit.errors import CheckpointError, ConfigError
from beit.geometry import Grid
from beit.models_torch import BeitForMaskedImageModeling
from beit.settings.groups import DataSettings, ModelSettings, OptimSettings, RunSettings, TrainSettings
from beit.settings.pretrain import (
    AggregationSettings,
    DecoderSettings,
    MaskSettings,
    PretrainJob,
    PretrainTokenizerSettings,
)
from beit.tasks.pretrain import start
from beit.tasks.pretrain.start import check_lengths, stored_tokens
from beit.tasks.pretrain.task import PretrainTask
from beit.tokenizer import DiscreteVAE, DiscreteVAEConfig, VisualTokenizer, tokenizer_fingerprint

DATA = DataSettings("pictures")
MODEL = ModelSettings(size="tiny", image_size=32, patch_size=8, hidden_size=32, num_attention_heads=4)
MASK = MaskSettings(count=6, min_block=2)


class Bright:
    """Distinguishes bright patches from dark ones."""

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
    task.accelerator, task.world = Accelerator(cpu=True), 1
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


def test_a_continued_run_distinguishes_tokenizers():
    torch.manual_seed(0)
    one, other = Learnt(2, 2), Learnt(2, 2)
    assert tokenizer_fingerprint(Bright()) == tokenizer_fingerprint(Bright()) != tokenizer_fingerprint(Dark())
    assert tokenizer_fingerprint(one) != tokenizer_fingerprint(other)
    other.load_state_dict(one.state_dict())
    assert tokenizer_fingerprint(one) == tokenizer_fingerprint(other)


SPLIT = PretrainJob(
    DATA,
    model=replace(MODEL, positions="absolute"),
    mask=MaskSettings(count=6, kind="random"),
    decoder=DecoderSettings(layers=2),
)


def built(job):
    task = PretrainTask(job, Bright())
    task.accelerator, task.world = Accelerator(cpu=True), 1
    task.module = task.build()
    return task


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": MODEL}, "relative position biases.*--model.positions absolute, or leave decoder.layers out"),
        ({"mask": MASK}, "masks differ in their number of patches; set --mask.exact true, or --mask.kind random"),
        ({"mask": MaskSettings(count=16, kind="random")}, "none of 16 patches to encode; set it to 15 at most"),
        ({"aggregation": AggregationSettings(early_layer=1)}, "aggregation.early_layer are set.*leave one of them out"),
        ({"run": RunSettings("runs", framework="jax")}, "run.framework jax does not have; set it to torch"),
    ],
)
def test_a_decoder_that_does_not_fit_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        PretrainTask(replace(SPLIT, **changes), Bright())


@pytest.mark.parametrize("mask", [SPLIT.mask, MaskSettings(count=6, min_block=2, exact=True)], ids=["random", "exact"])
def test_a_model_with_a_decoder_says_so_and_is_an_ordinary_one(mask, tmp_path):
    task = built(replace(SPLIT, mask=mask))
    assert task.flops() < built(replace(SPLIT, decoder=DecoderSettings())).flops()
    assert not task.module.decoder.encoder.gradient_checkpointing
    task.model.save_pretrained(tmp_path)
    again = BeitForMaskedImageModeling.from_pretrained(tmp_path, output_loading_info=False)
    assert again.config.mask_tokens_in_decoder
    assert again.state_dict().keys() == built(replace(SPLIT, decoder=DecoderSettings())).model.state_dict().keys()


def test_a_pretraining_without_a_decoder_ends_what_one_began(tmp_path):
    built(SPLIT).model.save_pretrained(tmp_path)
    plain = replace(SPLIT, checkpoint=str(tmp_path), decoder=DecoderSettings(), model=ModelSettings())
    assert not built(plain).model.config.mask_tokens_in_decoder


def test_layers_of_a_decoder_are_computed_again_too():
    assert built(replace(SPLIT, train=TrainSettings(recompute=True))).module.decoder.encoder.gradient_checkpointing


def test_a_decoder_learns_as_what_lies_above_the_layers():
    task = built(replace(SPLIT, optim=OptimSettings(layer_decay=0.5)))
    scales = {parameter: group["lr_scale"] for group in task.parameter_groups() for parameter in group["params"]}
    assert {scales[parameter] for parameter in task.module.decoder.parameters()} == {1.0}
    assert scales[task.model.beit.encoder.layer[0].output.dense.weight] < 1


def test_a_decoder_is_kept_with_the_best_model(tmp_path):
    task = built(SPLIT)
    task.save(tmp_path / "best")
    kept = {name: tensor.clone() for name, tensor in task.module.state_dict().items()}
    with torch.no_grad():
        for parameter in task.module.parameters():
            parameter.add_(1)
    task.load(tmp_path / "best")
    torch.testing.assert_close(task.module.state_dict(), kept)
    task.save(tmp_path / "model", task.model)  # such as a moving average
    assert (tmp_path / "model/decoder.safetensors").read_bytes() == (tmp_path / "best/decoder.safetensors").read_bytes()
    other = built(replace(SPLIT, decoder=DecoderSettings(layers=1)))
    with pytest.raises(CheckpointError, match=r"decoder\.safetensors"):
        other.load(tmp_path / "best")


def test_stored_tokens_are_compared_without_reading_the_collection_again(monkeypatch):
    """Another process than the first takes the hash that the first has made of millions of files."""
    compared = []
    monkeypatch.setattr(start, "StoredTokens", lambda *_: SimpleNamespace(identity="stored"))
    monkeypatch.setattr(start, "open_to_train", lambda data: pytest.fail("reads"))
    monkeypatch.setattr(start, "check_identity", lambda folder, found, expected, remedy: compared.append(expected))
    monkeypatch.setattr(processes, "broadcast_object_list", lambda answer: answer.__setitem__(0, "hash of the first"))
    settings = PretrainTokenizerSettings(tokens="tokens")
    job = PretrainJob(DATA, model=MODEL, tokenizer=settings, fixed_views=2)
    second = SimpleNamespace(num_processes=2, is_main_process=False)
    assert stored_tokens(job, Bright(), Grid(4, 4), second).identity == "stored"
    assert "hash of the first" in compared[0].values()


def test_a_pretraining_goes_on_with_the_decoder_of_its_checkpoint(tmp_path, caplog):
    first = built(SPLIT)
    first.save(tmp_path)
    further = replace(SPLIT, checkpoint=str(tmp_path), model=ModelSettings())
    torch.testing.assert_close(built(further).module.state_dict(), first.module.state_dict())
    assert not caplog.text
    assert len(built(replace(further, decoder=DecoderSettings(layers=1))).module.decoder.encoder.layer) == 1
    assert "has a decoder of 2 layers, and decoder.layers is 1: a new decoder is trained" in caplog.text
    (tmp_path / "decoder.safetensors").unlink()
    built(further)
    assert "has no decoder.safetensors beside it, and decoder.layers is 2" in caplog.text


def test_the_estimated_memory_follows_the_settings_and_the_device():
    def kept(on_cpu, **changes):
        return sum(built(replace(SPLIT, **changes)).activations(8, on_cpu).values())

    plain = kept(True)
    assert kept(True, train=TrainSettings(recompute=True)) < plain / 2, "as the hint of a dry run promises"
    assert kept(False) > plain, "the kernels of a GPU keep more of a feed-forward network"
    second = {"decoder": DecoderSettings(), "aggregation": AggregationSettings(early_layer=6), "mask": SPLIT.mask}
    without = built(replace(SPLIT, decoder=DecoderSettings()))
    aggregated = built(replace(SPLIT, **second))
    assert aggregated.flops() > 1.1 * without.flops()
    assert sum(aggregated.activations(8, True).values()) > 1.1 * sum(without.activations(8, True).values())
