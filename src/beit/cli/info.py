"""`beit info PATH`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from beit.cli.about import About
from beit.cli.about_data import about_picture, about_pictures, about_run, about_tokens
from beit.cli.about_weights import about_exported, about_model, about_tokenizer, is_model, is_tokenizer
from beit.cli.early_checks import check_paths
from beit.cli.output import say
from beit.cli.parser import parse_job
from beit.image import EXTENSIONS
from beit.settings.published import InfoJob

DESCRIPTION = (
    "Say what a path holds, how large it is and which commands take it: a model in any layout, a run, a tokenizer, "
    "stored tokens, an exported model, pictures to train on, or one picture. Of models only the headers are read, of "
    "pictures only the list. A published name is downloaded, unless it was before."
)
_MARKS = {"recipe.yaml": about_run, "export.json": about_exported, "facts.json": about_tokens}


def run(arguments: Sequence[str]) -> int:
    """Parse, look, print."""
    job = parse_job(InfoJob, "beit info", DESCRIPTION, arguments, ("path",))
    about = about_path(job.path)
    width = max(len(name) for name, _ in about.rows)
    say(f"{job.path}: {about.what}", *(f"  {name:<{width}}  {value}" for name, value in about.rows))
    say("next", *(f"  {step}" for step in about.next_steps))
    return 0


def about_path(path: str) -> About:
    """Return the account of a path.

    Raises:
        BeitError: If there is nothing, or it is damaged.
    """
    for name, about in _MARKS.items():  # files that only folders of ours hold
        if (Path(path) / name).is_file():
            return about(path)
    if is_tokenizer(path):
        return about_tokenizer(path)
    if is_model(path):
        return about_model(path)
    check_paths(path)
    single = Path(path).is_file() and Path(path).suffix.lower() in EXTENSIONS
    return about_picture(path) if single else about_pictures(path)
