"""Options that are one file: the config and the image processor, written and uploaded alike."""

import json

import pytest

from beit import BeitConfig, BeitImageProcessor
from beit.errors import ConfigError
from beit.hub import saved_options

KINDS = pytest.mark.parametrize(
    ("kind", "name"), [(BeitConfig, "config.json"), (BeitImageProcessor, "preprocessor_config.json")]
)


@pytest.fixture
def uploads(monkeypatch, tmp_path):
    """What was uploaded: the repository, its files, and the arguments."""
    seen = []

    def push(save, repo_id, **options):
        save(tmp_path / "staged")
        seen.append((repo_id, sorted(file.name for file in (tmp_path / "staged").iterdir()), options))
        return f"https://hub/{repo_id}"

    monkeypatch.setattr(saved_options, "push_saved", push)
    return seen


@KINDS
def test_it_is_written_into_a_folder_and_read_back(kind, name, tmp_path):
    kind().save_pretrained(tmp_path / "new" / "folder")
    assert [file.name for file in (tmp_path / "new/folder").iterdir()] == [name]
    assert kind.from_pretrained(tmp_path / "new/folder").to_dict() == kind().to_dict()
    kind().to_json_file(tmp_path / "one.json")
    assert json.loads((tmp_path / "one.json").read_text()) == json.loads((tmp_path / f"new/folder/{name}").read_text())


@KINDS
def test_saving_uploads_under_the_folders_name_or_another(kind, name, tmp_path, uploads):
    kind().save_pretrained(tmp_path / "mine", push_to_hub=True)
    kind().save_pretrained(tmp_path / "mine", push_to_hub=True, repo_id="me/other", private=True)
    assert [(repo, files) for repo, files, _ in uploads] == [("mine", [name]), ("me/other", [name])]
    assert uploads[1][2].items() >= {"commit_message": kind.COMMIT_MESSAGE, "private": True, "tags": None}.items()
    assert kind().push_to_hub("me/third", commit_message="Mine") == "https://hub/me/third"
    assert uploads[2][2].items() >= {"commit_message": "Mine", "private": None}.items()


@KINDS
def test_arguments_of_an_upload_need_one(kind, name, tmp_path):
    with pytest.raises(ConfigError, match=r"does not know \['private'\]; push_to_hub=True takes more"):
        kind().save_pretrained(tmp_path / "mine", private=True)
    assert not (tmp_path / "mine").exists()
