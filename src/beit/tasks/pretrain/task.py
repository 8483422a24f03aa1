"""Task of pre-training: a BEiT that predicts the visual tokens of masked patches."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property, partial
from math import log
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from beit.data import Collate, ImageSource, ViewDataset, Views, spread
from beit.engine.exactness import is_exact
from beit.engine.recorded import Choice
from beit.engine.run import run
from beit.engine.run_folder import RunFolder
from beit.engine.schedule import PRETRAINING, PRETRAINING_MUON, Rate
from beit.engine.task import Measured, Monitored, ShownScene, Stage, Task
from beit.errors import ConfigError
from beit.evaluation.tokenizer.quality import quality_line, says_little
from beit.geometry import patch_grid
from beit.image import Preprocessing
from beit.models_torch import BeitForMaskedImageModeling, MaskedPatchDecoder, PatchAggregation
from beit.models_torch.masked_patch_decoder import DECODER_NAME
from beit.reports.report import Section, numbers_table
from beit.reports.units import sentence
from beit.settings.channels import band_options
from beit.settings.inputs import Sources, augmentation, preprocessing
from beit.settings.model import model_config
from beit.settings.pretrain import PretrainJob
from beit.tasks.pretrain.cost import Kept, activation_bytes, encoding_flops, training_flops
from beit.tasks.pretrain.feature_colours import colours_section
from beit.tasks.pretrain.held_out import HiddenPatches, held_out_loss, measure_pretraining, verdict
from beit.tasks.pretrain.loss import PretrainLoss, objection_to, token_counts
from beit.tasks.pretrain.masks import mask_choices, mask_plan
from beit.tasks.pretrain.start import (
    check_aggregation,
    check_decoder,
    check_keep_best,
    check_lengths,
    check_one_tokenizer,
    check_tokenizer,
    check_tokenizer_training,
    checkpoint_model,
    decoder_of,
    starting_config,
    stored_tokens,
    tokenizer_job,
)
from beit.tasks.tokenizer.dvae import DiscreteVAETask, dvae_config
from beit.tokenizer import (
    DiscreteVAE,
    TokenEncoder,
    VisualTokenizer,
    load_tokenizer,
    tokenizer_fingerprint,
)

_MOST_ENCODED = 256  # training pictures whose tokens are looked at before the first step
_MOST_MEASURED = 10_000  # held-out pictures in the end, at even distances: one process measures, the others wait


class PretrainTask(Task[PretrainJob, PretrainLoss]):
    """Masked image modelling (arXiv 2106.08254), with patch aggregation or a decoder if asked for.

    Args:
        settings: The settings.
        tokenizer: The tokenizer to use, instead of the one that `settings.tokenizer.path` names.

    Raises:
        ConfigError: If model, tokenizer and masks do not fit together, or there are two tokenizers.
        CheckpointError: If a model or tokenizer cannot be found or read.
    """

    title = "pre-training"
    preparing = "makes visual tokens"
    preparing_hint = "`beit tokenizer encode` makes the tokens once for all epochs (tokenizer.tokens, fixed_views)"
    curves: ClassVar[Mapping[str, Sequence[str]]] = {
        "Loss": ["loss", "held_out_loss", "aggregation_loss"],
        "Masked-token accuracy": ["accuracy"],
        "Perplexity of predictions and targets in a step": ["prediction_perplexity", "target_perplexity"],
        "Gradient norm": ["grad_norm"],
        "Learning rate": ["lr"],
        "Weight decay": ["weight_decay"],
        "Images per second": ["images_per_second"],
        "Model FLOP utilisation": ["flops_utilisation"],
        "Share of the time spent waiting for data": ["data_wait"],
        "Memory, GiB": ["memory_gib"],
    }

    def __init__(self, settings: PretrainJob, tokenizer: VisualTokenizer | None = None) -> None:
        super().__init__(settings)
        self.config = starting_config(settings)
        self.width = self.config.hidden_size
        self.mask = mask_plan(settings.mask, patch_grid(self.config.image_size, self.config.patch_size))
        check_aggregation(settings.aggregation, self.config)
        check_decoder(settings, self.config, self.mask)
        check_one_tokenizer(settings, tokenizer)
        check_tokenizer_training(settings, tokenizer)
        if settings.tokenizer.path is not None:
            tokenizer = load_tokenizer(settings.tokenizer.path)
        self.tokenizer = tokenizer
        check_tokenizer(settings, tokenizer, self.config, self.mask.grid)
        self._checkpoint = checkpoint_model(settings)

    def start(self) -> None:
        """Refuse lengths and stored tokens that do not fit."""
        check_keep_best(self.settings)
        _ = self._view  # refused here if it does not fit the channels
        check_lengths(self.settings, self.tokenizer, len(self.sources.train), self.world)
        self._stored = stored_tokens(self.settings, self.tokenizer, self.mask.grid, self.accelerator)

    def first(self, folder: Path) -> Stage | None:
        """Return the training of a tokenizer on the same pictures, unless there is one."""
        if self.tokenizer is not None:
            return None
        return Stage(DiscreteVAETask, tokenizer_job(self.settings, self.mask.grid, folder / "tokenizer"), "tokenizer.")

    def receive(self, model: Path | None) -> None:
        """Take the tokenizer that was trained, and report its quality; None: one of its size, untrained."""
        if model is None:
            own = tokenizer_job(self.settings, self.mask.grid, Path(self.settings.run.output))
            self.tokenizer = DiscreteVAE(dvae_config(own))
            return
        self.tokenizer = load_tokenizer(model)
        if self.accelerator.is_main_process:
            quality = RunFolder(model.parent).read_result()
            print(f"tokenizer: {quality_line(quality)}")  # noqa: T201  # pre-training can be no better than its tokenizer
            if warning := says_little(quality):
                logging.getLogger(__name__).warning(warning)

    def build(self) -> PretrainLoss:
        """Return the loss over the checkpoint's model, or a new one with the tokenizer's vocabulary."""
        vocab_size = self._found_tokenizer.vocab_size
        model = self._checkpoint
        if model is None:
            options = {"vocab_size": vocab_size, "num_channels": self.settings.data.channels}
            model = BeitForMaskedImageModeling(model_config(self.settings.model, **options))
        settings = self.settings.aggregation
        aggregation = PatchAggregation(model, settings.early_layer, settings.layers) if settings.early_layer else None
        return PretrainLoss(model, self.encoder, self.mask.count, aggregation, self._decoder(model))

    def _decoder(self, model: BeitForMaskedImageModeling) -> MaskedPatchDecoder | None:
        """Return the decoder of masked patches if asked for, and note in the model's config whether there is one."""
        layers, checkpoint = self.settings.decoder.layers, self.settings.checkpoint
        before = checkpoint if model.config.mask_tokens_in_decoder else None
        model.config.mask_tokens_in_decoder = layers is not None
        if layers is None:
            return None
        decoder = None if before is None else decoder_of(before, model, layers)
        decoder = MaskedPatchDecoder(model, layers) if decoder is None else decoder
        decoder.encoder.gradient_checkpointing = self.settings.train.recompute
        return decoder

    @property
    def model(self) -> BeitForMaskedImageModeling:
        """The model that is pre-trained."""
        return self.module.model

    @property
    def guessing(self) -> float:
        """The cross-entropy of equal probabilities for all visual tokens, in nats."""
        return log(self._found_tokenizer.vocab_size) * (1 if self.settings.aggregation.early_layer is None else 2)

    @property
    def _found_tokenizer(self) -> VisualTokenizer:
        assert self.tokenizer is not None  # noqa: S101  # for the type checker: `receive` has been called
        return self.tokenizer

    @cached_property
    def encoder(self) -> TokenEncoder:
        """The tokenizer, ready to encode."""
        encoding, device = self.settings.tokenizer.encoding, self.accelerator.device
        compiled = encoding.compile
        if compiled == "auto" and is_exact(self.settings.run, device):
            compiled = False
        whole = self.settings.train.batch_size // self.world
        return TokenEncoder(self._found_tokenizer, device, encoding.precision, compiled, whole)

    def views(self) -> Views:
        """Return the random views: one crop for the model and for the tokenizer."""
        (rows, columns), stride = self.mask.grid, self._found_tokenizer.stride
        return replace(self.model_views(), tokenizer_hw=(rows * stride, columns * stride))

    def model_views(self) -> Views:
        """Return the random views of the model alone, which need no tokenizer."""
        return Views(self._view, augmentation(self.settings.augment, self.settings.data.channels))

    @cached_property
    def _view(self) -> Preprocessing:
        settings = self.settings
        return preprocessing(settings.model, self.config.image_hw, settings.checkpoint, band_options(settings.data))

    @cached_property
    def dataset(self) -> ViewDataset:
        """The pictures to train on; those whose tokens are stored need no view for the tokenizer."""
        shown = self.placed(self.views() if self._stored is None else replace(self.views(), tokenizer_hw=None))
        seed, fixed = self.settings.run.seed, self.settings.fixed_views
        return ViewDataset(self.sources.train, shown, seed, replace_broken=True, fixed_views=fixed, stored=self._stored)

    @cached_property
    def collate(self) -> Collate:
        """Samples to batches, with their masks."""
        return Collate(self.settings.run.seed, self.mask)

    def prepare(self, tensors: Mapping[str, Tensor], step: int) -> Mapping[str, Tensor]:
        """Return pictures, masks and the visual tokens to predict."""
        return self.module.prepare(tensors)

    def count(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return the number of masked patches."""
        return tensors["bool_masked_pos"].sum().float()

    def rate(self) -> Rate:
        """Return the published rate, or for Muon the one that a recipe has measured."""
        return PRETRAINING_MUON if self.settings.optim.name == "muon" else PRETRAINING

    def choices(self) -> list[Choice]:
        """Return the sizes of the masks that are `auto`."""
        return mask_choices(self.settings.mask, self.mask.grid)

    def jax_loss(self, flax: Any) -> Any:
        """Return the loss in JAX."""
        from beit.tasks.pretrain.jax_loss import masked_image_modeling_loss  # JAX is an extra

        if self.module.aggregation is not None:
            raise ConfigError("aggregation.early_layer is set, which run.framework jax does not have; set it to torch")
        return masked_image_modeling_loss(flax)

    def held_out(self, source: ImageSource) -> float:
        """Return the mean cross-entropy over the masked patches of some held-out pictures."""
        with self.accelerator.autocast():
            return held_out_loss(self.module, source, self.plain_views, self.mask, self.settings.run.seed, *self._pass)

    def measure(self, model: nn.Module, source: ImageSource) -> Measured:
        """Measure masked-token prediction beside predicting the token frequencies.

        A decoder of masked patches is that of the last step for a moving average of the model too, which has none.
        """
        some = Sources(self.sources.train, spread(source, _MOST_MEASURED))
        assert isinstance(model, BeitForMaskedImageModeling)  # noqa: S101  # for the type checker
        loss = PretrainLoss(model, self.encoder, self.mask.count, decoder=self.module.decoder)
        with self.accelerator.autocast():
            quality, broken = measure_pretraining(
                loss, self.encoder, some, self.plain_views, self.mask, self.settings.run.seed, *self._pass
            )
        numbers, rule = asdict(quality), "the token frequencies"
        levels = {"Loss": (rule, quality.frequency_loss), "Masked-token accuracy": (rule, quality.frequency_accuracy)}
        title = "Masked patches of held-out pictures"

        def sections() -> list[Section]:
            numbers_of = Section(title, sentence(verdict(numbers)), table=numbers_table(numbers))
            return [numbers_of, *self._colours(model)]

        return Measured(numbers, broken, sections, levels)

    def _colours(self, model: BeitForMaskedImageModeling) -> list[Section]:
        """Return the section with patch features in colours, of as many pictures as the gallery has."""
        shown = replace(self.plain_views, tokenizer_hw=None)
        count = self.settings.gallery.pictures
        return colours_section(partial(self._layers, of=model), self.sources.val, shown, self.mask.grid, count)

    @cached_property
    def plain_views(self) -> Views:
        """The views of evaluation."""
        return replace(self.views(), augmentation=None)

    @property
    def _pass(self) -> tuple[int, int]:
        """Pictures at once, which are known to fit the memory, and workers."""
        train = self.settings.train
        return max(1, train.batch_size // self.world // train.accumulate), self.workers

    def gallery(self) -> ShownScene:
        """Return held-out pictures with hidden patches."""
        return ShownScene(self.settings.gallery, self._hidden_patches)

    def _hidden_patches(self) -> HiddenPatches:
        seed, count = self.settings.run.seed, self.settings.gallery.pictures
        return HiddenPatches(self.module, self.encoder, self.sources.val, self.plain_views, self.mask, seed, count)

    def monitor(self) -> Monitored:
        """Return the patch features of every layer, in pictures of which nothing is hidden."""
        settings, plain = self.settings, replace(self.plain_views, tokenizer_hw=None)
        return Monitored(
            settings.monitor, settings.keep_best, plain, replace(self.views(), tokenizer_hw=None), self._layers,
            self._objection, self._pass[0],
        )  # fmt: skip

    @torch.inference_mode()
    def _layers(self, tensors: Mapping[str, Tensor], of: BeitForMaskedImageModeling | None = None) -> list[Tensor]:
        """Return the patch features (B, N, D) of every layer of the model, or of another."""
        model = (of or self.model).eval()
        with self.accelerator.autocast():
            pixels_BCHW = tensors["pixel_values"].to(model.device)
            states = model.beit(pixels_BCHW, output_hidden_states=True, return_dict=True).hidden_states
        return [tokens_BSD[:, 1:] for tokens_BSD in states[1:]]

    def _objection(self, source: ImageSource) -> str | None:
        """Return an objection to learning the visual tokens of some training pictures, None if there is none."""
        few = spread(source, _MOST_ENCODED)
        return objection_to(token_counts(self.encoder, few, self.plain_views, *self._pass), len(few))

    def identity(self) -> Mapping[str, str]:
        """Return the tokenizer's fingerprint."""
        return {"tokenizer": tokenizer_fingerprint(self._found_tokenizer)}

    def flops(self) -> float:
        """Return the operations of one picture in a training step, without the tokenizer."""
        return training_flops(self.model.config, self.mask.count, *self._layers_beside)

    def preparing_flops(self) -> float:
        """Return the operations of the visual tokens of one picture; 0 where they are stored."""
        if self._stored is not None:
            return 0.0
        (rows, columns), stride = self.mask.grid, self._found_tokenizer.stride
        return encoding_flops(self._found_tokenizer, self.settings.data.channels, rows * stride, columns * stride)

    def activations(self, pictures: int, on_cpu: bool) -> Mapping[str, float]:
        """Return the bytes that a step keeps, estimated."""
        half = self.accelerator.mixed_precision != "no"
        kept = Kept(2 if half else 4, on_cpu and not half, self.settings.train.recompute)
        return activation_bytes(self.model.config, pictures, self.mask.count, kept, *self._layers_beside)

    @property
    def _layers_beside(self) -> tuple[int, int]:
        """Layers of the decoder of masked patches, and of the patch aggregation."""
        aggregation = self.settings.aggregation
        return self.settings.decoder.layers or 0, 0 if aggregation.early_layer is None else aggregation.layers

    def save(self, folder: Path, model: Any = None) -> None:
        """Write the model, or another such as its moving average, and its preprocessing into a folder.

        A decoder of masked patches goes along, of the last step whatever the model.
        """
        super().save(folder, model)
        if self.module.decoder is not None:
            self.module.decoder.save_file(folder / DECODER_NAME)
        self._view.save_pretrained(folder)

    def load(self, folder: Path) -> None:
        """Load the model from such a folder, and the decoder that predicts with it.

        Raises:
            CheckpointError: If the decoder is missing or has another shape.
        """
        super().load(folder)
        if self.module.decoder is not None:
            self.module.decoder.load_file(folder / DECODER_NAME)


def pretrain(job: PretrainJob, tokenizer: VisualTokenizer | None = None) -> RunFolder:
    """Pre-train a BEiT and leave model, metrics and report in the run folder, which is returned.

    Without `tokenizer.path` a tokenizer is trained first, on the same pictures, in `tokenizer/` inside the run folder.

    Args:
        job: The settings.
        tokenizer: Any `VisualTokenizer`, to use instead of the one that `job.tokenizer.path` names.

    Raises:
        ConfigError: If model, tokenizer, masks and stored tokens do not fit together.
        DataError: If there are no pictures, or too many are broken.
    """
    return run(PretrainTask, job, tokenizer=tokenizer)
