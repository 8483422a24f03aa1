"""Watch of a codebook that collapses while its tokenizer learns: nearly every patch gets the same code."""

from __future__ import annotations

_WARM_UP = 0.25  # share of the run in which codes may gather, and part again as the loss changes
_STEPS, _LOOKS = 100, 4  # for so long, looked at so often


class CollapseWatch:
    """Watch of the perplexity of the codes in a step, from a quarter of the run on.

    Args:
        least: Perplexity below which there is next to nothing to predict.
        steps: Steps of the run.
        remedy: What to change, for the reason.
    """

    def __init__(self, least: float, steps: int, remedy: str) -> None:
        self._least, self._begins, self._remedy = least, _WARM_UP * steps, remedy
        self._since: int | None = None
        self._looks = 0
        self._said = False

    def note(self, step: int, perplexity: float) -> str | None:
        """Take note of the perplexity after `step` finished steps; return why to stop, once, if that is so."""
        if self._said or step < self._begins or perplexity >= self._least:
            self._since, self._looks = None, 0
            return None
        self._since, self._looks = self._since or step, self._looks + 1
        if step - self._since < _STEPS or self._looks < _LOOKS:
            return None
        self._said = True
        return (
            f"the codes of a step have a perplexity of {perplexity:.2f} after step {step}, and have been below "
            f"{self._least:.2f} since step {self._since}: nearly every patch gets the same one, so the codebook has "
            f"collapsed; {self._remedy}, and start again in another run.output"
        )
