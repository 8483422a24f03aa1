"""Model card of a run: results, data and settings, written beside the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from beit.config import CONFIG_NAME
from beit.files import read_json, write_bytes, write_text
from beit.hub.card import CARD_NAME, CURVES_NAME, card_text
from beit.reports.charts import Line, curve_chart, has_curve
from beit.reports.report import numbers_table


def write_model_card(
    folder: Path,
    title: str,
    data: str,
    recipe: str,
    numbers: Mapping[str, Any],
    lines: Sequence[Line] = (),
    curves: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Write `README.md`, and `curves.svg` where there is a curve, beside a BEiT model; a tokenizer gets none.

    Args:
        folder: Of the model.
        title: Heading of the card.
        data: What it was trained on.
        recipe: The settings of the run that are not the defaults, as YAML.
        numbers: What was measured on held-out pictures.
        lines: The metrics of the run.
        curves: Titles of charts, and the metrics that they show; the first with points is drawn.

    Raises:
        StorageError: If the disk is full.
    """
    config = folder / CONFIG_NAME
    architectures = read_json(config, "the config of a run's model").get("architectures") if config.is_file() else None
    if not architectures:
        return
    table = "".join(f"| {name} | {value} |\n" for name, value in numbers_table(numbers))
    sections = f"\n## Data\n\n{data}\n\n## Results on held-out pictures\n\n| measure | value |\n|---|---|\n{table}"
    drawn = next(((name, shown) for name, shown in (curves or {}).items() if has_curve(lines, shown)), None)
    if drawn is not None:
        write_bytes(folder / CURVES_NAME, curve_chart(lines, drawn[0], drawn[1], []))
        sections += f"\n![{drawn[0]}]({CURVES_NAME})\n"
    sections += f"\n## Settings\n\nThose that are not the defaults:\n\n```yaml\n{recipe}```\n"
    write_text(folder / CARD_NAME, card_text(title, str(architectures[0]), sections))
