"""Check of an exported file against the model that it was made of.

Legend: B batch, C channels, K classes; H x W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from beit.errors import CheckpointError
from beit.inference.export.examples import Examples
from beit.inference.export.model import ExportModel
from beit.inference.runners.runner import Floats, Runner
from beit.settings.export import ExportPrecision

_BATCH = 4


@dataclass(frozen=True)
class Limits:
    """Largest deviations of a good file.

    Attributes:
        difference: Largest difference of a number, as a share of the largest number.
        cosine: Least mean cosine between the outputs of a picture.
        agreement: Least share of pictures (to segment: of places) with the same best class; one picture may differ.
    """

    difference: float | None
    cosine: float
    agreement: float


LIMITS: dict[ExportPrecision, Limits] = {
    "fp32": Limits(1e-3, 0.9999, 0.99),
    "fp16": Limits(None, 0.998, 0.98),
    "int8": Limits(None, 0.98, 0.95),
}


@dataclass(frozen=True)
class Check:
    """Deviation of an exported file from the model that it was made of.

    Attributes:
        pictures: How many pictures were compared.
        origin: Where they are from.
        difference: Largest absolute difference of a number.
        largest: Largest absolute number that the model gives.
        cosine: Mean over pictures of the cosine between both outputs.
        agreement: Share of pictures, or of places of a map, with the same best class; None for embeddings.
    """

    pictures: int
    origin: str
    difference: float
    largest: float
    cosine: float
    agreement: float | None

    def to_json(self) -> dict[str, Any]:
        """Return all values for `export.json`."""
        return asdict(self)

    def __str__(self) -> str:
        """Return the check in one line."""
        agreement = "" if self.agreement is None else f", same best class {self.agreement:.2%}"
        return (
            f"largest difference {self.difference:.1e} of {self.largest:.2g}, cosine {self.cosine:.5f}{agreement} "
            f"({self.pictures} {self.origin})"
        )


def checked(runner: Runner, model: ExportModel, precision: ExportPrecision, examples: Examples) -> Check:
    """Compare an exported file with the model on pictures.

    Args:
        runner: The exported file, loaded.
        model: The model.
        precision: How exact the file is meant to be.
        examples: The pictures, in batches; if any size is welcome, one of them again, larger and of another shape.

    Raises:
        CheckpointError: If they differ by more than `LIMITS`.
    """
    return compared(list(_outputs(runner, model, examples)), precision, examples.origin, model.output.scores)


def compared(pairs: Sequence[tuple[Floats, Floats]], precision: ExportPrecision, origin: str, scores: bool) -> Check:
    """Compare outputs, batch by batch the expected and the found ones.

    Args:
        pairs: The outputs of the model and of the file.
        precision: How exact the file is meant to be.
        origin: Where the pictures are from, in words.
        scores: Whether the numbers are scores of classes.

    Raises:
        CheckpointError: If they differ by more than `LIMITS`.
    """
    expected, found = (np.concatenate(outputs) for outputs in zip(*pairs, strict=True))
    check = Check(
        len(expected),
        origin,
        float(np.abs(found - expected).max()),
        float(np.abs(expected).max()),
        float(_cosines(found, expected).mean()),
        float((found.argmax(1) == expected.argmax(1)).mean()) if scores else None,
    )
    _judge(check, precision)
    return check


def _outputs(runner: Runner, model: ExportModel, examples: Examples) -> Iterator[tuple[Floats, Floats]]:
    """Yield the outputs of the model and of the file."""
    for pixels_BCHW in examples.batches(model.view, _BATCH):
        yield model.reference(pixels_BCHW), runner(pixels_BCHW)
    if model.any_size:
        (height, width), patch_hw = model.view.image_hw, model.config.patch_hw
        pixels_BCHW = next(examples.batches(model.view.at_size((height + patch_hw[0], width + 3 * patch_hw[1])), 1))
        yield model.reference(pixels_BCHW), runner(pixels_BCHW)


def _cosines(found: Floats, expected: Floats) -> Floats:
    """Return the cosine between both outputs of every picture."""
    found_BN, expected_BN = (values.reshape(len(values), -1).astype(np.float64) for values in (found, expected))
    norms_B = np.linalg.norm(found_BN, axis=1) * np.linalg.norm(expected_BN, axis=1)
    return ((found_BN * expected_BN).sum(1) / np.maximum(norms_B, 1e-30)).astype(np.float32)


def _judge(check: Check, precision: ExportPrecision) -> None:
    """Raise if a check is not good enough, which NaN never is."""
    limits = LIMITS[precision]
    agreement = 1.0 if check.agreement is None else check.agreement + 1 / check.pictures  # one picture may differ
    near = limits.difference is None or check.difference <= limits.difference * check.largest
    if not (near and check.cosine >= limits.cosine and agreement >= limits.agreement):
        exact = (
            "" if limits.difference is None else f"a difference up to {limits.difference:.0e} of the largest number, "
        )
        remedy = "choose another target" if precision == "fp32" else "choose fp32, or show more typical pictures"
        raise CheckpointError(
            f"the outputs of the exported file differ from the model's: {check}; expected {exact}a cosine of at least "
            f"{limits.cosine} and the same best class in {limits.agreement:.0%}: nothing was written, {remedy}"
        )
