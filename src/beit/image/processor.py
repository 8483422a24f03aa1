"""Published image processor: model input from pictures and label maps."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image

from beit.catalog import public_checkpoint
from beit.errors import warn
from beit.image.batch import BatchFeature, parse_framework, stack, to_framework
from beit.image.labels import process_maps
from beit.image.options import (
    FIRST,
    LAST,
    NONE,
    Steps,
    options_of_file,
    parse_layout,
    parse_resample,
    parse_size,
    parse_steps,
    plain_options,
    size_to_dict,
)
from beit.image.pipeline import process_images
from beit.image.post_processing import label_maps
from beit.image.published_methods import PublishedMethods

PREPROCESSOR_NAME = "preprocessor_config.json"

_OPTIONS = (
    "do_resize", "size", "resample", "do_center_crop", "crop_size", "do_rescale", "rescale_factor", "do_normalize",
    "image_mean", "image_std", "do_reduce_labels",
)  # fmt: skip


class BeitImageProcessor(PublishedMethods):
    """Resize, crop the centre, rescale and normalise pictures; take label maps along.

    Options are attributes and may be changed; each can also be given for one call.

    Args:
        do_resize: Whether to resize, to `size`.
        size: Height and width in pixels, {"height": 256, "width": 256} by default; also a whole number for a square, or
            {"shortest_edge": 256}, which keeps the picture's shape.
        resample: Filter for pictures, a number or name of `PIL.Image.Resampling`. Label maps take the nearest pixel.
        do_center_crop: Whether to crop the centre, to `crop_size`; a larger crop is filled up with zeros.
        crop_size: Height and width in pixels, {"height": 224, "width": 224} by default; or a number for a square.
        rescale_factor: Factor of the rescaling.
        do_rescale: Whether to multiply pixels by it.
        do_normalize: Whether the mean is then subtracted and the result divided by the standard deviation.
        image_mean: Mean, one per channel or one for all; 0.5 by default.
        image_std: Standard deviation, likewise.
        do_reduce_labels: Whether ids of label maps are reduced by one, with 0 (background) becoming 255 (ignored).
        **kwargs: Kept and saved, without effect; `reduce_labels` is the old name of `do_reduce_labels`.

    Raises:
        ConfigError: If an option is invalid.

    Source: the interface and arithmetic of `BeitImageProcessor` in transformers 4.37.2. Different on purpose: label
    maps are never blended and may hold any id, crops have the size asked for, pictures of every mode are taken.
    """

    FILE_NAME = PREPROCESSOR_NAME
    EXPECTED = "the options of a BeitImageProcessor"
    COMMIT_MESSAGE = "Upload image processor"
    model_input_names: ClassVar[list[str]] = ["pixel_values"]

    def __init__(
        self,
        do_resize: bool = True,
        size: Any = None,
        resample: Image.Resampling | int = Image.Resampling.BICUBIC,
        do_center_crop: bool = True,
        crop_size: Any = None,
        rescale_factor: float = 1 / 255,
        do_rescale: bool = True,
        do_normalize: bool = True,
        image_mean: Any = None,
        image_std: Any = None,
        do_reduce_labels: bool = False,
        **kwargs: Any,
    ) -> None:
        do_reduce_labels = bool(kwargs.pop("reduce_labels", do_reduce_labels))
        self.do_resize = do_resize
        self.size = size_to_dict(parse_size(256 if size is None else size, "size"))
        self.resample = parse_resample(resample)
        self.do_center_crop = do_center_crop
        self.crop_size = size_to_dict(parse_size(224 if crop_size is None else crop_size, "crop_size"))
        self.rescale_factor = rescale_factor
        self.do_rescale = do_rescale
        self.do_normalize = do_normalize
        self.image_mean = [0.5, 0.5, 0.5] if image_mean is None else image_mean
        self.image_std = [0.5, 0.5, 0.5] if image_std is None else image_std
        self.do_reduce_labels = do_reduce_labels
        self.other_options = kwargs
        _warn_of_misspelt(kwargs)
        parse_steps(self._options({}))
        if "transformers.pipelines" in sys.modules:
            from beit.image.recognised import recognise  # never imported where there are no pipelines

            recognise(BeitImageProcessor)

    def __call__(self, images: Any, segmentation_maps: Any = None, **kwargs: Any) -> BatchFeature:
        """Return `preprocess(images, segmentation_maps, **kwargs)`."""
        return self.preprocess(images, segmentation_maps=segmentation_maps, **kwargs)

    def preprocess(
        self,
        images: Any,
        segmentation_maps: Any = None,
        do_resize: bool | None = None,
        size: Any = None,
        resample: Image.Resampling | int | None = None,
        do_center_crop: bool | None = None,
        crop_size: Any = None,
        do_rescale: bool | None = None,
        rescale_factor: float | None = None,
        do_normalize: bool | None = None,
        image_mean: Any = None,
        image_std: Any = None,
        do_reduce_labels: bool | None = None,
        return_tensors: Any = None,
        data_format: Any = FIRST,
        input_data_format: Any = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """Return the model input of pictures, and the labels of their maps.

        Args:
            images: Pillow images of any mode; numpy arrays, torch tensors or jax arrays (H, W), (H, W, C) or (C, H, W);
                paths; bytes of image files. One, a list, nested lists, or arrays with a batch dimension.
            segmentation_maps: Likewise, one map (H, W) of class ids per picture. Maps are never changed in place.
            do_resize: This and what follows down to `do_reduce_labels`: the option for this call; None: as constructed.
            size: See the class.
            resample: See the class.
            do_center_crop: See the class.
            crop_size: See the class.
            do_rescale: See the class.
            rescale_factor: See the class.
            do_normalize: See the class.
            image_mean: See the class.
            image_std: See the class.
            do_reduce_labels: See the class.
            return_tensors: None: lists of numpy arrays, one per picture; "np", "pt", "jax" or "tf": one array for all.
            data_format: "channels_first" or "channels_last" for the result; None: as the picture had them (files and
                Pillow images: last).
            input_data_format: Channel layout of arrays, "none" for (H, W); None: inferred from the shape.
            **kwargs: `reduce_labels`, the old name of `do_reduce_labels`; `device`, where tensors of torch shall lie;
                others have no effect and are warned of.

        Returns:
            `pixel_values`: float32 (B, C, height, width), whatever the picture held if neither rescaled nor normalised;
            `labels`: int64 (B, height, width), if maps were given.

        Raises:
            ConfigError: If an option or argument cannot work.
            DataError: If a picture or map is broken or unusable, or shapes differ and are to be stacked.
            MissingExtraError: If the framework asked for is not installed.
        """
        if do_reduce_labels is None:
            do_reduce_labels = kwargs.pop("reduce_labels", None)
        device = kwargs.pop("device", None)
        if kwargs.get("do_convert_rgb"):
            del kwargs["do_convert_rgb"]  # pictures are made RGB anyway
        framework = parse_framework(return_tensors)
        if device is not None and framework != "pt":
            kwargs["device"] = device  # nothing else has one
        if kwargs:
            names = ", ".join(map(repr, kwargs))
            warn(f"preprocess() has no argument {names}; without effect")
        options = self._options({
            "do_resize": do_resize, "size": size, "resample": resample, "do_center_crop": do_center_crop,
            "crop_size": crop_size, "do_rescale": do_rescale, "rescale_factor": rescale_factor,
            "do_normalize": do_normalize, "image_mean": image_mean, "image_std": image_std,
            "do_reduce_labels": do_reduce_labels,
        })  # fmt: skip
        steps = parse_steps(options)
        layout = parse_layout(data_format, "data_format", (FIRST, LAST))
        input_layout = parse_layout(input_data_format, "input_data_format", (FIRST, LAST, NONE))
        pixel_values = process_images(images, steps, input_layout, layout, stacked=framework is not None)
        features: dict[str, Any] = {"pixel_values": pixel_values}
        if segmentation_maps is not None:
            labels = process_maps(segmentation_maps, len(pixel_values), steps, bool(options["do_reduce_labels"]))
            features["labels"] = labels if framework is None else stack(labels, "label maps")
        if framework is not None:
            features = {name: to_framework(value, framework) for name, value in features.items()}
        batch = BatchFeature(features)
        return batch if device is None or framework != "pt" else batch.to(device)

    def post_process_semantic_segmentation(
        self,
        outputs: Any,
        target_sizes: Any = None,
        return_scores: bool = False,
        *,
        return_segmentation_scores: bool = False,
    ) -> list[Any]:
        """Return one label map per picture, and on request its scores; see `beit.image.post_processing.label_maps`."""
        return label_maps(outputs, target_sizes, return_scores, return_segmentation_scores)

    @property
    def steps(self) -> Steps:
        """Steps of preprocessing by the current options.

        Raises:
            ConfigError: If one of them is invalid.
        """
        return parse_steps(self._options({}))

    def _options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return every option: what is given and not None, else the attribute."""
        return {name: getattr(self, name) if given.get(name) is None else given[name] for name in _OPTIONS}

    def to_dict(self) -> dict[str, Any]:
        """Return all options in plain types, under their published names."""
        return plain_options({**self.other_options, **self._options({})})

    def to_json_string(self) -> str:
        """Return the JSON that `save_pretrained` writes."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string()}"

    @classmethod
    def overridden(cls, options: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments for a file's options, under the names of any published version, and the overrides."""
        return {**options_of_file(options), **overrides}

    @classmethod
    def unused_names(cls, options: Mapping[str, Any], names: Iterable[str]) -> set[str]:
        """Return which names are no options."""
        return set(names) - {*_OPTIONS, "reduce_labels"}

    @classmethod
    def hub_name(cls, name: str) -> str | None:
        """Return the repository of a name, which may also be that of a published checkpoint."""
        public = public_checkpoint(name)
        return super().hub_name(name) if public is None else public.hub

    @classmethod
    def get_image_processor_dict(
        cls, pretrained_model_name_or_path: str | Path, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the content of a `preprocessor_config.json`, and the arguments that do not say where it is.

        Raises:
            ConfigError: If the file is no JSON object.
            UnavailableError: If it is missing, or the hub cannot be reached.
        """
        return cls.read_options(pretrained_model_name_or_path, **kwargs)


class BeitFeatureExtractor(BeitImageProcessor):
    """The old name of `BeitImageProcessor`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        warn(
            "BeitFeatureExtractor is the old name of BeitImageProcessor; use that, its arguments are the same",
            FutureWarning,
        )
        super().__init__(*args, **kwargs)


def _warn_of_misspelt(options: Mapping[str, Any]) -> None:
    for name in options:
        similar = difflib.get_close_matches(name, _OPTIONS, n=1, cutoff=0.8)
        if similar:
            warn(f"option {name!r} is unknown and has no effect; did you mean {similar[0]!r}?")
