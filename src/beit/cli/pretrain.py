"""`beit pretrain`."""

from __future__ import annotations

from collections.abc import Sequence

from beit.cli.output import say
from beit.cli.parser import parse_job
from beit.training.jobs import PretrainJob

DESCRIPTION = (
    "Pre-train a BEiT by masked image modelling: predict the visual tokens of hidden patches. No labels are needed. "
    "Without tokenizer.path a tokenizer is trained first, on the same pictures. The same command continues a run that "
    "was stopped."
)


def run(arguments: Sequence[str]) -> int:
    """Parse, pre-train, print."""
    job = parse_job(PretrainJob, "beit pretrain", DESCRIPTION, arguments)
    from beit.training.pretrain import pretrain
    from beit.training.run_folder import resolved_recipe

    say(f"recipe:\n{resolved_recipe(job)}")
    folder = pretrain(job)
    result = folder.read_result()
    say(
        f"held-out pictures, masked patches: loss {result['loss']:.4f}, "
        f"always predicting the token frequencies {result['frequency_loss']:.4f}\n"
        f"token accuracy {result['accuracy']:.2%}, always the most frequent token {result['frequency_accuracy']:.2%}\n"
        f"model   {folder.model}"
    )
    if folder.report.exists():
        say(f"report  {folder.report}")
    return 0
