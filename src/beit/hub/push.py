"""Upload of folders to the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from beit.errors import CheckpointError
from beit.hub.hub_errors import explained_errors
from beit.hub.network import need_hub

if TYPE_CHECKING:
    from huggingface_hub import HfApi, ModelCard

CARD_NAME = "README.md"
# huggingface_hub is imported inside the functions: whoever only saves into folders should not pay for loading it.


def check_repo_id(repo_id: str) -> None:
    """Refuse what is no name of a repository, before anything is written for it.

    Raises:
        CheckpointError: Saying what was expected.
    """
    from huggingface_hub.utils import validate_repo_id

    with explained_errors(repo_id, None):
        validate_repo_id(repo_id or "")  # it lets None pass


def push_folder(
    folder: Path,
    repo_id: str,
    *,
    token: str | bool | None = None,
    private: bool | None = None,
    revision: str | None = None,
    commit_message: str = "Upload model",
    commit_description: str | None = None,
    create_pr: bool = False,
    tags: str | Sequence[str] | None = None,
    language: str | None = None,
    ignore_metadata_errors: bool = False,
) -> str:
    """Upload a folder to the hub, creating the repository and branch if needed; return the address of the result.

    Args:
        folder: What to upload; hidden git folders are left out.
        repo_id: "owner/name", or "name" for a repository of the logged-in user.
        token: Access token with the right to write; the saved login if None.
        private: Visibility of a repository that is created; the default of its owner if None.
        revision: Branch to write to; the default branch if None.
        commit_message: First line of the commit.
        commit_description: What follows that line.
        create_pr: Open a pull request (against the default branch) instead of writing to the branch.
        tags: What the repository is found by, beside the tags that its card has.
        language: Language of what the model was made for, which its card states, such as "en".
        ignore_metadata_errors: Drop the results of a card (its `model-index`) that tags or language are written into,
            where they cannot be read.

    Raises:
        CheckpointError: If the folder does not exist or the hub refuses it.
    """
    from huggingface_hub import HfApi

    if not folder.is_dir():
        raise CheckpointError(f"{folder} is not a folder; expected the folder of a saved model, save the model first")
    if create_pr and revision is not None:
        raise CheckpointError(
            f"revision '{revision}' cannot be combined with create_pr=True, because a pull request goes to the default "
            "branch; drop one of the two"
        )
    check_repo_id(repo_id)
    need_hub(repo_id)
    with explained_errors(repo_id, revision):
        api = HfApi(token=token)
        repo = api.create_repo(repo_id, private=private, exist_ok=True)
        if revision is not None and not revision.startswith("refs/"):  # refs/pr/7 exists once its request was opened
            api.create_branch(repo.repo_id, branch=revision, exist_ok=True)
        if tags or language:
            words = [tags] if isinstance(tags, str) else tags or ()
            card = _card(api, folder, repo.repo_id, revision, ignore_metadata_errors)
            _state(card, words, language)
            card.save(folder / CARD_NAME)
        commit = api.upload_folder(
            repo_id=repo.repo_id,
            folder_path=folder,
            revision=revision,
            commit_message=commit_message,
            commit_description=commit_description,
            create_pr=create_pr,
        )
    return commit.pr_url or str(repo)


def _card(api: HfApi, folder: Path, repo_id: str, revision: str | None, ignore_metadata_errors: bool) -> ModelCard:
    """Return the model card that is pushed; where none is, that of the repository, or a new one.

    Raises:
        CheckpointError: If its metadata cannot be read.
    """
    from huggingface_hub import ModelCard
    from yaml import YAMLError

    path = folder / CARD_NAME
    if not path.exists() and api.file_exists(repo_id, CARD_NAME, revision=revision):
        path = Path(api.hf_hub_download(repo_id, CARD_NAME, revision=revision))
    if not path.exists():
        return ModelCard("---\nlibrary_name: beit\n---\n")
    try:
        return ModelCard.load(path, ignore_metadata_errors=ignore_metadata_errors)
    except (ValueError, YAMLError) as error:
        raise CheckpointError(
            f"the metadata of {CARD_NAME} of {repo_id} cannot be read ({error}); expected YAML between two lines "
            "of ---: correct it, or push without tags and language, which leaves it as it is"
        ) from error


def _state(card: ModelCard, tags: Sequence[str], language: str | None) -> None:
    """Write tags, beside those that it has, and the language into a model card."""
    data: Any = card.data
    if tags:
        data.tags = list(dict.fromkeys([*(data.get("tags") or []), *tags]))
    if language:
        data.language = language


def push_saved(save: Callable[[Path], object], repo_id: str, **options: Any) -> str:
    """Upload what `save` writes into a folder; return the address of the result.

    Args:
        save: Writes the files.
        repo_id: "owner/name", or "name" for a repository of the logged-in user.
        **options: Those of `push_folder`.

    Raises:
        CheckpointError: If the hub cannot be reached or refuses.
    """
    check_repo_id(repo_id)
    with TemporaryDirectory() as folder:
        save(Path(folder))
        return push_folder(Path(folder), repo_id, **options)
