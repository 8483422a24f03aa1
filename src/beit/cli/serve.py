"""`beit serve`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec

from beit.cli.parser import new_parser, parse
from beit.errors import ConfigError, missing_extra
from beit.inference.tasks.registry import TASKS

TOKEN = "BEIT_SERVE_TOKEN"  # noqa: S105  # the name of a variable
DESCRIPTION = (
    f"Serve models over HTTP: {', '.join(TASKS)}. A model is a folder, a file or a published "
    "name, called by its last part or as in `pets=runs/classes/model`. Ctrl-C and SIGTERM end it once every accepted "
    "request is answered."
)
_LIBRARIES = ("fastapi", "httptools", "prometheus_client", "python_multipart", "uvicorn")
_LIMITS = (
    "batch_size",
    "max_wait_ms",
    "queue",
    "timeout_s",
    "body_timeout_s",
    "max_upload_mb",
    "max_pixels",
    "workers",
)


def run(arguments: Sequence[str]) -> int:
    """Parse, listen, load, serve."""
    parser = new_parser("beit serve", DESCRIPTION)
    add = parser.add_argument
    add("models", type=str, nargs="*", help="Models, at least one: MODEL or NAME=MODEL.")  # "+" fails without a remedy
    add("--tokenizer", type=str, help="Tokenizer of the pre-training models, to reconstruct.")
    add("--device", type=str, default="auto", help="cpu, cuda or auto.")
    add("--batch_size", type=int, default=8, help="Most pictures computed together.")
    add("--precision", type=str, default="fp32", help="fp32, bf16 or, on a GPU, fp16.")
    add("--host", type=str, default="127.0.0.1", help="Address to listen on; 0.0.0.0 for all.")
    add("--port", type=int, default=8000, help="Port; 0 for any that is free.")
    add("--max_wait_ms", type=float, default=5.0, help="How long a picture waits for others, in milliseconds.")
    add("--queue", type=int, default=64, help="Most requests that wait; further ones are sent away (429).")
    add("--timeout_s", type=float, default=30.0, help="Seconds until a request is answered or given up.")
    add("--body_timeout_s", type=float, default=20.0, help="Seconds in which a request has to arrive.")
    add("--token", type=str, help=f"What clients have to show; better set {TOKEN}, which the list of processes hides.")
    add("--max_upload_mb", type=float, default=20.0, help="Largest request, in MB.")
    add("--max_pixels", type=int, default=40_000_000, help="Most pixels of a picture.")
    add("--workers", type=int, default=2, help="Threads that decode pictures.")
    given = parse(parser, arguments)
    if not given.models:
        raise ConfigError("there is no model to serve; name a model, for example: beit serve runs/finetune/model")
    for library in _LIBRARIES:
        if find_spec(library) is None:
            raise missing_extra(library, "serve")
    from beit.service import ServiceSettings, create_app
    from beit.service.loading import LoadOptions, load_predictors, named_models
    from beit.service.server import serve

    token = given.token if given.token is not None else os.environ.get(TOKEN)
    settings = ServiceSettings(token=token, **{name: given[name] for name in _LIMITS})
    places = named_models(given.models)
    options = LoadOptions(given.device, given.precision, given.tokenizer)
    app = create_app(partial(load_predictors, places, options), settings)
    sources = ", ".join(f"{name} from {place}" for name, place in places.items())
    serve(
        app,
        given.host,
        given.port,
        # Not where the address goes: a program that waits for it reads one line, and may ask at once.
        on_listening=lambda _: print(f"loading {sources}", file=sys.stderr, flush=True),
        on_ready=lambda address: print(f"{', '.join(places)} on {address}", flush=True),
    )
    return 0
