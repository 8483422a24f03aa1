"""HTTP service of models: requests computed together, within limits, ended without losing one."""

from beit.service.app import create_app
from beit.settings.serve import ServiceSettings

__all__ = ["ServiceSettings", "create_app"]
