"""Help of a command: the short one and the whole one, and its settings listed for programs."""

from __future__ import annotations

import re
import textwrap
from argparse import SUPPRESS, Action
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Literal, get_args, get_origin

from jsonargparse import DefaultHelpFormatter

WHOLE_HELP = "--help-all"
_WHOLE_GROUP = "Path to a configuration file."
_OWN_SETTINGS = "General"
_ALWAYS_SHOWN = frozenset(("recipe", "print_config", "help", "help_all"))
_ACCOUNTS = {
    "help": "Show the settings that most people use.",
    "print_config": "Print all settings, resolved, as a recipe; with =skip_default those that are not the defaults.",
}
_RUN = "run.output run.device train.batch_size train.epochs optim.lr"
_PICTURES = "data.path data.workers device batch_size"
# What `--help` shows: what is required, and the handful that people set. A command that is not listed has so few
# settings that its `--help` shows them all.
COMMON = {
    command: frozenset(names.split())
    for command, names in {
        "beit pretrain": f"data.path tokenizer.path checkpoint model.size model.image_size {_RUN}",
        "beit finetune": f"data.path data.labels data.val_path checkpoint freeze model.image_size lora.rank {_RUN}",
        "beit distill": (
            "teacher.path teacher.logits teacher.features teacher.attention data.path data.val_path checkpoint "
            f"model.size model.image_size {_RUN}"
        ),
        "beit segment": (
            "data.path data.val_path label_maps.path label_maps.classes label_maps.ignored label_maps.val_path "
            f"checkpoint model.image_size {_RUN}"
        ),
        "beit tokenizer train": f"data.path image_size codebook.vocab_size {_RUN}",
        "beit tokenizer distill": f"data.path teacher image_size model.vocab_size {_RUN}",
        "beit tokenizer cluster": "data.path image_size model.vocab_size clustering.windows run.output",
        "beit tokenizer encode": f"tokenizer image_size output views {_PICTURES}",
        "beit tokenizer reconstruct": f"tokenizer image_size output count {_PICTURES}",
        "beit tokenizer evaluate": f"tokenizer image_size teacher output report {_PICTURES}",
        "beit evaluate": f"model data.labels label_maps.path output predictions report {_PICTURES}",
        "beit benchmark": "models data.path data.val_path label_maps.path shots device batch_size output",
        "beit statistics": "data.path data.channels data.value_range pictures output",
        "beit predict": "pictures model task output top_k device batch_size tokenizer",
        "beit serve": "models host port device tokenizer token",
    }.items()
}


class HelpFormatter(DefaultHelpFormatter):
    """Gives types in the words of a recipe: `auto, cpu or cuda`, `tiny, small, base, large or null`.

    Usage and headings are as narrow as the terminal, as the rest of a help is.
    """

    def start_section(self, heading: str | None) -> None:
        """Begin a section, whose heading may take several lines."""
        super().start_section(heading if heading is None else textwrap.fill(heading, self._width - 1))

    def _format_usage(self, *arguments: Any, **named: Any) -> str:
        usage = " ".join(super()._format_usage(*arguments, **named).split())
        return textwrap.fill(usage, self._width, subsequent_indent=" " * 7, break_on_hyphens=False) + "\n\n"

    def _get_type_str(self, action: Action) -> str | None:
        said = super()._get_type_str(action)
        if said is None:
            return None
        said = re.sub(r"^Optional\[(.*)\]$", r"\1, null", said)
        said = re.sub(r"^Union\[(.*)\]$", r"\1", said)
        said = re.sub(r"Literal\[(.*?)\]", lambda match: match[1].replace("'", ""), said).replace("tuple[", "[")
        *kinds, last = re.split(r"(?:, | \| )(?![^\[]*\])", said)  # outside brackets
        return f"{', '.join(kinds)} or {last}" if kinds else last


def name_own_settings(parser: Any) -> None:
    """Give settings of no group a heading of their own: that of jsonargparse repeats what the command does."""
    for group in parser._action_groups:
        own = [action for action in group._group_actions if "." not in action.dest and action.help != _WHOLE_GROUP]
        if own and group is not parser._optionals:
            group.title = _OWN_SETTINGS


def arrange_help(parser: Any) -> None:
    """Say in the help what is of use to a person, what is required first."""
    for action in parser._actions:
        if action.help == _WHOLE_GROUP:
            action.help = SUPPRESS  # a whole group from a file of its own: works, and only lengthens the help
        elif action.dest in _ACCOUNTS:
            action.help = _ACCOUNTS[action.dest]
    parser._action_groups.sort(key=partial(_place, parser))


def _place(parser: Any, group: Any) -> int:
    """Return where a group stands in the help: what is required first, what every command takes last."""
    if group is parser._optionals:
        return 2
    return 0 if any(action.required for action in group._group_actions) else 1


def print_short_help(parser: Any) -> None:
    """Print what is required and the common settings, and where the others are explained."""
    common = COMMON.get(parser.prog)
    explained = [action for action in parser._actions if action.help != SUPPRESS]
    shown = [action for action in explained if common is None or action.dest in common | _ALWAYS_SHOWN]
    left_out = {action: action.help for action in explained if action not in shown and not action.required}
    for action in left_out:
        action.help = SUPPRESS
    if left_out:
        parser.epilog = f"{len(left_out)} more settings: {parser.prog} {WHOLE_HELP}"
    parser.print_help()
    for action, about in left_out.items():
        action.help = about
    parser.epilog = None


def options_of(parser: Any, words: Sequence[str], flags: str) -> Iterator[dict[str, Any]]:
    """Yield every setting for programs: its option, the values that it takes if they are few, and its account.

    Args:
        parser: Of the settings.
        words: Settings that words without a name fill.
        flags: What else the command takes, as its usage has it, such as "[--processes N]".
    """
    for action in parser._actions:
        if action.help not in (SUPPRESS, _ACCOUNTS["help"]):
            parts = _parts(getattr(action, "_typehint", None))
            yield {
                "option": action.option_strings[-1],
                "flag": action.nargs == 0,
                "values": [part for part in parts if isinstance(part, str)],
                "files": str in parts or action.dest == "recipe",
                "word": action.dest in words,
                "about": action.help,
            }
    for option, value in re.findall(r"(--[\w-]+)( [A-Z]+)?", flags):
        yield {"option": option, "flag": not value, "values": [], "files": False, "word": False, "about": ""}


def _parts(kind: Any) -> list[Any]:
    """Return what a type is made of: the members of unions and tuples, and the values of literals as text."""
    if kind is bool:
        return ["true", "false"]
    if get_origin(kind) is Literal:
        return [str(value).lower() if isinstance(value, bool) else str(value) for value in get_args(kind)]
    members = get_args(kind)
    return [part for member in members for part in _parts(member)] if members else [kind]
