"""`beit demo`."""

from __future__ import annotations

from collections.abc import Sequence

from beit.cli.parser import parse_job
from beit.settings.demo import DemoJob

DESCRIPTION = (
    "The whole job on embedded pictures of handwritten digits: fit a tokenizer, pre-train without labels, fine-tune "
    "with ten labels per class, compare with training from scratch for as many steps and with classifiers on raw "
    "pixels, predict. A few minutes on two cores; stopped, it continues where it was. --quick takes half "
    "a minute and shows that everything works."
)
SHOWN = 5


def run(arguments: Sequence[str]) -> int:
    """Parse, run, print."""
    job = parse_job(DemoJob, "beit demo", DESCRIPTION, arguments)
    from rich.console import Console
    from rich.table import Table

    from beit.data import open_source
    from beit.inference.predictor import Predictor
    from beit.tasks.demo import TABLE_COLUMNS, run_demo, table, verdict

    console = Console(soft_wrap=True, markup=False, emoji=False)
    result = run_demo(job.output, lambda line: console.print(f"\n{line}", highlight=False), job.quick)

    test = open_source("digits:test")
    console.print("\nfive test pictures")
    pictures = [test.load(index) for index in range(SHOWN)]
    for index, prediction in enumerate(Predictor.from_pretrained(result.model).classify(pictures, top_k=2)):
        truth = test.classes[test.labels[index]] if test.classes and test.labels is not None else "?"
        guesses = "  ".join(f"{n} {p:.0%}" for n, p in zip(prediction.labels, prediction.probabilities, strict=True))
        console.print(f"  {test.name(index)}: is {truth}, predicted {guesses}", highlight=False)

    shown = Table(*TABLE_COLUMNS)
    for row in table(result):
        shown.add_row(*row)
    console.print()
    console.print(shown)
    console.print(f"report  {result.report}", highlight=False)
    console.print(verdict(result), highlight=False)
    if job.quick:
        console.print("That was --quick, with a twentieth of the steps: it all works. Without it the numbers count.")
    return 0
