"""Methods of the published processor: one step on one picture, and its options as a file or a dict."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from beit.hub import SavedOptions
from beit.image.batch import BatchFeature
from beit.image.input_types import to_array
from beit.image.labels import reduce_labels

_STEPS = ("do_resize", "do_center_crop", "do_rescale", "do_normalize")


class PublishedMethods(SavedOptions):
    """Base of `BeitImageProcessor`."""

    def preprocess(self, images: Any, **kwargs: Any) -> BatchFeature:
        """Return the model input of pictures."""
        raise NotImplementedError

    def resize(
        self, image: Any, size: Any, resample: Any = Image.Resampling.BICUBIC, data_format: Any = None,
        input_data_format: Any = None,
    ) -> Any:  # fmt: skip
        """Return a picture resized to `size`, channels where they were unless `data_format` says where."""
        return self._one("do_resize", image, data_format, input_data_format, size=size, resample=resample)

    def center_crop(self, image: Any, size: Any, data_format: Any = None, input_data_format: Any = None) -> Any:
        """Return the centre of a picture, filled up with zeros where it is smaller than `size`."""
        return self._one("do_center_crop", image, data_format, input_data_format, crop_size=size)

    def rescale(self, image: Any, scale: float, data_format: Any = None, input_data_format: Any = None) -> Any:
        """Return a picture with its pixels multiplied by `scale`."""
        return self._one("do_rescale", image, data_format, input_data_format, rescale_factor=scale)

    def normalize(self, image: Any, mean: Any, std: Any, data_format: Any = None, input_data_format: Any = None) -> Any:
        """Return (picture - mean) / std, of one value per channel or one for all."""
        return self._one("do_normalize", image, data_format, input_data_format, image_mean=mean, image_std=std)

    def reduce_label(self, label: Any) -> NDArray[np.int64]:
        """Return a map of class ids reduced by one, where 0 (background) becomes 255 (ignored)."""
        return reduce_labels(to_array(label, "label map").astype(np.int64))

    def _one(self, step: str, image: Any, data_format: Any, input_data_format: Any, **options: Any) -> Any:
        """Return a picture after one step alone."""
        steps = {name: name == step for name in _STEPS}
        layouts = {"data_format": data_format, "input_data_format": input_data_format}
        return self.preprocess(image, **steps, **layouts, **options)["pixel_values"][0]
