"""Channels of the pictures of a job: their reading, and refusals where only three are known."""

from __future__ import annotations

import logging
from functools import cache

from beit.errors import ConfigError
from beit.image import COLOURS, BandOptions
from beit.image.model_view import saved_view
from beit.settings.groups import AugmentSettings, PictureSettings

logger = logging.getLogger("beit")


def band_options(data: PictureSettings) -> BandOptions | None:
    """Return the reading of pictures of other than three channels, of a range, or of frames; None of RGB."""
    options = BandOptions(data.channels, None if data.value_range == "auto" else data.value_range, data.frame)
    return None if options == BandOptions(COLOURS) else options


def colour_jitter(settings: AugmentSettings, channels: int) -> float:
    """Return the strength of colour changes; other than three channels have none, which is said once."""
    if channels != COLOURS and settings.color_jitter:
        _say_off(f"augment.color_jitter {settings.color_jitter:g}", channels)
        return 0.0
    return settings.color_jitter


def distortion(asked: bool, channels: int) -> bool:
    """Return whether the colours of scenes are distorted; other than three channels have none, which is said once."""
    if asked and channels != COLOURS:
        _say_off("scene.distort", channels)
    return asked and channels == COLOURS


@cache
def _say_off(what: str, channels: int) -> None:
    logger.warning("%s is for red, green and blue; it is off for pictures of %d channels", what, channels)


def check_rgb(data: PictureSettings, what: str) -> None:
    """Refuse other than three channels, before any work.

    Args:
        data: The pictures.
        what: What knows no others, such as "segmentation".

    Raises:
        ConfigError: If there are others.
    """
    if data.channels != COLOURS:
        raise ConfigError(f"data.channels is {data.channels}; {what} takes pictures of 3 channels only: leave it out")


def check_range(bands: BandOptions | None, model: str) -> None:
    """Refuse another range of values, or another frame, than those that a model has learnt from.

    What has learnt from colours without a range of their own starts with any: pictures of 8 bits have none.

    Raises:
        ConfigError: Naming both.
        CheckpointError: If the model is one of the hub, which cannot be reached.
    """
    before = saved_view(model)
    if before is None or before.bands is None:
        return
    asked = bands or BandOptions(COLOURS)
    if before.value_range != asked.value_range:
        ours, own = _described(asked.value_range), _described(before.value_range)
        raise ConfigError(
            f"data.value_range is {ours}, and {model} has learnt from {own}; set data.value_range to {own}, or its "
            "numbers mean something else"
        )
    if before.frame != asked.frame:
        raise ConfigError(
            f"data.frame is {asked.frame}, and {model} has learnt from {before.frame}; set data.frame to {before.frame}"
        )


def _described(span: tuple[float, float] | str | None) -> str:
    if isinstance(span, str):
        return span
    return "auto" if span is None else f"[{span[0]:g}, {span[1]:g}]"


def check_channels(data: PictureSettings, own: int, name: str) -> None:
    """Refuse pictures of other channels than a model or tokenizer takes.

    Raises:
        ConfigError: Naming both numbers.
    """
    if data.channels != own:
        raise ConfigError(
            f"data.channels is {data.channels}, and {name} takes {own} channels; set data.channels to {own}"
        )
