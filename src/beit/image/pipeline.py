"""Parallel preprocessing of a batch of pictures in threads: Pillow and numpy release Python's lock."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from beit.errors import BeitError, ConfigError, warn
from beit.image.bands import Bands
from beit.image.batch import common_shape
from beit.image.cpus import cpu_share
from beit.image.input_types import Picture, Pixels, flatten, to_picture
from beit.image.options import LAST, NONE, Steps
from beit.image.steps import Cropped, output_dtype, output_shape, resize_and_crop, write_values

_MAX_THREADS = 8  # more of them wait for memory, and for one another

_UNSCALED = (
    "pictures with values above 1 are normalised by a mean of values in 0..1, without rescaling; leave "
    "do_rescale=True, or divide them by 255 before"
)

Result = TypeVar("Result")


def process_images(
    images: Any, steps: Steps, input_layout: str | None, output_layout: str | None, stacked: bool
) -> Pixels | list[Pixels]:
    """Return processed pictures.

    Args:
        images: A picture or several, in any of the documented forms.
        steps: The steps for each.
        input_layout: Channel layout of arrays; None: inferred from the shape of each.
        output_layout: Channel layout of the result; None: that of the picture (a Pillow image: last).
        stacked: Whether to return one array for all.

    Returns:
        An array (B, C, H, W) or (B, H, W, C) if stacked, otherwise a list of arrays without the first dimension.

    Raises:
        ConfigError: If there is no picture, or an argument is none.
        DataError: If a picture is broken or unusable, or shapes differ and are to be stacked.
    """
    sources = flatten(images, single_dims=2 if input_layout == NONE else 3)
    if not sources:
        raise ConfigError("got an empty list of pictures; pass at least one")
    _load_shared(sources)

    def prepare(index: int) -> Cropped:
        try:
            return resize_and_crop(_coloured(to_picture(sources[index], input_layout), steps), steps)
        except BeitError as error:
            if len(sources) == 1:
                raise
            raise type(error)(f"images[{index}]: {error}") from None

    colour_hw = _known_size(sources, steps) if stacked else None
    if colour_hw is not None:
        if _expects_unit_values(steps):  # these are pictures of 8 bits
            warn(_UNSCALED)
        return _straight_to_batch(prepare, sources, steps, colour_hw, output_layout or LAST)
    cropped = _each(prepare, len(sources), lambda index: _area(sources[index]))
    if steps.factor is not None and any(picture.scaled for picture in cropped):
        warn(
            f"pictures with values in 0..1 are multiplied by rescale_factor={steps.factor:g}; "
            "pass do_rescale=False if they were divided by 255 already",
        )
    if _expects_unit_values(steps) and any(not one.scaled and one.pixels_HWC.max() > 1 for one in cropped):
        warn(_UNSCALED)
    channels_last = [(output_layout or picture.layout) == LAST for picture in cropped]
    targets, result = _allocate(cropped, steps, channels_last, stacked)

    def write(index: int) -> None:
        target = targets[index]
        write_values(cropped[index], steps, target.transpose(2, 0, 1) if channels_last[index] else target)

    _each(write, len(sources))
    return result


def _coloured(picture: Picture, steps: Steps) -> Picture:
    """Show a picture of one channel in all that the mean has a value for, as grey files are shown."""
    pixels, channels = picture.content, len(steps.mean) if isinstance(steps.mean, tuple) else 1
    if isinstance(pixels, Image.Image | Bands) or pixels.shape[-1] != 1 or channels != 3:
        return picture
    return Picture(np.broadcast_to(pixels, (*pixels.shape[:2], channels)), picture.layout)


def _expects_unit_values(steps: Steps) -> bool:
    """Return whether pixels are normalised by a mean of values in 0..1 and not brought there before."""
    return steps.factor is None and steps.mean is not None and float(np.max(steps.mean)) <= 1


def _known_size(sources: Sequence[Any], steps: Steps) -> tuple[int, int] | None:
    """Return the size that every picture will have, if that is known before any is opened and all will be RGB."""
    hw = steps.crop_hw or steps.size
    coloured = all(isinstance(source, Image.Image | str | os.PathLike | bytes) for source in sources)
    return hw if isinstance(hw, tuple) and coloured else None


def _straight_to_batch(
    prepare: Callable[[int], Cropped], sources: Sequence[Any], steps: Steps, hw: tuple[int, int], layout: str
) -> Pixels:
    """Return the batch, each picture written to its place as soon as it is cropped."""
    computed = steps.factor is not None or steps.mean is not None
    shape = (*hw, 3) if layout == LAST else (3, *hw)
    batch: Pixels = np.empty((len(sources), *shape), np.float32 if computed else np.uint8)

    def work(index: int) -> None:
        target = batch[index]
        write_values(prepare(index), steps, target.transpose(2, 0, 1) if layout == LAST else target)

    _each(work, len(sources), lambda index: _area(sources[index]))
    return batch


def _allocate(
    cropped: Sequence[Cropped], steps: Steps, channels_last: Sequence[bool], stacked: bool
) -> tuple[list[Pixels], Pixels | list[Pixels]]:
    """Return one empty array per picture, and what they make up together."""
    shapes = [output_shape(picture, last) for picture, last in zip(cropped, channels_last, strict=True)]
    dtypes = [output_dtype(picture, steps) for picture in cropped]
    if not stacked:
        arrays: list[Pixels] = [np.empty(shape, dtype) for shape, dtype in zip(shapes, dtypes, strict=True)]
        return arrays, arrays
    batch: Pixels = np.empty((len(shapes), *common_shape(shapes, "pictures")), np.result_type(*dtypes))
    return list(batch), batch


def _load_shared(sources: Iterable[Any]) -> None:
    """Read a picture that is several times in the batch before threads would do so at the same time."""
    uses = Counter(id(source) for source in sources)
    for source in sources:
        if uses[id(source)] > 1 and isinstance(source, Image.Image):
            to_picture(source, None)


def _each(function: Callable[[int], Result], count: int, cost: Callable[[int], int] | None = None) -> list[Result]:
    """Return function(0), function(1), ..., computed by several threads; `cost` says which take longest.

    Every thread takes the next number when it is done with one, the costly ones first, so that none waits long for
    another at the end. The calling thread is one of them: a single picture costs no thread.

    Raises:
        Exception: The first, by number, of those that calls have raised.
    """
    waiting: SimpleQueue[int] = SimpleQueue()
    for index in sorted(range(count), key=cost, reverse=True) if cost is not None else range(count):
        waiting.put(index)
    results: dict[int, Result] = {}
    errors: dict[int, BaseException] = {}

    def work() -> None:
        while True:
            try:
                index = waiting.get_nowait()
            except Empty:
                return
            try:
                results[index] = function(index)
            except BaseException as error:
                errors[index] = error

    # Threads of their own for each call: a pool that is kept would be dead, and waited for, in a forked process.
    threads = [Thread(target=work) for _ in range(min(count, cpu_share(), _MAX_THREADS) - 1)]
    for thread in threads:
        thread.start()
    work()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[min(errors)]
    return [results[index] for index in range(count)]


def _area(source: Any) -> int:
    """Return how many pixels a picture has, where that is known without opening it."""
    return source.width * source.height if isinstance(source, Image.Image) else 0
