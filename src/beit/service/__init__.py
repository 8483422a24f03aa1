"""HTTP service of models: batched requests, limits, and a graceful end without losing a request."""

from beit.service.app import create_app
from beit.settings.serve import ServiceSettings

__all__ = ["ServiceSettings", "create_app"]
