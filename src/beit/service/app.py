"""FastAPI application of the service, and its web page.

The page is static files, which talk to the HTTP API and to nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI, HTTPException
from fastapi.responses import FileResponse
from fastapi.routing import APIRoute

from beit import __version__
from beit.inference.page import FOLDER
from beit.inference.predictor import Predictor
from beit.service.errors import install_handlers
from beit.service.middleware import ServiceMiddleware
from beit.service.routes import authorised, model_routes, open_routes, task_routes
from beit.service.service import Service
from beit.settings.serve import ServiceSettings

Predictors = Mapping[str, Predictor]
# Stated here, because the type of .js differs between operating systems and browsers insist on it.
CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

HEADERS = {
    # Pictures are shown from memory (blob:) and from the service's answers (data:); all else is a file of the page.
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # a new version of the package shows at once
}


def create_app(predictors: Predictors | Callable[[], Predictors], settings: ServiceSettings | None = None) -> FastAPI:
    """Return an application that serves models, with a page at `/` to try them.

    Args:
        predictors: The models by name; or a function that loads them, called in a thread once the application starts.
        settings: The limits.

    Returns:
        The application; `app.state.service` is the `Service` behind it.
    """
    settings = settings or ServiceSettings()
    service = Service(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        loading = asyncio.create_task(service.load(predictors)) if callable(predictors) else None
        yield
        if loading is not None:
            loading.cancel()
        service.close()

    # The interactive pages of FastAPI come from another server, which a service behind a wall does not reach.
    app = FastAPI(title="beit", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.service = service
    if not callable(predictors):
        service.open(predictors)
    install_handlers(app)
    guarded = [task_routes(), model_routes]
    app.include_router(open_routes)
    for router in guarded:
        app.include_router(router, dependencies=[Depends(authorised)] if settings.token is not None else [])
    mount_page(app)
    known = frozenset(
        route.path for router in (open_routes, *guarded) for route in router.routes if isinstance(route, APIRoute)
    )
    app.add_middleware(
        ServiceMiddleware, known=known, admission=service.admission, metrics=service.metrics, settings=settings
    )
    return app


def mount_page(app: FastAPI) -> None:
    """Serve the page at `/` and its parts at `/page/<file>`.

    Only the files that the package holds now are served, by name: no path of a request reaches the file system.

    Args:
        app: The service, which answers `/v1/...`.
    """
    files = {path.name: path for path in FOLDER.iterdir() if path.suffix in CONTENT_TYPES}

    def part(name: str) -> FileResponse:
        if name not in files:
            raise HTTPException(404, f"the page has no file {name!r}; expected one of {', '.join(sorted(files))}")
        return FileResponse(files[name], media_type=CONTENT_TYPES[files[name].suffix], headers=HEADERS)

    def home() -> FileResponse:
        return part("index.html")

    app.add_api_route("/", home, methods=["GET"], include_in_schema=False, response_model=None)
    app.add_api_route("/page/{name}", part, methods=["GET"], include_in_schema=False, response_model=None)
