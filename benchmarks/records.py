"""Records of the comparisons: a file in results/bench for each kind of processor, with what was last measured on it."""

import json
from dataclasses import asdict
from pathlib import Path

from about import about, name_of
from ratios import Ratio

FOLDER = Path(__file__).parent / "results" / "bench"


def file_of(kind, folder=FOLDER):
    """Return the record of a kind of processor."""
    return folder / f"{name_of(kind)}.json"


def record(answers, folder=FOLDER):
    """Put what benchmarks measured into the record of their kind of processor, whose other numbers stay.

    Args:
        answers: For each benchmark what it handed over: kind, machine, versions, date, commit, and its ratios.
        folder: Of the records.
    """
    for name, answer in answers.items():
        path = file_of(answer["kind"], folder)
        known = json.loads(path.read_text()) if path.exists() else {"benchmarks": {}}
        shared = {key: answer[key] for key in ("kind", "machine")}
        own = {key: value for key, value in answer.items() if key not in shared}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**shared, "benchmarks": {**known["benchmarks"], name: own}}, indent=1) + "\n")


def hand_over(given, ratios, *packages, **more):
    """Write the ratios, and what else was measured, where all.py asks for them, if it does."""
    if given.ratios:
        Path(given.ratios).write_text(json.dumps(_answer(given, ratios, *packages, **more)))


def finish(given, ratios, name, numbers, *packages):
    """Record the ratios, and return the exit status: the targets that are missed, or 0.

    Args:
        given: The options of `parser`; a quick run records nothing by itself.
        ratios: What was compared.
        name: Of the benchmark.
        numbers: What is recorded besides the ratios.
        *packages: Whose versions count.
    """
    hand_over(given, ratios, *packages, measured=numbers)
    if not given.quick:
        record({name: _answer(given, ratios, *packages, measured=numbers)})
    missed = [f"{ratio.what} ({ratio.against})" for ratio in ratios if not ratio.met]
    return f"wanted and not met: {', '.join(missed)}" if missed else 0


def _answer(given, ratios, *packages, **more):
    return {**about(*packages), "quick": given.quick, "ratios": [asdict(ratio) for ratio in ratios], **more}


def records(folder=FOLDER):
    """Return the records of all kinds of processors."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def comparisons(found):
    """Return the ratios of every comparison, `{(what, against): {kind: Ratio}}`, those that fall shortest first.

    What is wanted is what the newest measurement wants; comparisons of which nothing is wanted come last.
    """
    rows, wanted = {}, {}
    for one in found:
        for benchmark in one["benchmarks"].values():
            for entry in benchmark["ratios"]:
                ratio = Ratio(**entry)
                rows.setdefault((ratio.what, ratio.against), {})[one["kind"]] = ratio
                newest = wanted.get((ratio.what, ratio.against), ("", None, False))
                wanted[ratio.what, ratio.against] = max(newest, (benchmark["date"], ratio.wanted, ratio.at_most),
                                                        key=lambda known: known[0])  # fmt: skip
    for key, kinds in rows.items():
        _, bound, at_most = wanted[key]
        rows[key] = {kind: ratio.wanting(bound, at_most) for kind, ratio in kinds.items()}
    return dict(sorted(rows.items(), key=lambda row: min(ratio.margin for ratio in row[1].values())))
