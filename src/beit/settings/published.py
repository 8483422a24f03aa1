"""Settings of the list of published checkpoints."""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from beit.settings.groups import STRICT


@dataclass(frozen=True, config=STRICT)
class ModelsJob:
    """List the published checkpoints."""

    plain: bool = False
    """One line per checkpoint, with tabs, for other programs."""
