"""Models over HTTP: requests computed together, within limits, ended without losing one."""

from beit.inference.service.app import create_app
from beit.inference.service.settings import ServiceSettings

__all__ = ["ServiceSettings", "create_app"]
