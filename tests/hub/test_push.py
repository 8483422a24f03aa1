"""Uploads, through the real client library, to a stand-in of the hub on this machine."""

import pytest

from beit.errors import CheckpointError
from beit.hub import push_folder
from beit.hub.card import push_model
from beit.hub.push import push_saved

pytestmark = pytest.mark.e2e


def test_what_was_pushed_can_be_fetched(hub, model, ask):
    answers = ask(
        f"folder = pathlib.Path({str(model)!r})\n"
        "attempt('anonymous', hub.push_folder, folder, 'me/new', token=False)\n"
        "attempt('url', hub.push_folder, folder, 'me/new', token='hf_me', private=True)\n"
        "get('config', repo_id='me/new', token='hf_me')\n"
        "get('stranger', repo_id='me/new', token='hf_other', cache_dir=str(folder.parent / 'empty'))\n"
        "(folder / 'config.json').write_text('changed')\n"
        "attempt('again', hub.push_folder, folder, 'me/new', token='hf_me', revision='next')\n"
        "get('branch', repo_id='me/new', token='hf_me', revision='next')\n"
        "get('main', repo_id='me/new', token='hf_me')\n"
        "attempt('request', hub.push_folder, folder, 'me/new', token='hf_me', create_pr=True)\n"
        "get('requested', repo_id='me/new', token='hf_me', revision='refs/pr/1')\n"
        "attempt('bare', hub.push_folder, folder, 'bare', token='hf_me')\n"
        "get('public', repo_id='tester/bare', token=False)\n"
    )
    assert answers["anonymous"][0] == "UnavailableError"
    assert "hf auth login" in answers["anonymous"][1]
    assert answers["url"] == answers["again"] == f"{hub.url}/me/new"
    assert answers["config"] == answers["main"] == "the config"
    assert "does not exist" in answers["stranger"][1]
    assert answers["branch"] == answers["requested"] == "changed"
    assert answers["request"] == f"{hub.url}/me/new/discussions/1"
    assert answers["bare"] == f"{hub.url}/tester/bare"
    assert answers["public"] == "changed"
    files = hub.repositories["me/new"].revisions["main"].files
    assert sorted(files) == ["README.md", "config.json", "model.safetensors", "sub/config.json"]


def test_offline(model, ask):
    code = f"attempt('url', hub.push_folder, pathlib.Path({str(model)!r}), 'me/new', token='hf_me')"
    kind, message, cause = ask(code, HF_HUB_OFFLINE="1")["url"]
    assert (kind, cause) == ("UnavailableError", "OfflineModeIsEnabled")
    assert "HF_HUB_OFFLINE=1" in message


def test_what_cannot_be_pushed(tmp_path):
    with pytest.raises(CheckpointError, match="is not a folder"):
        push_folder(tmp_path / "nothing", "me/new")
    with pytest.raises(CheckpointError, match="cannot be combined with create_pr"):
        push_folder(tmp_path, "me/new", revision="next", create_pr=True)
    with pytest.raises(CheckpointError, match="neither a folder nor a name"):
        push_folder(tmp_path, "not a name", token=True)


@pytest.mark.parametrize("repo_id", [None, 5, "", "a/b/c"])
def test_names_that_are_none_are_refused_before_anything_is_saved(repo_id):
    def save(_):
        raise AssertionError("it is saved")

    for push in (lambda: push_saved(save, repo_id), lambda: push_model(save, repo_id, "", "BeitModel")):
        with pytest.raises(CheckpointError, match="is neither a folder nor a name on the hub; expected an existing"):
            push()
