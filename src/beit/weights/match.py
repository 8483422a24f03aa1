"""Comparison of a checkpoint with a model: names, shapes and kinds of number, and the report of what differs.

All names are canonical.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from beit.config import BeitConfig
from beit.errors import CheckpointError, ConfigError, MismatchError, printable
from beit.weights.adaptation import ENCODER
from beit.weights.rules import Entry

Shape = tuple[int, ...]
FLOATS = ("float64", "float32", "float16", "bfloat16")
# Parts that a checkpoint of one task may lack, or hold in excess, when it is loaded into the model of another.
PARTS = (
    "classifier.*",
    "lm_head.*",
    "layernorm.*",
    "decode_head.*",
    "auxiliary_head.*",
    "fpn[12].*",
    "beit.layernorm.*",
    "*pooler.layernorm.*",
    "*embeddings.mask_token",
)
_LABEL_HEADS = ("classifier.", "decode_head.")
_MOST_NAMES = 10  # that a message lists one by one
_CLASS_LAYERS = ("classifier", "decode_head.classifier", "auxiliary_head.classifier")
# Heads that may be for other classes or another codebook, if the caller asks for it.
RESHAPED_ON_LOAD = ("classifier.*", "lm_head.*", "decode_head.classifier.*", "auxiliary_head.classifier.*")
# Tensors that are always left out: the heads of a model that is loaded without one, and the patch aggregation layers
# of BEiT v2, which only its pre-training uses.
LEFT_OUT_ON_LOAD = (*(f"head:{part}" for part in PARTS), "*cls_pt_layers.*")


def match_tensors(
    expected: Mapping[str, Shape],
    tensors: Mapping[str, Entry],
    source: str,
    strict: bool = False,
    new_head: bool = False,
    other_parts: bool = False,
) -> LoadReport:
    """Match a checkpoint with a model, before memory is allocated or values are read or overwritten.

    A checkpoint of another task may lack a head or a pooler, and have one that the model does not.

    Args:
        expected: The shapes of the model, by canonical name.
        tensors: The checkpoint.
        source: The checkpoint, for messages.
        strict: Refuse these differences too.
        new_head: Whether a head may be for other classes than the checkpoint's.
        other_parts: Whether model and checkpoint may both have parts outside the encoder that the other lacks, as
            classes that users derive have them.

    Raises:
        CheckpointError: If a parameter is missing, unknown or of another shape.
    """
    found = {name: entry.shape for name, entry in tensors.items()}
    if strict:
        return check_shapes(source, found, expected)
    if other_parts:
        return _match_encoder(source, found, expected, RESHAPED_ON_LOAD if new_head else ())
    return check_shapes(
        source,
        found,
        expected,
        may_be_new=[part for part in PARTS if not fnmatch.filter(found, part)],
        may_be_left_out=[*LEFT_OUT_ON_LOAD, *(part for part in PARTS if not fnmatch.filter(expected, part))],
        may_be_reshaped=RESHAPED_ON_LOAD if new_head else (),
    )


def _match_encoder(
    source: str, found: Mapping[str, Shape], expected: Mapping[str, Shape], reshaped: Sequence[str]
) -> LoadReport:
    """Match the encoder as ever, and of all other parts what both have."""
    if not found.keys() & expected.keys():
        raise CheckpointError(
            f"{source} has no parameter of the model, whose first is {next(iter(expected))}; expected an encoder under "
            "the name of base_model_prefix"
        )
    outside = [name for name in found.keys() | expected.keys() if not _is_of_encoder(name)]
    return check_shapes(source, found, expected, [*PARTS, *outside], [*LEFT_OUT_ON_LOAD, *PARTS, *outside], reshaped)


def _is_of_encoder(name: str) -> bool:
    return name.removeprefix("beit.").startswith(ENCODER)


def check_type(source: str, name: str, dtype: str, floating: bool) -> None:
    """Refuse a tensor whose values another kind of number would have to be made of, which nobody asked for.

    Args:
        source: The checkpoint, for messages.
        name: The tensor.
        dtype: Its type on disk.
        floating: Whether the model has floating-point numbers in its place.

    Raises:
        CheckpointError: If only one of the two is floating-point.
    """
    if (dtype in FLOATS) != floating:
        expected = f"one of {', '.join(FLOATS)}" if floating else "whole numbers"
        raise CheckpointError(
            f"{source} holds {name} as {dtype}; expected {expected}: if it is quantised, load the model that it was "
            "made of, else convert it where its scale is known"
        )


def not_finite(source: str, name: str) -> CheckpointError:
    """Return the error about a tensor with NaN or infinity in it."""
    return CheckpointError(
        f"{source} holds NaN or infinity in {name}; expected finite numbers: take a checkpoint from before its "
        "training diverged, or a type with a larger range, or pass allow_nonfinite=True to load it all the same"
    )


def check_heads(outputs: Mapping[str, int], config: BeitConfig) -> None:
    """Refuse to save a model whose head is for other classes than its config says: it could not be loaded again.

    Args:
        outputs: How many numbers each layer gives, by canonical name.
        config: The config that is saved beside it.

    Raises:
        ConfigError: Naming the head and both numbers.
    """
    options = dict.fromkeys(_CLASS_LAYERS, ("num_labels", config.num_labels)) | {
        "lm_head": ("vocab_size", config.vocab_size)
    }
    for name, (option, wanted) in options.items():
        if name in outputs and outputs[name] != wanted:
            raise ConfigError(
                f"{name} is for {outputs[name]} classes and config.{option} is {wanted}; expected the same, or the "
                f"model cannot be loaded again: set config.{option} = {outputs[name]}, or load it with "
                f"{option}={outputs[name]}"
            )


def file_metadata(dtype: str) -> dict[str, Any]:
    """Return the keys of `config.json` that describe the file beside it; None drops those of other versions."""
    return {"torch_dtype": dtype, "dtype": None, "transformers_version": None}


@dataclass(frozen=True)
class LoadReport:
    """The differences between a checkpoint and the model it was loaded into; names are canonical.

    Attributes:
        missing: Parameters that the checkpoint does not hold.
        unexpected: Tensors of the checkpoint that the model has no place for.
        new: Parameters that keep their initial values: the missing ones, and those of a head for other classes.
        resized: Tables and positions that were resampled to another image size.
        adapted: Every change on the way, described with its method.
    """

    missing: list[str] = field(default_factory=list[str])
    unexpected: list[str] = field(default_factory=list[str])
    new: list[str] = field(default_factory=list[str])
    resized: list[str] = field(default_factory=list[str])
    adapted: list[str] = field(default_factory=list[str])

    def as_loading_info(self) -> dict[str, list[str]]:
        """Return the mapping that the published `from_pretrained(..., output_loading_info=True)` gives."""
        return {
            "missing_keys": self.missing,
            "unexpected_keys": self.unexpected,
            "mismatched_keys": sorted(set(self.new) - set(self.missing)),
            "error_msgs": [],
        }

    @property
    def knows_labels(self) -> bool:
        """True if the checkpoint was trained on labels: it holds a head for them, whether the model took it or not."""
        held = any(name.startswith(_LABEL_HEADS) for name in self.unexpected)
        return held or not any(name.startswith(_LABEL_HEADS) for name in self.missing)

    @property
    def silent(self) -> bool:
        """True if every parameter was loaded unchanged, so that there is no difference to report."""
        return not (self.new or self.unexpected or self.adapted)

    def __str__(self) -> str:
        lines = list(self.adapted)
        if self.new:
            lines.append(f"new, not from the checkpoint: {_folded(self.new)} (as expected where training follows)")
        if self.unexpected:
            lines.append(f"in the checkpoint, not used: {_folded(self.unexpected)}")
        return "; ".join(lines) or "every parameter was loaded"


def check_shapes(
    source: str,
    found: Mapping[str, Shape],
    expected: Mapping[str, Shape],
    may_be_new: Sequence[str] = (),
    may_be_left_out: Sequence[str] = (),
    may_be_reshaped: Sequence[str] = (),
) -> LoadReport:
    """Compare the shapes of a checkpoint with those of a model.

    Args:
        source: The checkpoint, for messages.
        found: Shapes in the checkpoint, by canonical name.
        expected: Shapes of the model.
        may_be_new: Patterns of names that a checkpoint may lack.
        may_be_left_out: Patterns of names that a model may have no use for.
        may_be_reshaped: Patterns of names that may have another shape, and are new then (a head for other classes).

    Raises:
        CheckpointError: Listing every other difference by name.
    """
    missing, unexpected = expected.keys() - found.keys(), found.keys() - expected.keys()
    reshaped = {name for name in expected.keys() & found.keys() if expected[name] != found[name]}
    refused = {
        "missing": [name for name in missing if not _matches(name, may_be_new)],
        "of another shape": [
            f"{name} is {found[name]}, the model has {expected[name]}"
            for name in reshaped
            if not _matches(name, may_be_reshaped)
        ],
        "unknown": [name for name in unexpected if not _matches(name, may_be_left_out)],
    }
    listed = {"of another shape": _listed}  # sentences; the others are names
    problems = [
        f"{len(names)} {kind}: {listed.get(kind, _folded)(sorted(names))}" for kind, names in refused.items() if names
    ]
    if problems:
        raise MismatchError(
            f"{source} does not fit the model, {'; '.join(problems)}. Check that the checkpoint belongs to this config"
        )
    return LoadReport(sorted(missing), sorted(unexpected), sorted(missing | reshaped))


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _folded(names: Sequence[str]) -> str:
    """Return names as a list; more than ten of them by their prefixes: "decode_head.* (62), fpn1.* (6)"."""
    if len(names) <= _MOST_NAMES:
        return ", ".join(map(printable, names))
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_prefix(name), []).append(name)
    return _listed([alike[0] if len(alike) == 1 else f"{prefix}.* ({len(alike)})" for prefix, alike in groups.items()])


def _prefix(name: str) -> str:
    """Return the part of the model that a tensor is in: its first name, of the encoder its first two."""
    first, *rest = name.removeprefix("head:").split(".")
    return f"{first}.{rest[0]}" if first == "beit" and rest else first


def _listed(names: Sequence[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(printable, names[:most])) + more
