"""Accounts of single files that are no weights, and of the page that `beit export` writes: recipes, labels, films."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from beit.cli.about import About, Rows, listed, word
from beit.errors import DataError, missing_extra
from beit.files import read_json, read_yaml
from beit.settings.packaged import Recipe, recipe_file, recipes

LABELS = (".csv", ".tsv", ".tab", ".jsonl", ".ndjson")  # endings of files of labels
ONNX = ".onnx"
# A group of settings that the recipes of one command alone have.
_COMMANDS = {
    "mask": "beit pretrain",
    "quantiser": "beit tokenizer distill",
    "teacher": "beit distill",  # after it: what a VQ-KD tokenizer learns from is called so too
    "label_maps": "beit segment",
    "codebook": "beit tokenizer train",
    "clustering": "beit tokenizer cluster",
    "mixing": "beit finetune",
}


def command_of(settings: Mapping[str, Any]) -> str | None:
    """Return the command whose settings these are, None where several commands take them."""
    if "label_maps" in settings:  # of a training, unless it names what is trained already
        if "models" in settings:
            return "beit benchmark"
        if isinstance(settings.get("model"), str):
            return "beit evaluate"
    return next((name for group, name in _COMMANDS.items() if group in settings), None)


def about_recipe(path: str) -> About:
    """Return the account of a recipe, a file or a name in the package."""
    file = recipe_file(path)
    recipe, settings = Recipe(file.stem, file), read_yaml(file, "a recipe: settings in YAML", "correct it")
    command = recipe.command if recipe.command != "beit" else command_of(settings)
    rows: Rows = [("settings", listed(list(_dotted(settings))))]
    if recipe.text.startswith("#"):
        rows.insert(0, ("about", recipe.about))
    if command is None:
        shared = "settings that several commands take"
        return About(f"a recipe: {shared}", rows, [f"beit COMMAND {word(path)} --print_config"])
    steps = [f"{command} {word(path)} --print_config"]
    if "train" in settings:  # what takes no steps has no forecast
        steps.insert(0, f"{command} {word(path)} --dry-run")
    if file.resolve() in [known.path.resolve() for known in recipes()]:
        steps.append(f"beit recipes {file.stem} > mine.yaml")
    return About(f"a recipe of {command}", rows, steps)


def about_labels(path: str) -> About:
    """Return the account of a file of labels."""
    from beit.data import read_label_table

    found = read_label_table(path)
    content = {"class": "a class for each", "labels": "several for each", "value": "a number for each"}[found.kind]
    rows = [("pictures", f"{found.pictures:,}, in the column {found.image!r}"), ("labels", content)]
    if found.names:
        rows.append(("classes", listed(found.names)))
    given = f"--data.path PICTURES --data.labels {word(path)}"
    return About("labels of pictures", rows, [f"beit finetune {given}", f"beit evaluate --model MODEL {given}"])


def about_onnx(path: str) -> About:
    """Return the account of an ONNX file that lies beside no description of ours."""
    try:
        import onnx
    except ImportError:
        raise missing_extra("onnx", "export") from None
    try:
        graph = onnx.load(path, load_external_data=False).graph
    except Exception as error:  # protobuf's own classes
        raise DataError(f"{path} is no ONNX file ({type(error).__name__}); export the model again") from None
    rows = [("inputs", ", ".join(map(_port, graph.input))), ("outputs", ", ".join(map(_port, graph.output)))]
    return About(
        "an ONNX file, without the export.json of beit export", rows, [f"onnxruntime.InferenceSession({path!r})"]
    )


def about_page(path: str) -> About:
    """Return the account of a folder that `beit export --to web` wrote."""
    page = read_json(Path(path) / "page.json", "the description of a page")
    models = page["models"]
    height, width = models[0]["image_height"], models[0]["image_width"]
    rows = [
        ("model", str(models[0]["title"])),
        ("precisions", ", ".join(model["name"] for model in models)),
        ("tabs", ", ".join(task["tab"]["title"] for task in page["tasks"])),
        ("input", f"{height} x {width} pixels"),
    ]
    if models[0]["classes"]:
        rows.append(("classes", listed(models[0]["classes"])))
    steps = [
        f"python -m http.server --bind localhost --directory {word(path)}",
        "or copy the folder to any static host",
    ]
    return About("a page that runs a model in the browser", rows, steps)


def about_film(path: str) -> About:
    """Return the account of a film, whose frames are pictures to predict."""
    rows = [("size", f"{Path(path).stat().st_size / 2**20:,.1f} MB")]
    return About("a film", rows, [f"beit predict MODEL {word(path)}"])


def _dotted(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by their dotted names."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        inner = _dotted(value) if isinstance(value, Mapping) else None
        found |= {f"{name}.{key}": one for key, one in inner.items()} if inner else {name: value}
    return found


def _port(value: Any) -> str:
    """Return the name and the shape of an input or output of a graph."""
    sides = [side.dim_param or str(side.dim_value) for side in value.type.tensor_type.shape.dim]
    return f"{value.name} ({', '.join(sides)})"
