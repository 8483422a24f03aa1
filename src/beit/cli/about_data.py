"""Accounts of runs, stored tokens and pictures."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from beit.cli.about import About, Rows, listed, word
from beit.cli.about_files import command_of
from beit.engine.run_folder import RunFolder
from beit.reports.units import in_words, shown
from beit.settings.base import plain
from beit.settings.groups import AugmentSettings

_SHOWN = 3  # files of labels
_MODEL = "microsoft/beit-base-patch16-224-pt22k"


def about_run(path: str) -> About:
    """Return the account of a run: what it trains on, how far it is, what it measured, where its files lie."""
    from beit.engine.run_state import state_now

    folder = RunFolder(path)
    recipe = folder.read_recipe()
    command = command_of(recipe) or "beit finetune"
    rows = [("pictures", str(recipe["data"]["path"])), ("settings", str(folder.recipe))]
    if "train" in recipe:  # a k-means tokenizer takes no steps
        state = state_now(folder)
        rows += [("step", f"{state.step:,}" + (f" of {state.steps:,}" if state.steps else "")), ("state", state.doing)]
    if folder.finished:
        rows += [(f"held-out {in_words(name)}", shown(name, value)) for name, value in folder.read_result().items()]
    kept = {"model": folder.model, "report": folder.report, "broken pictures": folder.broken}
    rows += [(name, str(place)) for name, place in kept.items() if place.exists()]
    next_step = f"beit info {word(folder.model)}" if folder.model.exists() else f"beit watch {word(path)}"
    return About(f"a run of {command}", rows, [next_step])


def about_runs(path: str) -> About | None:
    """Return the account of a folder of runs; None for other folders."""
    from beit.engine.run_state import state_now

    folders = [RunFolder(found.parent) for found in sorted(Path(path).glob("*/recipe.yaml"))]
    if not folders:
        return None
    rows: Rows = []
    for folder in folders:
        recipe = folder.read_recipe()
        doing = state_now(folder).doing if "train" in recipe else "finished" if folder.finished else "not finished"
        rows.append((folder.path.name, f"{command_of(recipe) or 'beit finetune'}: {doing}"))
    newest = max(folders, key=lambda folder: folder.recipe.stat().st_mtime)
    return About(f"runs ({len(folders):,})", rows, [f"beit info {word(newest.path)}"])


def about_tokens(path: str) -> About:
    """Return the account of a folder of stored tokens."""
    from beit.data import FINISHED, read_identity

    found = read_identity(path)
    pictures, views, height, width = found["shape"]
    rows = [
        ("pictures", f"{pictures:,}"),
        ("views", f"{views:,} random ones of each" if found.get("random_views") else "the one of evaluation"),
        ("tokens", f"{height} x {width} per view"),
        ("finished", f"{found[FINISHED]:,} of {pictures * views:,} views"),
        ("tokenizer", f"fingerprint {found.get('tokenizer')}"),
    ]
    if found[FINISHED] < pictures * views:
        return About("visual tokens, not all of them yet", rows, ["the `beit tokenizer encode` that began, again"])
    return About("stored visual tokens", rows, [_use_of_tokens(path, found.get("random_views"))])


def _use_of_tokens(path: str, random_views: Any) -> str:
    """Return the command that takes stored tokens: with the random views that they are of, which it compares."""
    if not random_views:
        return (
            f"numpy.load({str(Path(path) / 'tokens.npy')!r}); a pre-training takes those of `--views`, of random ones"
        )
    options = {"tokenizer.tokens": word(path), "fixed_views": random_views["count"]}
    if seed := random_views.get("seed"):
        options["run.seed"] = seed
    usual = plain(asdict(AugmentSettings()))
    changed = {name: value for name, value in random_views.get("augment", {}).items() if value != usual.get(name)}
    options |= {f"augment.{name}": word(json.dumps(value)) for name, value in changed.items()}
    given = " ".join(f"--{name} {value}" for name, value in options.items())
    return f"beit pretrain --data.path PICTURES --tokenizer.path TOKENIZER {given}"


def about_picture(path: str) -> About:
    """Return the account of one picture."""
    from beit.image import open_image

    picture = open_image(Path(path).read_bytes(), path)
    rows = [("height x width", f"{picture.height} x {picture.width} pixels")]
    return About("a picture", rows, [f"beit predict {word(path)}"])


def about_pictures(path: str) -> About:
    """Return the account of a collection of pictures, split by split."""
    from beit.data import label_files, open_source, split_kind, splits_of

    splits = splits_of(path)
    if splits is None:
        sources = {"pictures": open_source(path)}
    else:
        sources = {f"split {name}": open_source(path, split=name) for name in splits.places}
    rows: Rows = [(name, f"{len(source):,}{_files(source)}") for name, source in sources.items()]
    learnt = sorted(sources, key=lambda name: split_kind(name.removeprefix("split ")) != "train")  # stable
    classes = next((sources[name].classes for name in learnt if sources[name].classes), None)
    if classes is not None and len(classes) == 1:  # a folder around all pictures, as it seems
        classes = None
    beside = label_files(path)
    where = f"in {', '.join(beside[:_SHOWN])}: data.labels" if beside else "in a file: data.labels"
    rows.append(("classes", f"none; labels may stand {where}" if classes is None else listed(classes)))
    place = word(path)
    trained = [f"beit finetune --checkpoint {_MODEL} --data.path {place}"] * (classes is not None)
    unlabelled = [
        f"beit pretrain --data.path {place}", f"beit predict {place} --task embed --output embeddings.parquet"
    ]  # fmt: skip
    maps = f"beit segment --data.path {place} --label_maps.path LABEL_MAPS --label_maps.classes CLASSES.txt"
    return About("pictures", rows, [*trained, *unlabelled, *([maps] if classes is None else [])])


def _files(source: Any) -> str:
    if source.shard_sizes is None:
        return ""
    files = len(source.shard_sizes)
    return f" in {files:,} file{'s' * (files != 1)}"
