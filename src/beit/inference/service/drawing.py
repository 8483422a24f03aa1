"""From the results of a predictor to answers; pictures become PNGs in base64.

Legend: H x W pixels, K classes.
"""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from beit.image.labels import IGNORED
from beit.image.palette import coloured, palette
from beit.inference.results import Attention, Reconstruction, Segmentation
from beit.inference.service.schemas import AttendAnswer, ClassShare, ReconstructAnswer, SegmentAnswer

_OPACITY = 128  # of an overlay, of 255


def segment_answer(model: str, found: Segmentation) -> SegmentAnswer:
    """Return all classes with their shares, their numbers and their colours.

    Raises:
        ConfigError: If there are more classes than 8 bits tell apart.
    """
    labels_HW, count = found.labels, len(found.classes)
    shares_K = np.bincount(labels_HW.ravel(), minlength=count)[:count] / labels_HW.size
    colours_K3 = palette(count).tolist()
    classes = [
        ClassShare(name=name, colour="#{:02x}{:02x}{:02x}".format(*colour), share=share)
        for name, colour, share in zip(found.classes, colours_K3, shares_K.tolist(), strict=True)
    ]
    overlay = coloured(labels_HW, count)
    overlay.putalpha(Image.fromarray(np.where(labels_HW == IGNORED, 0, _OPACITY).astype(np.uint8)))
    return SegmentAnswer(
        model=model,
        height=labels_HW.shape[0],
        width=labels_HW.shape[1],
        classes=classes,
        labels_png=_png(Image.fromarray(labels_HW.astype(np.uint8))),
        overlay_rgba_png=_png(overlay),
    )


def attend_answer(model: str, found: Attention) -> AttendAnswer:
    """Return the maps row by row, and the picture they belong to."""
    heads, rows, cols = found.maps.shape
    return AttendAnswer(
        model=model,
        rows=rows,
        cols=cols,
        picture_png=_png(found.picture),
        maps=found.maps.reshape(heads, -1).tolist(),
        patch=found.patch,
    )


def reconstruct_answer(model: str, found: Reconstruction) -> ReconstructAnswer:
    """Return the three pictures, and what was hidden."""
    rows, cols = found.mask.shape
    return ReconstructAnswer(
        model=model,
        rows=rows,
        cols=cols,
        mask=[(row, col) for row, col in np.argwhere(found.mask).tolist()],
        picture_png=_png(found.picture),
        masked_png=_png(found.masked),
        reconstruction_png=_png(found.reconstruction),
    )


def _png(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=1)  # a tenth of the time of the default, a little larger
    return base64.b64encode(buffer.getvalue()).decode("ascii")
