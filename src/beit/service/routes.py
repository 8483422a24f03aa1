"""Routes of the service: one for each task of the registry, lists of models and tasks, state and metrics."""

from __future__ import annotations

import hmac
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from beit.inference.tasks.registry import served_tasks
from beit.inference.tasks.task import PredictorTask
from beit.service.errors import ServiceError
from beit.service.metrics import CONTENT_TYPE
from beit.service.schemas import (
    ErrorAnswer,
    ModelsAnswer,
    PictureForm,
    State,
    TabDescription,
    TaskDescription,
    TasksAnswer,
    answer_model,
    form_model,
    options_of,
)
from beit.service.service import Service
from beit.service.uploads import documented, form_of

_REASONS = {
    400: "The picture or the form cannot be read",
    401: "The token is missing or wrong",
    403: "A page of another site asks",
    404: "There is no such model",
    408: "The request did not arrive in time",
    413: "The request, or the picture, is too large",
    415: "The request is no multipart form",
    421: "The service is not reached under this name",
    422: "A field is missing or wrong, or the model cannot do this",
    429: "Too many requests wait; come back after the seconds of Retry-After",
    500: "The service failed",
    503: "The service is loading or stopping, or would not answer in time; come back after the seconds of Retry-After",
    504: "The computation took too long",
}
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer, "description": reason} for status, reason in _REASONS.items()
}


def _service(request: Request) -> Service:
    return request.app.state.service


_Service = Annotated[Service, Depends(_service)]
_bearer = HTTPBearer(auto_error=False, description="The token that the service was started with.")


def authorised(service: _Service, shown: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> None:
    """Compare tokens, in a time that does not depend on them.

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
model_routes = APIRouter(tags=["models"])


def task_routes() -> APIRouter:
    """Return a route `/v1/<name>` for each task of the registry."""
    router = APIRouter(tags=["models"])
    for task in served_tasks():
        _add_route(router, task)
    return router


def _add_route(router: APIRouter, task: PredictorTask[Any, Any]) -> None:
    form_type = form_model(task)
    form_sent: Any = Depends(form_of(form_type))

    async def ask(request: Request, service: _Service, form: PictureForm = form_sent) -> dict[str, Any]:
        served = service.model(form.model, task.name)
        return await service.answer(request.receive, served, task, form.file, options_of(task, form))

    example = {"file": "(binary)", "model": "pets", **task.request_example}
    router.add_api_route(
        f"/v1/{task.name}",
        ask,
        methods=["POST"],
        name=task.name,
        summary=task.name.capitalize(),
        description=task.about,
        response_model=answer_model(task),
        response_model_exclude_unset=True,  # what an answer leaves out is not there
        responses=_ERRORS,
        openapi_extra=documented(form_type, example),
    )


@model_routes.get("/v1/models", responses={status: _ERRORS[status] for status in (401, 503)})
async def models(service: _Service) -> ModelsAnswer:
    """List the models."""
    return ModelsAnswer(models=[served.description() for served in service.models])


@model_routes.get("/metrics", response_class=Response, responses={401: _ERRORS[401]})
async def metrics(service: _Service) -> Response:
    """Return the counters for Prometheus."""
    return Response(service.metrics.text(), media_type=CONTENT_TYPE)


@open_routes.get("/v1/tasks")
async def tasks() -> TasksAnswer:
    """List the tasks, in the order of the page's tabs."""
    return TasksAnswer(
        tasks=[
            TaskDescription(
                name=task.name,
                about=task.about,
                tab=None if task.tab is None else TabDescription(**vars(task.tab)),
            )
            for task in served_tasks()
        ]
    )


@open_routes.get("/healthz")
async def healthz() -> State:
    """Report that the process is alive."""
    return State(status="ok")


@open_routes.get("/readyz", responses={503: _ERRORS[503]})
async def readyz(service: _Service) -> State:
    """Report whether requests are taken: not while models are loading, nor once the service stops."""
    if not service.ready:
        raise ServiceError(503, "the service is stopping" if service.admission.stopping else "the models are loading")
    return State(status="ready")
