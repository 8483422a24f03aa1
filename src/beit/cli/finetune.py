"""`beit finetune`."""

from __future__ import annotations

from collections.abc import Sequence

from beit.cli.output import say
from beit.cli.parser import parse_job
from beit.training.jobs import FinetuneJob

DESCRIPTION = (
    "Fine-tune a pre-trained BEiT to classify pictures, or train one from scratch (without a checkpoint). The same "
    "command continues a run that was stopped."
)


def run(arguments: Sequence[str]) -> int:
    """Parse, fine-tune, print."""
    job = parse_job(FinetuneJob, "beit finetune", DESCRIPTION, arguments)
    from beit.training.finetune import finetune
    from beit.training.run_folder import resolved_recipe

    say(f"recipe:\n{resolved_recipe(job)}")
    folder = finetune(job)
    result = folder.read_result()
    say(
        f"held-out pictures: accuracy {result['accuracy']:.2%}, loss {result['loss']:.4f}, "
        f"{result['pictures']:,.0f} pictures\nmodel   {folder.model}"
    )
    if folder.report.exists():
        say(f"report  {folder.report}")
    return 0
