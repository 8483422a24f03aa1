"""Models and tokenizers that the package brings, under names like those of the hub; no network is needed for them."""

from __future__ import annotations

from pathlib import Path

OWNER = "beit"
FOLDER = Path(__file__).parents[1] / "included"


def included_names() -> list[str]:
    """Return the names of all of them, such as "beit/nano-cifar10"."""
    return [f"{OWNER}/{folder.name}" for folder in sorted(FOLDER.iterdir()) if folder.is_dir()]


def included_folder(name: str | Path) -> Path | None:
    """Return the folder of what the package brings under a name; None for any other, and where a path is called so."""
    owner, slash, rest = str(name).partition("/")
    if owner != OWNER or not slash or not rest or "/" in rest or rest.startswith(".") or Path(name).exists():
        return None
    folder = FOLDER / rest
    return folder if folder.is_dir() else None
