"""Model cards: `README.md` beside a model, as the hub shows it, and what a push makes of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from beit.files import write_bytes, write_text
from beit.hub.hub_errors import explained_errors
from beit.hub.network import need_hub
from beit.hub.push import CARD_NAME, check_repo_id, push_folder

CURVES_NAME = "curves.svg"
NAME_MARK = "NAME_OF_THIS_MODEL"  # in a card until it is known what the model is called
LICENCE_MARK = "Licence: not stated."
_TASKS = {
    "ForImageClassification": "image-classification",
    "ForSemanticSegmentation": "image-segmentation",
}

logger = logging.getLogger("beit")


def card_text(title: str, architecture: str, sections: str = "") -> str:
    """Return a card: what a model is, how it is loaded, its licence, and further sections.

    Args:
        title: Its heading.
        architecture: Class of the model.
        sections: In Markdown.
    """
    task = next((task for ending, task in _TASKS.items() if architecture.endswith(ending)), "image-feature-extraction")
    return (
        f"---\nlibrary_name: beit\npipeline_tag: {task}\ntags:\n- beit\n---\n\n# {title}\n\n"
        f"A `{architecture}`, saved by [beit](https://pypi.org/project/beit/). {LICENCE_MARK}\n\n"
        f"```python\nfrom beit import {architecture}, BeitImageProcessor\n\n"
        f'model = {architecture}.from_pretrained("{NAME_MARK}")\n```\n{sections}'
    )


def push_model(
    save: Callable[[Path], None],
    repo_id: str,
    source: str,
    architecture: str,
    *,
    license: str | None = None,  # noqa: A002  # as the hub calls it
    **options: Any,
) -> str:
    """Upload what `save` writes into a folder, with a model card; return the address of the result.

    The card is that of the folder the model was loaded from, such as that of a run; else a short one. A card that the
    repository has already is kept.

    Args:
        save: Writes the model.
        repo_id: "owner/name", or "name" for a repository of the logged-in user.
        source: Where the model was loaded from; "" for nowhere.
        architecture: Class of the model.
        license: Licence that the card states, such as "apache-2.0".
        **options: Those of `push_folder`.

    Raises:
        CheckpointError: If the hub cannot be reached or refuses.
    """
    check_repo_id(repo_id)
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        save(folder)
        repo_id = _with_owner(repo_id, options)
        if _has_card(repo_id, options):
            logger.warning("%s has a model card already, which is kept", repo_id)
        else:
            _add_card(folder, Path(source) if source else None, repo_id, architecture, license)
        return push_folder(folder, repo_id, **options)


def _with_owner(repo_id: str, options: dict[str, Any]) -> str:
    """Return "owner/name" for a bare name, which is one of the logged-in user when it is pushed to, and no other's."""
    from huggingface_hub import HfApi

    if "/" in repo_id:
        return repo_id
    need_hub(repo_id)
    with explained_errors(repo_id, options.get("revision")):
        return f"{HfApi(token=options.get('token')).whoami()['name']}/{repo_id}"


def _has_card(repo_id: str, options: dict[str, Any]) -> bool:
    from huggingface_hub import HfApi

    if options.get("create_pr"):  # a request shows what it changes
        return False
    with explained_errors(repo_id, options.get("revision")):
        return HfApi(token=options.get("token")).file_exists(repo_id, CARD_NAME, revision=options.get("revision"))


def _add_card(folder: Path, source: Path | None, repo_id: str, architecture: str, licence: str | None) -> None:
    """Write the card of a model into the folder that is pushed, with the picture that it shows."""
    if source is not None and (source / CARD_NAME).is_file():
        text = (source / CARD_NAME).read_text(encoding="utf-8")
        if (source / CURVES_NAME).is_file():
            write_bytes(folder / CURVES_NAME, (source / CURVES_NAME).read_bytes())
    else:
        text = card_text(repo_id.split("/")[-1], architecture)
    text = text.replace(NAME_MARK, repo_id)
    if licence is not None:
        text = _licensed(text.replace(LICENCE_MARK, f"Licence: {licence}."), licence)
    write_text(folder / CARD_NAME, text)


def _licensed(text: str, licence: str) -> str:
    """Return a card whose metadata, the lines between two of --- in the beginning, state a licence."""
    first, line, rest = text.partition("---\n")
    if first or not line or "\n---\n" not in f"\n{rest}":  # a README without metadata, whatever lines it draws
        return f"---\nlicense: {licence}\n---\n\n{text}"
    metadata, _, content = f"\n{rest}".partition("\n---\n")
    others = [line for line in metadata.splitlines() if line and not line.startswith("license:")]
    return "\n".join(["---", f"license: {licence}", *others, "---", content])
