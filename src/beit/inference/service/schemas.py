"""What requests and answers hold, as OpenAPI tells it.

Legend: rows and cols count patches, from the top and the left.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Json
from pydantic.json_schema import SkipJsonSchema

_MOST_SEED = 2**32 - 1
_PNG = "base64 of a PNG"
Place = tuple[Annotated[int, Field(ge=0, le=9999)], Annotated[int, Field(ge=0, le=9999)]]


class PictureForm(BaseModel):
    """A picture, and the model that is asked."""

    file: bytes = Field(
        description="The picture: JPEG, PNG, WebP, BMP, TIFF, PPM or a GIF of one frame.",
        json_schema_extra={"contentMediaType": "image/*"},
    )
    model: str | SkipJsonSchema[None] = Field(
        None, description="Name of the model; may be left out where there is one.", max_length=200
    )


class ClassifyForm(PictureForm):
    """For /v1/classify."""

    top_k: int = Field(5, ge=1, le=100_000, description="Classes to name.")


class AttendForm(PictureForm):
    """For /v1/attend."""

    layer: int = Field(-1, ge=-1000, le=1000, description="Counted from 0, or from the end: -1 is the last.")
    patch: str | SkipJsonSchema[None] = Field(
        None, pattern=r"^[0-9]{1,4},[0-9]{1,4}$", description="The row,col that looks; default: the [CLS] token."
    )

    @property
    def place(self) -> tuple[int, int] | None:
        """The patch as (row, col)."""
        if self.patch is None:
            return None
        row, col = self.patch.split(",")
        return int(row), int(col)


def _some(mask: list[Place]) -> list[Place]:
    if not mask:
        raise ValueError("expected at least one [row, col]; leave it out for blocks as in pre-training")
    return mask


class ReconstructForm(PictureForm):
    """For /v1/reconstruct."""

    mask: Json[Annotated[list[Place], AfterValidator(_some)]] | SkipJsonSchema[None] = Field(
        None, description="JSON list of the [row, col] to hide; default: blocks as in pre-training."
    )
    share: float = Field(0.4, gt=0, le=1, description="How much those blocks hide at most.")
    seed: int = Field(0, ge=0, le=_MOST_SEED, description="Of those blocks.")


class Answer(BaseModel):
    """What every answer tells."""

    model: str = Field(description="Name of the model.")


class ClassShare(BaseModel):
    """A class of a segmented picture."""

    name: str
    colour: str = Field(description="#rrggbb, as in the overlay.")
    share: float = Field(description="How much of the picture it has, 0 to 1.")


class LabelProbability(BaseModel):
    """A class and its probability."""

    label: str
    probability: float = Field(description="0 to 1.")


class ClassifyAnswer(Answer):
    """The most likely classes, best first."""

    predictions: list[LabelProbability]

    model_config = ConfigDict(
        json_schema_extra={"example": {"model": "pets", "predictions": [{"label": "cat", "probability": 0.93}]}}
    )


class EmbedAnswer(Answer):
    """The picture as a vector."""

    embedding: list[float]

    model_config = ConfigDict(json_schema_extra={"example": {"model": "pets", "embedding": [0.12, -1.07, 0.44]}})


class SegmentAnswer(Answer):
    """The class of every pixel."""

    height: int
    width: int
    classes: list[ClassShare] = Field(description="All classes, by number.")
    labels_png: str = Field(description=f"{_PNG} of 8-bit grey: the number of each pixel's class.")
    overlay_rgba_png: str = Field(description=f"{_PNG} of the classes' colours, half transparent.")

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "model": "streets",
                "height": 480,
                "width": 640,
                "classes": [{"name": "road", "colour": "#800000", "share": 0.41}],
                "labels_png": "iVBORw0KGgo...",
                "overlay_rgba_png": "iVBORw0KGgo...",
            }
        }
    )


class AttendAnswer(Answer):
    """Where the heads of a layer look."""

    rows: int
    cols: int
    picture_png: str = Field(description=f"{_PNG} of what the model sees.")
    maps: list[list[float]] = Field(description="For each head rows * cols numbers, row by row.")
    patch: tuple[int, int] | None = Field(description="The [row, col] that looks; null: [CLS].")

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "model": "pets",
                "rows": 1,
                "cols": 2,
                "picture_png": "iVBORw0KGgo...",
                "maps": [[0.2, 0.7], [0.5, 0.4]],
                "patch": None,
            }
        }
    )


class ReconstructAnswer(Answer):
    """What the model makes of hidden patches."""

    rows: int
    cols: int
    mask: list[tuple[int, int]] = Field(description="The [row, col] of every hidden patch.")
    picture_png: str = Field(description=f"{_PNG} of what the model would see without a mask.")
    masked_png: str = Field(description=f"{_PNG} of what it sees.")
    reconstruction_png: str = Field(description=f"{_PNG} of what it makes of it.")

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "model": "mine",
                "rows": 14,
                "cols": 14,
                "mask": [[3, 4], [3, 5]],
                "picture_png": "iVBORw0KGgo...",
                "masked_png": "iVBORw0KGgo...",
                "reconstruction_png": "iVBORw0KGgo...",
            }
        }
    )


class ModelFacts(BaseModel):
    """A model that can be asked."""

    name: str
    tasks: list[str] = Field(description="Some of classify, segment, embed, attend and reconstruct.")
    classes: list[str] = Field(description="Class names, by number; none if it tells no classes.")
    image_height: int = Field(description="Of what the model sees, in pixels.")
    image_width: int
    patch_size: int
    rows: int
    cols: int


class ModelsAnswer(BaseModel):
    """All models."""

    models: list[ModelFacts]

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "models": [
                    {
                        "name": "pets",
                        "tasks": ["attend", "classify", "embed"],
                        "classes": ["cat", "dog"],
                        "image_height": 224,
                        "image_width": 224,
                        "patch_size": 16,
                        "rows": 14,
                        "cols": 14,
                    }
                ]
            }
        }
    )


class State(BaseModel):
    """How the service is."""

    status: str


class Message(BaseModel):
    """What went wrong: what was met, what is expected, what to do."""

    message: str


class ErrorAnswer(BaseModel):
    """Any error."""

    error: Message

    model_config = ConfigDict(
        json_schema_extra={"example": {"error": {"message": "there is no model 'cats'; expected one of pets, streets"}}}
    )
