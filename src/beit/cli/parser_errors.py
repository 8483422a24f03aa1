"""Error lines for settings that are unknown, missing, of the wrong type or out of range."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Sequence
from typing import Any

from jsonargparse import ArgumentParser, Namespace
from pydantic import ValidationError

from beit.cli.main import nearest
from beit.errors import shortened

# How jsonargparse says that it does not know a setting: on the command line, in a group, at the top of a recipe.
_UNKNOWN = (
    r"unrecognized arguments: -*(?P<key>[\w.\-]+)",
    r"Group '(?P<group>[^']+)' does not accept option '(?P<key>[^']+)'",
    r"Option '(?P<key>[^']+)' is not accepted",
)
_GROUP = r"Parser key \"(?P<group>[^\"]+)\":\s*Unable to load config"  # a plain value in the place of several settings
_MISSING = r"the following arguments are required: (?P<first>[\w.]+)"
_LONGEST = 600  # characters of a message

# What settings and groups are called elsewhere, and how they end here.
_ALSO_CALLED = {
    "learning_rate": "lr",
    "batch": "batch_size",
    "max_batch": "batch_size",
    "dtype": "precision",
    "torch_dtype": "precision",
    "mixed_precision": "precision",
    "half": "precision",
    "bf16": "precision",
    "fp16": "precision",
    "masks": "label_maps",
    "mask_suffix": "suffix",
    "places": "pictures",
    "per_device_train_batch_size": "batch_size",
    "num_train_epochs": "epochs",
    "steps": "max_steps",
    "num_workers": "workers",
    "output_dir": "output",
    "output_path": "output",
    "input_size": "image_size",
    "img_size": "image_size",
    "drop_path": "drop_path_rate",
    "gradient_accumulation_steps": "accumulate",
    "max_norm": "clip_grad",
}


def failed_check(error: ValidationError, settings: Namespace) -> str:
    """Return the first failed check as `group.setting: expectation, got value`."""
    first: Any = error.errors()[0]
    expectation = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:  # a check across several settings names them itself
        return expectation
    name = str(first["loc"][0])
    keys = [key for key, value in settings.items() if key.split(".")[-1] == name and _same(value, first["input"])]
    return f"{' or '.join(keys) or name}: {expectation[0].lower()}{expectation[1:]}, got {shortened(first['input'])}"


def _same(value: Any, given: Any) -> bool:
    return value == given or str(value) == str(given)


def one_line(message: str, parser: ArgumentParser) -> str:
    """Shorten jsonargparse's message; name the nearest setting for an unknown one, the meaning of a missing one."""
    known = list(parser.get_defaults().keys())
    for pattern in _UNKNOWN:
        if match := re.search(pattern, message):
            groups = match.groupdict()
            key = f"{groups['group']}.{groups['key']}" if groups.get("group") else groups["key"]
            return f"there is no setting {key!r}{_nearest_setting(key, known)} (all settings: {parser.prog} --help-all)"
    if match := re.search(_GROUP, message):
        inside = [f"--{name}" for name in known if name.startswith(f"{match['group']}.")]
        return (
            f"{match['group']} is a group of settings; name one of them, such as {inside[0]} ({parser.prog} --help-all)"
        )
    if match := re.search(_MISSING, message):
        return f"{match['first']} is missing; name it: {_about(match['first'], parser)} (--{match['first']})"
    if match := re.search(r'Parser key "([^"]+)":\s*(.*)', message, flags=re.DOTALL):
        return f"{match[1]}: {_cut(_type_error(match[2]))}"
    return _cut(message)


def _cut(message: str) -> str:
    """Return the beginning of a message that quotes a value of any length, in one line."""
    text = " ".join(message.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _about(key: str, parser: ArgumentParser) -> str:
    """Return the first sentence of the help about a setting."""
    about = " ".join(next(str(action.help) for action in parser._actions if action.dest == key).split())
    return f"{about[0].lower()}{about[1:]}".split(". ")[0].rstrip(".")


def _nearest_setting(key: str, known: Sequence[str]) -> str:
    """Return "; did you mean X?": the setting of the same name in another group, or the one spelled most like it."""
    ours = {part for name in known for part in name.split(".")}
    *groups, last = (_our_name(part, ours) for part in key.split("."))
    same = [name for name in known if name.split(".")[-1] == last]
    around = [name.rpartition(".")[0] for name in same if "." in name]
    near = difflib.get_close_matches(".".join(groups), around, n=1) if groups else []
    inside = [name for name in same if groups and name.startswith(f"{groups[0]}.")]
    inside = inside or [f"{group}.{last}" for group in near]
    if same:  # the groups of the job itself come before those of its parts: optim.lr, then tokenizer.optim.lr
        return f"; did you mean {min(inside or same, key=lambda name: name.count('.'))}?"
    return nearest(".".join((*groups, last)), known)


def _our_name(part: str, ours: Collection[str]) -> str:
    """Return our name of a setting or group that other libraries call so, or nearly so where it is none of ours."""
    near = [] if part in ours else difflib.get_close_matches(part, _ALSO_CALLED, n=1, cutoff=0.85)
    return _ALSO_CALLED[near[0]] if near else _ALSO_CALLED.get(part, part)


def _type_error(message: str) -> str:
    """Return jsonargparse's account of a value of the wrong type as `expected this or that, got value`."""
    expected = re.findall(r"Expected an? (.+?)(?=\.? Got value|\n|$)", message)
    given = re.search(r"(?:Got|Given) value: (.*)", message)
    if not expected or given is None:
        return message
    words = [re.sub(r"<class '(\w+)'>", r"\1", kind).replace("NoneType", "null") for kind in expected]
    words = [word.replace("typing.Literal[", "one of [") for word in words]
    words = [re.sub(r"^one of \['(\w+)'\]$", r"\1", word) for word in words]
    return f"expected {' or '.join(words)}, got {given[1]}"
