"""Models as a FastAPI application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute

from beit import __version__
from beit.inference.page import mount_page
from beit.inference.predictor import Predictor
from beit.inference.service.errors import install_handlers
from beit.inference.service.gate import Gate
from beit.inference.service.routes import authorised, open_routes, routes
from beit.inference.service.service import Service
from beit.inference.service.settings import ServiceSettings

Predictors = Mapping[str, Predictor]


def create_app(predictors: Predictors | Callable[[], Predictors], settings: ServiceSettings | None = None) -> FastAPI:
    """Return an application that serves models, with a page at `/` to try them.

    Args:
        predictors: The models by name; or what loads them, called in a thread once the application starts.
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
    app.include_router(open_routes)
    app.include_router(routes, dependencies=[Depends(authorised)] if settings.token is not None else [])
    mount_page(app)
    known = frozenset(
        route.path for router in (open_routes, routes) for route in router.routes if isinstance(route, APIRoute)
    )
    app.add_middleware(Gate, known=known, admission=service.admission, metrics=service.metrics, settings=settings)
    return app
