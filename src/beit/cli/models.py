"""`beit models`."""

from __future__ import annotations

from collections.abc import Sequence

from beit.catalog import INCLUDED_MODELS, PUBLIC_CHECKPOINTS, PUBLIC_TOKENIZERS, RELATED_CHECKPOINTS
from beit.cli.parser import parse_job
from beit.settings.inspection import ModelsJob

DESCRIPTION = (
    "List the published checkpoints with every name they are loaded by, and the models in the package. A result is "
    "top-1 (/ top-5) in per cent on ImageNet-1K or RVL-CDIP, or mIoU on ADE20K at one scale (at several), as its "
    "authors give it."
)


def run(arguments: Sequence[str]) -> int:
    """Parse, print the list."""
    job = parse_job(ModelsJob, "beit models", DESCRIPTION, arguments)
    if job.plain:
        print("\t".join(("size", "input", "task", "classes", "result", "original file", "hub", "timm")))
    for known in PUBLIC_CHECKPOINTS:
        properties = (known.size, str(known.image_size), known.task, str(known.classes), known.result or "-")
        names = (f"{known.original}.pth", known.hub or "-", known.timm or "-")
        if job.plain:
            print("\t".join((*properties, *names)))
        else:
            size, pixels, task, classes, result = properties
            print(f"{size:<6} {pixels} px  {task + ', ' + classes:<36} {result}")
            print("\n".join(f"    {name}" for name in names if name != "-"))
    for related in RELATED_CHECKPOINTS:
        classes = str(related.classes or "-")
        properties = (related.size, str(related.image_size), related.task, classes, related.result or "-")
        if job.plain:
            print("\t".join((*properties, "-", related.hub, "-")))
        else:
            size, pixels, task, _, result = properties
            print(f"{size:<6} {pixels} px  {f'{task}, {classes}' if related.classes else task:<36} {result}")
            print(f"    {related.hub}")
    for tokenizer in PUBLIC_TOKENIZERS:
        size, pixels, tokens, files = "-", str(tokenizer.image_size), str(tokenizer.tokens), ", ".join(tokenizer.files)
        if job.plain:
            print("\t".join((size, pixels, tokenizer.task, tokens, "-", files, tokenizer.name, "-")))
        else:
            print(f"{size:<6} {pixels} px  {tokenizer.task}, {tokens}\n    {tokenizer.name}  ({files})")
    for own in INCLUDED_MODELS:
        task, _, classes = own.task.rpartition(", ")
        if job.plain:
            print("\t".join(("nano", str(own.image_size), task, classes, own.result, "in the package", own.name, "-")))
        else:
            print(f"nano   {own.image_size:>3} px  {own.task:<36} {own.result}\n    {own.name}  (in the package)")
    return 0
