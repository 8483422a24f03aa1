"""The routes."""

from __future__ import annotations

import hmac
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from beit.inference.service.drawing import attend_answer, reconstruct_answer, segment_answer
from beit.inference.service.errors import ServiceError
from beit.inference.service.metrics import CONTENT_TYPE
from beit.inference.service.schemas import (
    AttendAnswer,
    AttendForm,
    ClassifyAnswer,
    ClassifyForm,
    EmbedAnswer,
    ErrorAnswer,
    LabelProbability,
    ModelsAnswer,
    PictureForm,
    ReconstructAnswer,
    ReconstructForm,
    SegmentAnswer,
    State,
)
from beit.inference.service.service import Service
from beit.inference.service.uploads import documented, form_of

_PICTURE = {"file": "(binary)", "model": "pets"}
_REASONS = {
    400: "The picture or the form cannot be read",
    401: "The token is missing or wrong",
    404: "There is no such model",
    408: "The request did not arrive in time",
    413: "The request, or the picture, is too large",
    415: "The request is no multipart form",
    422: "A field is missing or wrong, or the model cannot do this",
    429: "Too many requests wait; come back after the seconds of Retry-After",
    500: "The service failed",
    503: "The service is loading or stopping",
    504: "There was no result in time",
}
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer, "description": reason} for status, reason in _REASONS.items()
}


def _service(request: Request) -> Service:
    return request.app.state.service


_Service = Annotated[Service, Depends(_service)]
_bearer = HTTPBearer(auto_error=False, description="The token that the service was started with.")


def authorised(service: _Service, shown: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> None:
    """Compare tokens, in a time that tells nothing of them.

    Raises:
        ServiceError: If the service has a token, and the request another or none.
    """
    token = service.settings.token
    given = shown.credentials if shown is not None else ""
    if token is not None and not hmac.compare_digest(given.encode(), token.encode()):
        raise ServiceError(
            401, "the token is missing or wrong; send Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"}
        )


open_routes = APIRouter(tags=["state"])
routes = APIRouter(tags=["models"])
_post = partial(routes.post, responses=_ERRORS)


@_post("/v1/classify", openapi_extra=documented(ClassifyForm, {**_PICTURE, "top_k": 3}))
async def classify(
    request: Request, service: _Service, form: Annotated[ClassifyForm, Depends(form_of(ClassifyForm))]
) -> ClassifyAnswer:
    """Name the most likely classes of a picture."""
    served = service.model(form.model, "classify")

    async def work() -> ClassifyAnswer:
        found = await served.classify(await service.prepared(served, form.file), form.top_k)
        pairs = zip(found.labels, found.probabilities, strict=True)
        predictions = [LabelProbability(label=label, probability=probability) for label, probability in pairs]
        return ClassifyAnswer(model=served.name, predictions=predictions)

    return await service.answer(request.receive, work())


@_post("/v1/embed", openapi_extra=documented(PictureForm, _PICTURE))
async def embed(
    request: Request, service: _Service, form: Annotated[PictureForm, Depends(form_of(PictureForm))]
) -> EmbedAnswer:
    """Return a picture as one vector."""
    served = service.model(form.model, "embed")

    async def work() -> EmbedAnswer:
        found = await served.embed(await service.prepared(served, form.file))
        return EmbedAnswer(model=served.name, embedding=found.vector.tolist())

    return await service.answer(request.receive, work())


@_post("/v1/segment", openapi_extra=documented(PictureForm, _PICTURE))
async def segment(
    request: Request, service: _Service, form: Annotated[PictureForm, Depends(form_of(PictureForm))]
) -> SegmentAnswer:
    """Tell the class of every pixel of a picture of any size."""
    served = service.model(form.model, "segment")
    work = service.whole(
        served, form.file, lambda picture: served.predictor.segment([picture])[0], partial(segment_answer, served.name)
    )
    return await service.answer(request.receive, work)


@_post("/v1/attend", openapi_extra=documented(AttendForm, {**_PICTURE, "layer": -1, "patch": "3,4"}))
async def attend(
    request: Request, service: _Service, form: Annotated[AttendForm, Depends(form_of(AttendForm))]
) -> AttendAnswer:
    """Show where the heads of a layer look."""
    served = service.model(form.model, "attend")
    work = service.whole(
        served,
        form.file,
        lambda picture: served.predictor.attend([picture], form.layer, form.place)[0],
        partial(attend_answer, served.name),
    )
    return await service.answer(request.receive, work)


@_post("/v1/reconstruct", openapi_extra=documented(ReconstructForm, {**_PICTURE, "mask": "[[3, 4], [3, 5]]"}))
async def reconstruct(
    request: Request, service: _Service, form: Annotated[ReconstructForm, Depends(form_of(ReconstructForm))]
) -> ReconstructAnswer:
    """Hide patches of a picture, and show what the model makes of them."""
    served = service.model(form.model, "reconstruct")
    mask = None if form.mask is None else served.mask(form.mask)
    work = service.whole(
        served,
        form.file,
        lambda picture: served.predictor.reconstruct([picture], mask, form.share, form.seed)[0],
        partial(reconstruct_answer, served.name),
    )
    return await service.answer(request.receive, work)


@routes.get("/v1/models", responses={status: _ERRORS[status] for status in (401, 503)})
async def models(service: _Service) -> ModelsAnswer:
    """List the models."""
    return ModelsAnswer(models=[served.facts() for served in service.models])


@routes.get("/metrics", response_class=Response, responses={401: _ERRORS[401]})
async def metrics(service: _Service) -> Response:
    """Tell Prometheus what there is to count."""
    return Response(service.metrics.text(), media_type=CONTENT_TYPE)


@open_routes.get("/healthz")
async def healthz() -> State:
    """Say that the process lives."""
    return State(status="ok")


@open_routes.get("/readyz", responses={503: _ERRORS[503]})
async def readyz(service: _Service) -> State:
    """Say that requests are taken; not while the models are loaded, nor once the service stops."""
    if not service.ready:
        raise ServiceError(503, "the service is stopping" if service.admission.stopping else "the models are loading")
    return State(status="ready")
