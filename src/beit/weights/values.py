"""Values that a checkpoint may hold: floating-point numbers where the model computes with them, and finite."""

from __future__ import annotations

from beit.errors import CheckpointError

FLOATS = ("float64", "float32", "float16", "bfloat16")


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
