"""Every writer of the package: `WRITERS` maps its name to (what makes it, the source files that write so)."""

from tests.files.writers import data, evaluations, models, predictions, runs, ways
from tests.files.writers.table import WRITERS

__all__ = ["WRITERS", "data", "evaluations", "models", "predictions", "runs", "ways"]
