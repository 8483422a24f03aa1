"""`beit info PATH`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from beit.cli.about import About
from beit.cli.about_data import about_picture, about_pictures, about_run, about_runs, about_tokens
from beit.cli.about_files import LABELS, ONNX, about_film, about_labels, about_onnx, about_page, about_recipe
from beit.cli.about_scenes import about_arrays, about_bands, about_label_maps, about_scenes
from beit.cli.about_weights import about_exported, about_model, about_tokenizer, is_model, is_tokenizer
from beit.cli.early_checks import check_paths
from beit.cli.main import nearest
from beit.cli.output import say
from beit.cli.parser import parse_job
from beit.cli.recipe_origin import RECIPES
from beit.config import CONFIG_NAME
from beit.errors import DataError, UnavailableError
from beit.image import ARRAYS, EXTENSIONS, PACKED
from beit.inference.jobs.frames import FILMS
from beit.settings.inspection import InfoJob
from beit.settings.packaged import recipes

DESCRIPTION = (
    "Say what a path holds, how large it is and which commands take it: a model in any layout, a run or a folder of "
    "them, a tokenizer, stored tokens, an exported model or page, a recipe, labels, label maps, pictures to train on, "
    "or one picture. Of models only the headers are read, of pictures only the list and a few. A published name is "
    "downloaded, unless it was before."
)
_SHARDS = (".parquet", ".tar")
_KNOWN = (
    "a model, run, tokenizer, recipe (.yaml), label file (.csv, .jsonl), picture, film, parquet or tar file, or a "
    "folder of one of these"
)
# Files that only folders of ours hold; one file of such a folder is answered for the folder.
_MARKS = {
    "recipe.yaml": about_run,
    "export.json": about_exported,
    "facts.json": about_tokens,
    "page.json": about_page,
}
_OF_PEOPLE = frozenset({*RECIPES, *EXTENSIONS})  # endings of what may lie in any folder


def run(arguments: Sequence[str]) -> int:
    """Parse, look, print."""
    words = [f"--path={word}" if word.endswith(RECIPES) and word[0] != "-" else word for word in arguments[:1]]
    job = parse_job(InfoJob, "beit info", DESCRIPTION, [*words, *arguments[1:]], ("path",))
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
    place = Path(path)
    if place.name == CONFIG_NAME and place.is_file():
        return about_path(str(place.parent))
    beside = place.is_file() and place.suffix.lower() not in _OF_PEOPLE
    for folder in (path, *([str(place.parent)] if beside else [])):
        for name, about in _MARKS.items():
            if (Path(folder) / name).is_file():
                return about(folder)
    if is_tokenizer(path):
        return about_tokenizer(path)
    if place.is_dir():
        return about_model(path) if is_model(path) else _about_folder(path)
    if place.exists():
        return _about_file(path)
    if path in {recipe.name for recipe in recipes()}:
        return about_recipe(path)
    if is_model(path):
        try:
            return about_model(path)
        except UnavailableError as error:
            raise UnavailableError(f"{error}{nearest(path, [recipe.name for recipe in recipes()], 0.8)}") from error
    check_paths(path)
    return about_pictures(path)


def _about_folder(path: str) -> About:
    """Return the account of a folder that no file of ours marks."""
    found = about_runs(path) or about_scenes(path)
    if found is not None:
        return found
    try:
        pictures = about_pictures(path)
    except DataError:
        if (arrays := about_arrays(path)) is None:
            raise
        return arrays
    return about_label_maps(path) or about_bands(path) or pictures


def _about_file(path: str) -> About:
    """Return the account of a file, by its ending.

    Raises:
        DataError: If it is of no kind that the package knows.
    """
    ending = Path(path).suffix.lower()
    if ending in RECIPES:
        return about_recipe(path)
    if ending in LABELS:
        return about_labels(path)
    if ending in FILMS:
        return about_film(path)
    if ending == ONNX:
        return about_onnx(path)
    if ending in EXTENSIONS:
        return about_label_maps(path) or about_bands(path) or about_picture(path)
    if ending in ARRAYS and (arrays := about_arrays(path)) is not None:
        return arrays
    if is_model(path) and (ending != ".json" or path.endswith(".index.json")):
        return about_model(path)
    if ending in _SHARDS:
        return about_pictures(path)
    if ending in PACKED:
        raise DataError(f"{path} is a {ending} file; expected {_KNOWN}: unpack it, and name the folder")
    raise DataError(f"{path} is {f'a {ending} file' if ending else 'a file'} that no command takes; expected {_KNOWN}")
