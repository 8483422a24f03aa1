"""Errors of requests as responses: a status and one line, never a path or a traceback."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from beit.errors import BeitError, CheckpointError, ConfigError, DataError, printable

CLIENT_GONE = 499  # nginx's status for a client that has gone; only the metrics show it
_LONGEST = 400  # characters of a message
_UNKNOWN = {
    404: "there is nothing at this address; GET /openapi.json lists what there is",
    405: "this address takes another method; GET /openapi.json lists them",
}
_log = logging.getLogger(__name__)


class ServiceError(BeitError):
    """Refusal or failure of a request.

    Args:
        status: HTTP status.
        message: The value, the expectation and the remedy.
        headers: More headers of the answer.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})


def too_busy(message: str) -> ServiceError:
    """Return the error that asks a client to come back in a second."""
    return ServiceError(429, message, {"Retry-After": "1"})


def overloaded(message: str, seconds: int) -> ServiceError:
    """Return the error of a service that has more to do than it can in time, with the seconds to wait."""
    return ServiceError(503, f"{message}; try again in {seconds} s", {"Retry-After": str(seconds)})


def internal() -> ServiceError:
    """Return the error that reveals nothing; its cause is in the log."""
    return ServiceError(500, "the service failed on this request; its log says why")


def error_response(error: ServiceError) -> JSONResponse:
    """Return {"error": {"message": ...}} in one line."""
    message = printable(" ".join(str(error).split())[:_LONGEST])
    return JSONResponse({"error": {"message": message}}, error.status, error.headers)


def install_handlers(app: FastAPI) -> None:
    """Answer every error of a route in that form."""
    app.add_exception_handler(BeitError, _on_beit_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_invalid)


async def _on_beit_error(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, ServiceError):
        return error_response(error)
    if isinstance(error, DataError):  # of the picture
        return error_response(ServiceError(400, error.for_clients))
    if isinstance(error, ConfigError) and not isinstance(error, CheckpointError):
        # of an option, such as a layer that the model has not
        return error_response(ServiceError(422, str(error)))
    _log.error("%s: %s", request.url.path, error)
    return error_response(internal())


async def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101  # what this handler is installed for
    message = _UNKNOWN.get(error.status_code, error.detail)
    return error_response(ServiceError(error.status_code, message, error.headers))


async def _on_invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101  # what this handler is installed for
    first = error.errors()[0]
    return error_response(ServiceError(422, f"{'.'.join(map(str, first['loc']))}: {first['msg']}"))
