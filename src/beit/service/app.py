"""FastAPI application of the service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute

from beit import __version__
from beit.inference.predictor import Predictor
from beit.service.errors import install_handlers
from beit.service.gate import Gate
from beit.service.page import mount_page
from beit.service.routes import authorised, model_routes, open_routes, task_routes
from beit.service.service import Service
from beit.settings.serve import ServiceSettings

Predictors = Mapping[str, Predictor]


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
    app.add_middleware(Gate, known=known, admission=service.admission, metrics=service.metrics, settings=settings)
    return app
