"""`beit convert`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from beit.cli.early_checks import check_models
from beit.cli.output import say
from beit.cli.parser import parse_job
from beit.settings.convert import ConvertJob

DESCRIPTION = "Write a checkpoint in another layout: Hugging Face, timm, the original .pth, or Flax."


def run(arguments: Sequence[str]) -> int:
    """Parse, convert, print what was changed on the way."""
    job = parse_job(ConvertJob, "beit convert", DESCRIPTION, arguments, ("source", "destination"))
    check_models(job.source)
    from beit.hub import HubOptions
    from beit.models_torch.conversion import convert

    options: dict[str, Any] = {
        "image_size": job.size(),
        "num_attention_heads": job.num_attention_heads,
        "out_indices": None if job.out_indices is None else list(job.out_indices),
    }
    report = convert(
        job.source,
        job.destination,
        job.to,
        precision=job.precision,
        bias_resize=job.bias_resize,
        hub=HubOptions(revision=job.revision, token=job.token),
        **{name: value for name, value in options.items() if value is not None},
    )
    for line in (*report.adapted, *(f"left out: {name}" for name in report.unexpected)):
        say(line)
    say(f"model  {job.destination}")
    return 0
