"""`beit serve`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib.util import find_spec

from beit.cli.early_checks import check_models
from beit.cli.main import dropped_output
from beit.cli.parser import parse_job
from beit.errors import ConfigError, missing_extra
from beit.inference.tasks.registry import served_tasks
from beit.settings.serve import ServeJob

TOKEN = "BEIT_SERVE_TOKEN"  # noqa: S105  # the name of a variable
DESCRIPTION = (
    f"Serve models over HTTP: {', '.join(task.name for task in served_tasks())}. A model is a folder, a file or a "
    "published name, called by its last part or as in `pets=runs/classes/model`; without one, small models of "
    "the package are served. Ctrl-C and SIGTERM end it once every accepted request is answered."
)
_LIBRARIES = ("fastapi", "httptools", "prometheus_client", "python_multipart", "uvicorn")


def run(arguments: Sequence[str]) -> int:
    """Parse, listen, load, serve."""
    job = parse_job(ServeJob, "beit serve", DESCRIPTION, arguments, ("models",))
    for library in _LIBRARIES:
        if find_spec(library) is None:
            raise missing_extra(library, "serve")
    from beit.service import create_app
    from beit.service.loading import load_predictors, named_models, with_packaged
    from beit.service.server import serve

    job = with_packaged(_with_token(job))
    places = named_models(job.models)
    check_models(*places.values())
    app = create_app(partial(load_predictors, job), job)
    sources = ", ".join(f"{name} from {place}" for name, place in places.items())
    serve(
        app,
        job.host,
        job.port,
        # Not where the address goes: a program that waits for it reads one line, and may ask at once.
        on_listening=lambda _: _log(f"loading {sources}"),
        on_ready=lambda address: _say(f"{', '.join(places)} on {address}"),
    )
    return 0


def _say(line: str) -> None:
    """Print a line at once; a full disk under what is printed is no reason to stop answering."""
    try:
        print(line, flush=True)
    except OSError:
        dropped_output()


def _log(line: str) -> None:
    """Do the same where errors go; what finds no room there is written with the next line."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def _with_token(job: ServeJob) -> ServeJob:
    """Return a job with the token of the environment, if it has none of its own."""
    if job.token is not None or TOKEN not in os.environ:
        return job
    try:
        return replace(job, token=os.environ[TOKEN])
    except ValueError:
        raise ConfigError(f"{TOKEN} is empty or holds other than printable ASCII; use letters and digits") from None
