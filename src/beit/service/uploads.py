"""Uploads: forms of multipart requests, checked in memory, and their decoding to pictures.

No upload is ever written to a disk, and every limit is checked before a pixel is decoded.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fastapi import Request
from PIL import Image, UnidentifiedImageError
from pydantic import BaseModel, ValidationError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from beit.image import AnyPicture, BandOptions, explained, opened_picture, read_picture
from beit.image.large import most_pixels
from beit.service.errors import ServiceError

Form = TypeVar("Form", bound=BaseModel)
_MOST_FIELDS = 16
_MOST_FIELD_BYTES = 64 * 1024  # the mask of 64 x 64 patches has half of it
_LONGEST_VALUE = 40  # characters of a wrong value that its error repeats
_MOST_TIMES = 20  # of the longer side to the shorter
_NAME = "the file"  # as the form calls it
_ENCODING = b"utf-8"


class _InMemory(MultiPartParser):
    spool_max_size = 0  # for a spooled file: never roll over to a disk; the middleware bounds the memory


def form_of(form: type[Form]) -> Callable[[Request], Awaitable[Form]]:
    """Return a dependency that reads a form.

    Raises:
        ServiceError: If the request is no multipart form, or a field is missing, unknown, given twice or wrong.
    """

    async def read(request: Request) -> Form:
        request.app.state.service.admission.check_queue()
        return _checked(form, await _fields(request))

    return read


def documented(form: type[BaseModel], example: dict[str, Any]) -> dict[str, Any]:
    """Return the OpenAPI description of a request with such a form."""
    content = {"schema": form.model_json_schema(), "example": example}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": content}}}


async def _fields(request: Request) -> dict[str, str | bytes]:
    parsed, options = parse_options_header(request.headers.get("content-type", ""))
    kind = parsed.decode("latin-1")
    if kind != "multipart/form-data":
        raise ServiceError(415, f"the request is {kind or 'of no type'}; expected multipart/form-data with a file")
    encoding = options.get(b"charset", _ENCODING).lower()
    if encoding != _ENCODING:  # the parser would look for a codec of this name, and Python has strange ones
        shown = encoding.decode("latin-1")[:_LONGEST_VALUE]
        raise ServiceError(415, f"the form is in the encoding {shown!r}; expected UTF-8, or none named")
    parser = _InMemory(
        request.headers,
        request.stream(),
        max_files=1,
        max_fields=_MOST_FIELDS,
        max_part_size=_MOST_FIELD_BYTES,
    )
    try:
        sent = await parser.parse()
    except MultiPartException as error:
        raise ServiceError(400, f"the form cannot be read: {error.message} Send it as multipart/form-data") from None
    try:
        fields = {
            name: await value.read() if isinstance(value, UploadFile) else value for name, value in sent.multi_items()
        }
    finally:
        await sent.close()
    if len(fields) < len(sent.multi_items()):
        raise ServiceError(422, "a field is given twice; expected each at most once")
    return fields


def _checked(form: type[Form], fields: dict[str, str | bytes]) -> Form:
    for name, value in fields.items():
        if name not in form.model_fields:
            known = ", ".join(form.model_fields)
            raise ServiceError(422, f"there is no field {name[:_LONGEST_VALUE]!r}; expected some of {known}")
        if isinstance(value, str) == (name == "file"):
            wanted = "a file" if name == "file" else "text"
            raise ServiceError(422, f"the field {name[:_LONGEST_VALUE]!r} is something else; expected {wanted}")
    try:
        return form.model_validate(fields)
    except ValidationError as error:
        raise ServiceError(422, _first_error(error)) from None


def _first_error(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    name = first["loc"][0]
    if first["type"] == "missing":
        return f"the field {name!r} is missing; send it"
    return f"{name} is {str(first['input'])[:_LONGEST_VALUE]!r}: {first['msg'][0].lower()}{first['msg'][1:]}"


def decode(upload: bytes, max_pixels: int, bands: BandOptions | None = None) -> AnyPicture:
    """Return an uploaded picture upright, as RGB or as a model of other channels reads it.

    Args:
        upload: The file.
        max_pixels: Most height times width to accept.
        bands: How a model reads pictures of other than three channels; None: as RGB.

    Raises:
        ServiceError: If it has too many pixels, or is too long for its width.
        DataError: If it is no picture of a known format, broken or animated.
    """
    try:
        known = (ServiceError, Image.DecompressionBombError, UnidentifiedImageError)
        with explained(_NAME, *known), opened_picture(upload) as image:
            _check_size(image.height, image.width, max_pixels)
    except Image.DecompressionBombError:
        raise _too_large(f"more than {most_pixels()} pixels", max_pixels) from None
    except UnidentifiedImageError:  # other libraries may know it
        pass
    picture = read_picture(upload, _NAME, bands=bands)
    _check_size(picture.height, picture.width, max_pixels)
    return picture


def _check_size(height: int, width: int, max_pixels: int) -> None:
    if height * width > max_pixels:
        raise _too_large(f"{height} x {width} pixels", max_pixels)
    if max(height, width) > _MOST_TIMES * min(height, width):
        raise ServiceError(
            400, f"{_NAME} is {height} x {width} pixels; expected sides of at most {_MOST_TIMES} to 1, crop it"
        )


def _too_large(size: str, max_pixels: int) -> ServiceError:
    return ServiceError(413, f"{_NAME} has {size}; expected at most {max_pixels} in all, send a smaller one")
