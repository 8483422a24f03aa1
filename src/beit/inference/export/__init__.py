"""Models written as files that run without the code that trained them.

`export` and `ExportJob` are found here; they are loaded on first use (PEP 562), since they need torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from beit.inference.export.job import export as export
    from beit.settings.export import ExportJob as ExportJob

__all__ = ["ExportJob", "export"]

_HOME = {"ExportJob": "beit.settings.export", "export": "beit.inference.export.job"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'beit.inference.export' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
