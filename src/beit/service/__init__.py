"""HTTP service of models: requests computed together, within limits, ended without losing one."""

from beit.service.app import create_app
from beit.service.settings import ServiceSettings

__all__ = ["ServiceSettings", "create_app"]
