"""Ratios of ours to a peer with their spread, in the one form that all benchmarks print and record."""

import argparse
import math
import statistics
from dataclasses import dataclass, replace

_UNITS = {"s": 1, "MiB": 2**20}  # what the measured seconds and bytes are divided by


@dataclass(frozen=True)
class Ratio:
    """Ratio of one comparison, measured in rounds.

    Attributes:
        what: What both do; a row of the table.
        against: The peer, with its version.
        ours: Our median, in the unit.
        theirs: The peer's.
        unit: Of both.
        rounds: The ratio in each round.
        wanted: What the median of the rounds should reach, if anything is wanted.
        at_most: Whether it should stay at or below that, instead of reaching it.
    """

    what: str
    against: str
    ours: float
    theirs: float
    unit: str
    rounds: list[float]
    wanted: float | None = None
    at_most: bool = False

    @property
    def median(self):
        return statistics.median(self.rounds)

    @property
    def met(self):
        if self.wanted is None:
            return True
        return self.median <= self.wanted if self.at_most else self.median >= self.wanted

    @property
    def margin(self):
        """How many times what is wanted it reaches; infinite where nothing is wanted."""
        if self.wanted is None:
            return math.inf
        return self.wanted / self.median if self.at_most else self.median / self.wanted

    def wanting(self, wanted, at_most):
        """Return the same measurement with another goal."""
        return replace(self, wanted=wanted, at_most=at_most)

    @property
    def goal(self):
        """What is wanted, in words."""
        return "" if self.wanted is None else f"{'at most' if self.at_most else 'at least'} {self.wanted:g}"

    def columns(self):
        """Return what a table says of it: what, against, ours, theirs, ratio, spread, wanted, met."""
        low, median, high = (_amount(value) for value in (min(self.rounds), self.median, max(self.rounds)))
        spread = f"{low} to {high}" if len(self.rounds) > 1 else "measured once"
        numbers = _amount(self.ours, self.unit), _amount(self.theirs, self.unit), median, spread
        met = "" if self.wanted is None else "yes" if self.met else "no"
        return self.what, self.against, *numbers, self.goal, met

    def __str__(self):
        """Return it as a line of what a benchmark prints."""
        what, against, ours, theirs, median, spread, wanted, met = self.columns()
        verdict = f"   (wanted {wanted}: {'met' if met == 'yes' else 'NOT MET'})" if wanted else ""
        return f"{what:<44} {median:>6}   {spread:<16} ours {ours}, {against} {theirs}{verdict}"


def speed(what, against, ours, theirs, wanted=None):
    """Return the speed of ours over the peer's, from the seconds that both took in the same rounds."""
    rounds = [their / our for our, their in zip(ours, theirs, strict=True)]
    return _ratio(what, against, ours, theirs, "s", rounds, wanted, at_most=False)


def share(what, against, ours, theirs, unit, wanted=None):
    """Return the share of the peer's seconds ("s") or bytes ("MiB") that ours takes."""
    rounds = [our / their for our, their in zip(ours, theirs, strict=True)]
    return _ratio(what, against, ours, theirs, unit, rounds, wanted, at_most=True)


def _ratio(what, against, ours, theirs, unit, rounds, wanted, at_most):
    medians = (statistics.median(values) / _UNITS[unit] for values in (ours, theirs))
    return Ratio(what, against, *(float(f"{value:.4g}") for value in medians), unit,
                 [round(value, 4) for value in rounds], wanted, at_most)  # fmt: skip


def _amount(value, unit=""):
    """Return a number with three digits that count."""
    return f"{value:.0f} {unit}".strip() if value >= 100 else f"{value:#.3g} {unit}".strip()


def parser(description):
    """Return a parser of the options that all benchmarks have."""
    made = argparse.ArgumentParser(description=description.splitlines()[0])
    made.add_argument("--quick", action="store_true", help="fewer rounds and cases; records nothing")
    made.add_argument("--ratios", metavar="FILE", help="write the ratios there, for all.py")
    return made
