"""Checks of the settings of an evaluation, before any work is done."""

from __future__ import annotations

from pathlib import Path

from beit.errors import ConfigError
from beit.settings.evaluate import EvaluateJob
from beit.settings.segment import LabelMapSettings, SceneUseSettings


def check_places(job: EvaluateJob) -> None:
    """Refuse output files that could not be written after the work.

    Raises:
        ConfigError: Naming the file.
    """
    places = {name: Path(path) for name in ("output", "predictions", "report") if (path := getattr(job, name))}
    for name, place in places.items():
        if place.is_dir():
            raise ConfigError(f"{name} is {str(place)!r}, a folder; expected the name of a file in it")
        if list(places.values()).count(place) > 1:
            raise ConfigError(f"{name} is {str(place)!r}, which another file is to have; choose another name")


def check_settings(job: EvaluateJob) -> None:
    """Refuse settings of the other kind of evaluation: of whole pictures, or of their pixels.

    Raises:
        ConfigError: Naming them.
    """
    if job.label_maps.path is None:
        given = {"label_maps": job.label_maps != LabelMapSettings(), "scene": job.scene != SceneUseSettings()}
        remedy = "name a folder of label maps with label_maps.path, or leave them out"
    else:
        given = {"data.labels": job.data.labels, "match": job.match != "names", "crop_share": job.crop_share}
        remedy = "label maps hold the classes of pixels, so these have no use: leave them out, or label_maps.path"
    if names := [name for name, value in given.items() if value]:
        missing = "without" if job.label_maps.path is None else "together with"
        raise ConfigError(f"there are settings of {' and '.join(names)} {missing} label_maps.path; {remedy}")
