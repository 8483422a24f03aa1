"""Tables of the results in Markdown, and their places in the documents."""

import json
import math
import re
import shutil
from pathlib import Path

from cost import COSTS, KINDS
from records import comparisons, records

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
PLACES = {ROOT / "docs" / "benchmarks.md": ("bench", "cost", "listing", "headline", "ablations")}
PICTURES = ("bench.png", "cost.png")  # the pages show copies: what they link to lies in docs/
HEADLINE = {  # rows of its table
    "pretrained": "pre-trained, fine-tuned",
    "scratch": "from scratch, equal compute",
    "convnet": "small convolutional network, equal compute",
    "linear": "pre-trained, frozen: ridge probe",
    "attentive": "pre-trained, frozen: attentive probe",
    "knn": "pre-trained, frozen: kNN",
    "random_linear": "random weights, frozen: ridge probe",
    "random_attentive": "random weights, frozen: attentive probe",
    "random_knn": "random weights, frozen: kNN",
    "ridge": "raw pixels: ridge",
    "pixel_knn": "raw pixels: kNN",
}
COLUMNS = ("what", "against", "ours", "theirs", "ratio", "spread", "wanted", "met")


def bench_rows(found):
    """Return the cells of the table of all comparisons: a row each, a column for every kind of processor.

    Those that fall shortest of what is wanted come first; a median in bold falls short.
    """
    kinds = [one["kind"] for one in found]
    rows = [("what", "against", "wanted", *(kind.replace(" ", "<br>") for kind in kinds))]
    for (what, against), measured in comparisons(found).items():
        goal = next(iter(measured.values())).goal
        rows.append((what, against, goal, *(_median(measured.get(kind)) for kind in kinds)))
    return rows


def bench_table(found):
    """Return the table of all comparisons, and what they were measured with."""
    return "\n\n".join((_markdown(bench_rows(found), "|---|---|---|" + "--:|" * len(found)), _machines(found)))


def _median(ratio):
    if ratio is None:
        return ""
    _, _, _, _, median, spread, *_ = ratio.columns()
    median = median if ratio.met else f"**{median}**"
    return f"{median}<br>{spread}" if len(ratio.rounds) > 1 else median


def _machines(found):
    lines = []
    for one in found:
        answers = one["benchmarks"].values()
        dates = sorted({answer["date"] for answer in answers})
        versions = {name: version for answer in answers for name, version in answer["versions"].items()}
        when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
        named = ", ".join(f"{name} {version}" for name, version in versions.items())
        lines.append(f"- **{one['kind']}**: {one['machine']}; {when}; {named}.")
    return "\n".join(lines)


def cost_table(measured):
    """Return the exponents of a cost.json."""
    found = [("", "", *(f"{name}, exponent" for name in COSTS.values()))]
    for axis, kinds in measured["axes"].items():
        for kind, one in kinds.items():
            fits = (one["exponents"][cost] for cost in COSTS)
            found.append((axis, KINDS[kind], *(f"{fit['exponent']:.2f} ± {fit['error']:.2f}" for fit in fits)))
    return _markdown(found, "|---|---|--:|--:|--:|")


def headline_rows(measured):
    """Return the cells of the table of a headline: accuracies by row and share of the labels, and the compute."""
    found = [("", *(f"{share} of the labels" for share in measured["labels"]), "PFLOP")]
    for name, title in HEADLINE.items():
        cells = [arms[name] for arms in measured["labels"].values()]
        compute = ["-" if one is None else f"{one['pflop']:.2f}" for one in cells]
        same = compute[0] if len(set(compute)) == 1 else " / ".join(compute)
        found.append((title, *("not run" if one is None else _spread(one) for one in cells), same))
    return found


def headline_table(measured):
    """Return the table of a headline.json."""
    return _markdown(headline_rows(measured), "|---|--:|--:|--:|--:|")


def ablations_table(measured):
    """Return the accuracies of an ablations.json, and how far they are from those of what a variant changes."""
    variants = measured["variants"]
    judges = {"knn": "kNN", "linear": "ridge probe", "fine_tuned": "fine-tuned"}
    found = [("pre-training", *judges.values(), "steps")]
    for title, row in variants.items():
        before = variants.get(row["compared_with"])
        found.append((title, *(_change(row[judge], before and before[judge]) for judge in judges), f"{row['steps']:,}"))
    return _markdown(found, "|---|--:|--:|--:|--:|")


def listing_table(measured):
    """Return the table of a listing.json."""
    found = [
        ("pictures", "listed in", "kept for each", "at most for each", "divided by class in", "an epoch shuffled in")
    ]
    for count, one in measured["pictures"].items():
        kept, most = (f"{one[name]:.0f} bytes" for name in ("bytes_per_picture", "peak_bytes_per_picture"))
        times = [f"{one[name]:.2f} s" for name in ("listing", "stratified_split", "first_batch_of_an_epoch")]
        found.append((f"{int(count):,}", times[0], kept, most, *times[1:]))
    return _markdown(found, "|--:|--:|--:|--:|--:|--:|")


def _change(reached, before):
    """Return an accuracy, and its difference to another with the standard error of that difference."""
    if reached is None:
        return "not run"
    if before is None:
        return _spread(reached)
    error = math.sqrt(sum(one["std"] ** 2 / len(one["seeds"]) for one in (reached, before)))
    return f"{reached['mean']:.1%} ({100 * (reached['mean'] - before['mean']):+.1f} ± {100 * error:.1f})"


def _spread(one):
    return f"{one['mean']:.1%}" + ("" if one["std"] is None else f" ± {one['std']:.1%}")


def _markdown(cells, rule):
    first, *rest = (f"| {' | '.join(row)} |" for row in cells)
    return "\n".join((first, rule, *rest))


def within(text, name, table):
    """Return a document with this table between the markers of its name."""
    begin, end = f"<!-- {name} table -->", f"<!-- /{name} table -->"
    pattern = re.compile(f"{re.escape(begin)}\n.*?{re.escape(end)}", flags=re.DOTALL)
    if not pattern.search(text):
        raise SystemExit(f"there is no place for the table; put {begin} and {end} on lines of their own")
    return pattern.sub(lambda _: f"{begin}\n{table}\n{end}", text)


def written(document):
    """Return the text of a document with the tables of the results as they are now."""
    makers = {
        "cost": cost_table,
        "headline": headline_table,
        "ablations": ablations_table,
        "listing": listing_table,
    }
    text = document.read_text()
    for name in PLACES[document]:
        result = RESULTS / f"{name}.json"
        if name == "bench":
            table = bench_table(records())
        else:
            table = makers[name](json.loads(result.read_text())) if result.exists() else "Not measured yet."
        text = within(text, name, table)
    return text


def rewrite():
    """Put the tables and the pictures of the results into the documents."""
    for document in PLACES:
        document.write_text(written(document))
        print(f"{document.relative_to(ROOT)} has the tables of benchmarks/results")
    for picture in PICTURES:
        shutil.copy(RESULTS / picture, ROOT / "docs" / "pictures" / picture)
