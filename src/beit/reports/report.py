"""`report.html`: one self-contained page with the origin, curves and pictures of a run.

Legend: C channels, H x W pixels, K classes.
"""

from __future__ import annotations

import base64
import io
import os
import platform
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader
from numpy.typing import NDArray
from PIL import Image

from beit import __version__
from beit.errors import DataError, GoneError, printable
from beit.files import write_text
from beit.image.bands import visible
from beit.reports.charts import Level, Line, confusion_chart, curve_chart, has_curve
from beit.reports.units import in_words, is_share, shown

Picture = NDArray[np.float32]  # (C, H, W) in [0, 1]
_SHOWN_SIDE = 128  # small pictures are enlarged to about this many pixels, without smoothing
_LIBRARIES = ("torch", "numpy", "Pillow")
_MINUTE, _HOUR = 60, 3600
_FEW = 2  # of a unit, below which the smaller one is more exact


@dataclass(frozen=True)
class Figure:
    """A picture with words under it; `source` is a data URI."""

    source: str
    caption: str = ""


@dataclass
class Section:
    """Section of the report; empty parts are not shown."""

    title: str
    text: str = ""
    table: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    columns: list[str] = field(default_factory=list[str])
    rows: list[list[str]] = field(default_factory=list[list[str]])
    charts: list[Figure] = field(default_factory=list[Figure])
    gallery: list[list[Figure]] = field(default_factory=list[list[Figure]])  # each a stack, top to bottom
    names: list[str] = field(default_factory=list[str])  # of the pictures of the gallery, one under each stack
    strips: list[Figure] = field(default_factory=list[Figure])  # wide pictures, each with its caption beside it


@contextmanager
def showing(section: Section) -> Generator[None]:
    """Keep what was measured where pictures cannot be read any more: the section says why it does not show them."""
    try:
        yield
    except (DataError, GoneError) as error:
        section.text = f"{section.text} Some cannot be shown: {error}.".strip()


def write_report(path: Path, title: str, sections: Sequence[Section], recipe: str, duration: str | None = None) -> None:
    """Write the page.

    Args:
        path: The file.
        title: Of the page.
        sections: Its parts, in order.
        recipe: The settings, folded at the end.
        duration: The time that the work took, in words, which stands at the top beside date, machine and versions.

    Raises:
        StorageError: If the disk is full; an earlier report is untouched.
    """
    environment = Environment(loader=PackageLoader("beit.reports"), autoescape=True, trim_blocks=True, finalize=_shown)
    page = environment.get_template("report.html.j2").render(
        title=title, sections=sections, recipe=recipe, origin=origin(duration)
    )
    write_text(path, page)


def _shown(value: Any) -> Any:
    return printable(value, keep="\n\t") if type(value) is str else value


def curves_section(
    lines: Sequence[Line], charts: Mapping[str, Sequence[str]], levels: Mapping[str, Level] | None = None
) -> Section:
    """Return curves over steps; `charts` maps a title to the metrics shown together, `levels` to a line beside them."""
    section = Section("Curves")
    for title, names in charts.items():
        if not has_curve(lines, names):  # such as the held-out error of a run without early stop
            continue
        level = (levels or {}).get(title)
        percent = all(is_share(name) for name in names)
        chart = curve_chart(lines, title, names, [] if level is None else [level], percent)
        section.charts.append(chart_figure(chart, title))
    return section


def confusion_section(counts_KK: NDArray[np.int64], classes: Sequence[str]) -> Section:
    """Return the confusion matrix: rows are true classes, columns predicted ones."""
    section = Section(
        "Confusion matrix", "Rows: true class. Columns: predicted class. The darker, the larger its share of the row."
    )
    section.charts.append(chart_figure(confusion_chart(counts_KK, classes)))
    return section


def chart_figure(svg: bytes, caption: str = "") -> Figure:
    """Return a chart as it is, embedded."""
    return Figure(_uri("image/svg+xml", svg), caption)


def figure(picture_CHW: Picture, caption: str = "") -> Figure:
    """Return a picture for a gallery, enlarged if it is small."""
    return picture_figure(to_image(picture_CHW), caption)


def to_image(picture_CHW: Picture) -> Image.Image:
    """Return a picture, a small one enlarged to about 128 pixels without smoothing."""
    pixels_HWC = np.rint(np.clip(visible(picture_CHW), 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
    image = Image.fromarray(pixels_HWC)
    factor = max(1, round(_SHOWN_SIDE / max(image.size)))
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def picture_figure(image: Image.Image, caption: str = "") -> Figure:
    """Return a picture as it is, embedded."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return Figure(_uri("image/png", buffer.getvalue()), caption)


def numbers_table(numbers: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return names and values, spelled out and rounded for reading."""
    return [(in_words(name), shown(name, value)) for name, value in numbers.items()]


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def origin(duration: str | None = None) -> str:
    """Return the line that stands at the top of a report, such as "2026-01-31 12:00 UTC; 12 minutes; Linux x86_64".

    Args:
        duration: The time that it took, in words; None leaves it out.
    """
    date = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    versions = [f"beit {__version__}", f"Python {platform.python_version()}"]
    versions += [f"{library} {version(library)}" for library in _LIBRARIES]
    return "; ".join([date, *([duration] if duration else []), _machine(), ", ".join(versions)])


def since(began: float) -> str:
    """Return the time since a value of `time.perf_counter`, in words."""
    seconds = time.perf_counter() - began
    if seconds < _FEW * _MINUTE:
        return f"{seconds:.0f} seconds"
    return f"{seconds / _MINUTE:.0f} minutes" if seconds < _FEW * _HOUR else f"{seconds / _HOUR:.1f} hours"


def _machine() -> str:
    """Return system, processor, and the GPU of a process that has one open."""
    words = f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"
    cuda = getattr(sys.modules.get("torch"), "cuda", None)  # a report alone is no reason to load torch
    return f"{words}, {cuda.get_device_name()}" if cuda is not None and cuda.is_initialized() else words
