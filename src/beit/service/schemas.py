"""Schemas of requests and answers, for checks and the OpenAPI description; a task's are built from the task."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, NotRequired, cast, get_args, get_origin, get_type_hints, is_typeddict

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Json, create_model
from pydantic.json_schema import SkipJsonSchema

from beit.inference.tasks.layers import Pooling
from beit.inference.tasks.options import Layers, Option, Place, TaskOptions, described
from beit.inference.tasks.task import PredictorTask

_LAYERS = r"^(best|last|-?[0-9]{1,3})(,(best|last|-?[0-9]{1,3})){0,15}$"
_Patch = tuple[Annotated[int, Field(ge=0, le=9999)], Annotated[int, Field(ge=0, le=9999)]]


class PictureForm(BaseModel):
    """A picture, and the model that is asked."""

    file: bytes = Field(
        description="The picture: JPEG, PNG, WebP, BMP, TIFF, PPM or a GIF of one frame; for a model of other than "
        "three channels also a .npy, or TIFF and DICOM of its channels.",
        json_schema_extra={"contentMediaType": "image/*"},
    )
    model: str | SkipJsonSchema[None] = Field(
        None, description="Name of the model; may be left out where there is one.", max_length=200
    )


class Answer(BaseModel):
    """The part of every answer."""

    model: str = Field(description="Name of the model.")


def form_model(task: PredictorTask[Any, Any]) -> type[PictureForm]:
    """Return the form of a task: the picture, the model and the task's options.

    Raises:
        TypeError: If an option has a type that no form can send.
    """
    fields: dict[str, Any] = {option.name: _form_field(option) for option in _in_form(task)}
    return create_model(f"{task.name.title()}Form", __base__=PictureForm, __doc__=f"For /v1/{task.name}.", **fields)


def options_of(task: PredictorTask[Any, Any], form: PictureForm) -> TaskOptions:
    """Return the options of a task that a form holds.

    Raises:
        ConfigError: If a number is out of range.
    """
    return task.options(**{option.name: getattr(form, option.name) for option in _in_form(task)})


def _in_form(task: PredictorTask[Any, Any]) -> list[Option]:
    """Return the options of a task that clients may choose."""
    return [option for option in described(task.options) if not option.local]


def answer_model(task: PredictorTask[Any, Any]) -> type[Answer]:
    """Return the answer of a task: the model, and the task's own keys."""
    example = {"model": "pets", **task.answer_example}
    return create_model(
        task.answer_type.__name__,
        __base__=_with_example(example),
        __doc__=task.answer_type.__doc__,
        **_typed_dict_fields(task.answer_type),
    )


def _with_example(example: dict[str, Any]) -> type[Answer]:
    class Described(Answer):
        model_config = ConfigDict(json_schema_extra={"example": example})

    return Described


def _form_field(option: Option) -> tuple[Any, Any]:
    """Return the type and the description of an option as text in a form."""
    if option.kind not in _IN_FORMS:
        raise TypeError(f"the option {option.name} is a {option.kind}; expected a type that a form can send")
    limits = option.limits
    ranged = {} if limits is None else {"ge": limits.least, "gt": limits.above, "le": limits.most}
    return _IN_FORMS[option.kind], Field(option.default, description=option.about, **cast(Any, ranged))


def _patch(text: str | None) -> Place | None:
    return None if text is None else cast(Place, tuple(int(number) for number in text.split(",")))


# The types that options may have, to those of the text that stands for them.
_IN_FORMS: dict[Any, Any] = {
    int: int,
    float: float,
    bool: bool,
    str: str,
    Place | None: Annotated[
        Annotated[str, Field(pattern=r"^[0-9]{1,4},[0-9]{1,4}$")] | SkipJsonSchema[None], AfterValidator(_patch)
    ],
    Layers: Annotated[str, Field(pattern=_LAYERS)] | SkipJsonSchema[None],
    Pooling | None: Pooling | SkipJsonSchema[None],
    tuple[Place, ...] | None: Json[tuple[_Patch, ...]] | SkipJsonSchema[None],
}


@cache
def _typed_dict_model(kind: type) -> type[BaseModel]:
    return create_model(kind.__name__, __doc__=kind.__doc__, **_typed_dict_fields(kind))


def _typed_dict_fields(kind: type) -> dict[str, Any]:
    """Return the keys of a TypedDict, whose annotations may hold a line about them, as fields of a model."""
    fields: dict[str, Any] = {}
    for name, hint in get_type_hints(kind, include_extras=True).items():
        optional = get_origin(hint) is NotRequired
        hint = get_args(hint)[0] if optional else hint
        inner, *notes = get_args(hint) if get_origin(hint) is Annotated else (hint,)
        default: Any = None if optional else ...
        fields[name] = (_pydantic(inner), Field(default, description=notes[0] if notes else None))
    return fields


def _pydantic(hint: Any) -> Any:
    """Return a type whose TypedDicts are models, so that OpenAPI names and describes them."""
    if get_origin(hint) is list:
        return list[_pydantic(get_args(hint)[0])]
    return _typed_dict_model(hint) if is_typeddict(hint) else hint


class ModelDescription(BaseModel):
    """A model that can be asked."""

    name: str
    tasks: list[str] = Field(description="Names of the tasks that it can do, of those that /v1/tasks lists.")
    classes: list[str] = Field(description="Class names, by number; none if its results name no classes.")
    image_height: int = Field(description="Of the picture as the model sees it, in pixels.")
    image_width: int
    patch_size: int
    rows: int
    cols: int


class ModelsAnswer(BaseModel):
    """All models."""

    models: list[ModelDescription]

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


class TabDescription(BaseModel):
    """Texts of a tab of the page."""

    title: str
    unavailable: str = Field(description="A line for a service none of whose models can do the task.")


class TaskDescription(BaseModel):
    """A task of the service."""

    name: str = Field(description="It is asked at /v1/{name}.")
    about: str
    tab: TabDescription | None = Field(description="Its tab in the page, if it has one.")


class TasksAnswer(BaseModel):
    """All tasks, whether or not a loaded model can do them."""

    tasks: list[TaskDescription]

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "tasks": [{"name": "embed", "about": "Return a picture as one vector.", "tab": None}],
            }
        }
    )


class State(BaseModel):
    """State of the service."""

    status: str


class Message(BaseModel):
    """Message of an error: the value, the expectation, the remedy."""

    message: str


class ErrorAnswer(BaseModel):
    """Any error."""

    error: Message

    model_config = ConfigDict(
        json_schema_extra={"example": {"error": {"message": "there is no model 'cats'; expected one of pets, streets"}}}
    )
