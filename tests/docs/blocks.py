"""What a page asks to be run: its stage, and its Python and shell blocks with the marks before them.

<!-- stage: digits -->                        at the top: `stages.digits` prepares the folder
<!-- needs the hub -->                        before a block: small checkpoints stand in for the published ones
<!-- limits: --train.max_steps 4 -->          before a block: appended to each training in it
<!-- needs many GPUs -->, or anything else    before a block: it is not run, but its commands are parsed

A `text` block behind a Python block is what that prints, unless the page has limits: trainings end elsewhere with them.
"""

import re
import shlex
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
STAGE = re.compile(r"\A(?:---\n.*?\n---\n)?\s*<!-- stage: (\w+) -->", re.DOTALL)
MARK = r"[ ]*<!-- (?:needs|limits:) [^\n]* -->\n"
BLOCK = re.compile(
    rf"^(?P<marks>(?:{MARK})*)(?P<indent>[ ]*)```(?P<kind>python|bash)[^\n]*\n"
    r"(?P<text>.*?)^(?P=indent)```"
    r"(?:(?=\n\n```text\n(?P<printed>.*?)^```))?",
    re.MULTILINE | re.DOTALL,
)
HUB = "the hub"


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        line: Where it begins in the page.
        kind: "python" or "bash".
        text: The code.
        needs: What stands after `needs`: "the hub", or why it cannot be run here.
        limits: Options for each training in it.
        printed: Of Python, what the page shows as printed.
    """

    line: int
    kind: str
    text: str
    needs: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    printed: str | None = None

    @property
    def only_parsed(self) -> bool:
        return any(need != HUB for need in self.needs)


@dataclass(frozen=True)
class Page:
    """A page of the documents."""

    path: Path
    stage: str | None
    blocks: tuple[Block, ...]

    @property
    def shortened(self) -> bool:
        return any(block.limits for block in self.blocks)

    @property
    def needs_hub(self) -> bool:
        return any(HUB in block.needs for block in self.blocks)


def read_page(path):
    """Return a page with its blocks in order."""
    text = path.read_text()
    stage = STAGE.match(text)
    return Page(path, stage[1] if stage else None, tuple(_block(text, match) for match in BLOCK.finditer(text)))


def _block(text, match):
    needs = re.findall(r"<!-- needs (.*?) -->", match["marks"])
    limits = re.findall(r"<!-- limits: (.*?) -->", match["marks"])
    return Block(
        line=text.count("\n", 0, match.start("text")) + 1,
        kind=match["kind"],
        text=textwrap.dedent(match["text"]),
        needs=tuple(needs),
        limits=tuple(shlex.split(" ".join(limits))),
        printed=match["printed"] if match["kind"] == "python" else None,
    )
