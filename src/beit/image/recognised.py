"""Our processors in pipelines of transformers, which take a `feature_extractor` for pictures if it is one of theirs.

An `image_processor` may be of any class; the older name goes by `isinstance(feature_extractor, BaseImageProcessor)`.
Whoever makes a processor of this package while the pipelines are around has that question answered with yes.
"""

from __future__ import annotations

import sys
from typing import Any

_WHERE = ("transformers.pipelines", "transformers.pipelines.base")
_NAME = "BaseImageProcessor"


def recognise(kind: type) -> None:
    """Have pipelines that are around take instances of a class for processors of pictures."""
    for name in _WHERE:
        module: Any = sys.modules.get(name)
        theirs = getattr(module, _NAME, None)  # None while it is being imported
        if theirs is not None and not hasattr(theirs, "of_beit"):
            setattr(module, _NAME, _either(theirs, kind))


def _either(theirs: type, ours: type) -> type:
    """Return a class whose instances are those of two others."""

    class Either(type(theirs)):
        def __instancecheck__(cls, instance: Any) -> bool:
            return isinstance(instance, (theirs, ours))

    return Either(_NAME, (theirs,), {"of_beit": True})
