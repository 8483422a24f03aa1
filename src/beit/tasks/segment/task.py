"""Task of semantic segmentation: a BEiT with UperNet that learns the class of every pixel.

Legend: K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from beit.data import ImageSource, SceneViews
from beit.engine.run import run
from beit.engine.run_folder import RunFolder
from beit.engine.schedule import SEGMENTATION, SEGMENTATION_FINETUNED_BEFORE, Rate
from beit.engine.task import Measured, Task
from beit.evaluation.segmentation.measure import measure_scenes, overlay_section, score_sections
from beit.image import IGNORED, Preprocessing
from beit.models_torch import BeitForSemanticSegmentation
from beit.models_torch.scene import SceneInference
from beit.reports.report import Section
from beit.settings.channels import band_options, distortion
from beit.settings.inputs import Sources, preprocessing
from beit.settings.model import hidden_width
from beit.settings.scenes import open_scenes
from beit.settings.segment import SegmentJob
from beit.tasks.segment.loss import SegmentLoss
from beit.tasks.segment.model import (
    check_batch_norms,
    freeze_unread_layers,
    scene_inference,
    share_batch_norms,
    starting_segmenter,
)
from beit.tasks.segment.pixel_counts import PixelCounts, check_weights, class_weights, count_pixels


class SegmentTask(Task[SegmentJob, SegmentLoss]):
    """Training of UperNet on a checkpoint, or from scratch."""

    title = "segmentation"
    keeps_pictures = False
    watched = "held_out_error"
    curves: ClassVar[Mapping[str, Sequence[str]]] = {
        "Loss": ["loss"],
        "Pixels predicted right": ["pixel_accuracy"],
        "Learning rate": ["lr"],
        "1 - mean IoU of held-out scenes": ["held_out_error"],
    }
    _counts: PixelCounts | None = None  # a forecast does without

    def __init__(self, settings: SegmentJob) -> None:
        super().__init__(settings)
        self.width = hidden_width(settings.model)

    def open(self) -> Sources:
        """Open pictures and label maps."""
        return open_scenes(self.settings.data, self.settings.label_maps, self.settings.run.seed)

    def start(self) -> None:
        """Refuse what does not fit, and load the model to start from.

        Raises:
            ConfigError: If settings, data and checkpoint do not fit together.
            CheckpointError: If the checkpoint cannot be found or read.
        """
        super().start()
        settings, classes = self.settings, list(self.sources.train.classes or ())
        check_weights(settings, len(classes))
        self._model = starting_segmenter(settings, classes)
        check_batch_norms(settings.train, self._model.config, self.world, self._shares_norms)
        image_hw = self._model.config.image_hw
        view: Preprocessing = preprocessing(settings.model, image_hw, settings.checkpoint, band_options(settings.data))
        self.view = replace(view, resize=image_hw)
        self.inference: SceneInference = scene_inference(settings.inference, settings.scene.shorter_side, self.view)

    def inspect(self) -> None:
        """Read all label maps, print the pixels of each class, and refuse label maps that are wrong.

        Raises:
            DataError: Naming the first one.
        """
        main, checked = self.accelerator.is_main_process, self.settings.label_maps.checked
        balanced = self.settings.class_weights == "balanced"
        self._counts = count_pixels(self.sources.train, checked, visible=main, every_class=balanced)
        count_pixels(self.sources.val, checked, visible=main)
        if main:
            print(self._counts)  # noqa: T201

    def build(self) -> SegmentLoss:
        """Return the loss over the model."""
        if self._shares_norms:
            share_batch_norms(self._model)
        if (unread := freeze_unread_layers(self._model)) and self.accelerator.is_main_process:
            depth = self._model.config.num_hidden_layers
            line = (
                f"the heads read {depth - unread} of {depth} layers, the others stay as they are; --layers names others"
            )
            print(line)  # noqa: T201  # a person has to know
        hard, parts = self.settings.hard_pixels, self.world * self.settings.train.accumulate
        hard = replace(hard, least=-(-hard.least // parts))  # of a batch, of which the loss sees a part at a time
        return SegmentLoss(self._model, class_weights(self.settings, self._counts), hard)

    @property
    def _shares_norms(self) -> bool:
        return self.accelerator.num_processes > 1 and self.accelerator.device.type == "cuda"

    @property
    def model(self) -> BeitForSemanticSegmentation:
        """The segmentation model."""
        return self.module.model

    def views(self) -> SceneViews:
        """Return the random views of the training scenes."""
        scene, view = self.settings.scene, self.view
        return SceneViews(
            view.image_hw,
            scene.scale,
            scene.shorter_side,
            scene.one_class,
            scene.flip,
            distortion(scene.distort, self.settings.data.channels),
            view.mean,
            view.std,
        )

    def rate(self) -> Rate:
        """Return the published rate for what it starts from; from random weights that of a pre-trained model."""
        report = self._model.load_report
        return SEGMENTATION_FINETUNED_BEFORE if report is not None and report.knows_labels else SEGMENTATION

    @property
    def guessing(self) -> float | None:
        """The cross-entropy of equal probabilities, of both heads; None where not all pixels count alike."""
        settings, config = self.settings, self._model.config
        if settings.class_weights is not None or settings.hard_pixels.confidence is not None:
            return None
        heads = 1 + config.auxiliary_loss_weight * config.use_auxiliary_head
        return heads * log(config.num_labels)

    def count(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return the number of pixels that have a class."""
        return (tensors["labels"] != IGNORED).sum().clamp(min=1).float()

    def held_out(self, source: ImageSource) -> float:
        """Return 1 - the mean IoU of some held-out scenes."""
        return 1 - measure_scenes(self.model, self.inference, source).scores.numbers()["mean_iou"]

    def measure(self, model: nn.Module, source: ImageSource) -> Measured:
        """Segment whole scenes and compare them with their label maps."""
        assert isinstance(model, BeitForSemanticSegmentation)  # noqa: S101  # for the type checker
        measured, names = measure_scenes(model, self.inference, source, visible=True), model.config.class_names
        iou = {f"iou_{name}": float(value) for name, value in zip(names, measured.scores.iou, strict=True)}
        numbers = {**measured.scores.numbers(), **{name: value for name, value in iou.items() if value == value}}

        def sections() -> list[Section]:
            return [*score_sections(measured, names), overlay_section(model, self.inference, source)]

        return Measured(numbers, measured.broken, sections)

    def save(self, folder: Path, model: Any = None) -> None:
        """Write the model, or another such as its moving average, and the inference on whole scenes into a folder."""
        super().save(folder, model)
        self.view.save_pretrained(folder)
        self.inference.save_pretrained(folder)


def segment(job: SegmentJob) -> RunFolder:
    """Train a segmentation model and leave it, metrics and report in the run folder, which is returned.

    Raises:
        ConfigError: If settings, data and checkpoint do not fit together.
        DataError: If pictures or label maps are unusable.
    """
    return run(SegmentTask, job)
