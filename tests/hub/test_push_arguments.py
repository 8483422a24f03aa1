"""Arguments of the published `push_to_hub`, by themselves and up to the hub of the tests."""

import pytest

from beit.errors import BeitError
from beit.hub.push_arguments import push_target


@pytest.mark.parametrize(
    ("repo_id", "given", "expected"),
    [
        ("mine", {}, "mine"),
        ("mine", {"organization": "org"}, "org/mine"),
        ("me/mine", {"organization": "org"}, "org/mine"),
        (None, {"repo_path_or_name": "me/mine"}, "me/mine"),
        (None, {"repo_path_or_name": "a_folder", "organization": "org"}, "org/a_folder"),
        (None, {"repo_url": "https://huggingface.co/me/mine"}, "me/mine"),
        (None, {"repo_url": "https://huggingface.co/me/mine/", "organization": "org"}, "org/mine"),
    ],
)
def test_earlier_names_of_a_repository(repo_id, given, expected, tmp_path, monkeypatch):
    (tmp_path / "a_folder").mkdir()
    monkeypatch.chdir(tmp_path)
    if "a_folder" in given.values():
        given["repo_path_or_name"] = str(tmp_path / "a_folder")
    assert push_target(repo_id, None, None, given) == (expected, None)
    assert given == {}


def test_earlier_name_of_the_token():
    assert push_target("mine", None, None, {"use_auth_token": True}) == ("mine", True)
    assert push_target("mine", "hf_one", None, {"use_auth_token": "hf_one"}) == ("mine", "hf_one")
    with pytest.raises(BeitError, match=r"two different ones; expected one: pass token alone") as caught:
        push_target("mine", "hf_one", None, {"use_auth_token": "hf_two"})
    assert "hf_" not in str(caught.value)


def test_no_repository_or_two():
    with pytest.raises(BeitError, match=r"repo_id is None, .*; expected one of them: pass repo_id='owner/name'"):
        push_target(None, None, None, {})
    with pytest.raises(BeitError, match=r"repo_id is 'mine', .* repo_url 'https://hub/me/other'"):
        push_target("mine", None, None, {"repo_url": "https://hub/me/other"})


def test_what_has_no_effect_and_what_is_unknown():
    with pytest.warns(UserWarning, match="use_temp_dir is False; files are written into a temporary folder"):
        push_target("mine", None, False, {})
    given = {"language": "en", "variant": "fp16"}
    assert push_target("mine", None, True, given, ("variant",)) == ("mine", None)
    assert given == {"language": "en", "variant": "fp16"}
    with pytest.raises(BeitError, match=r"does not know \['variant'\]; .* takes ignore_metadata_errors, language"):
        push_target("mine", None, None, given)


PUSHES = """
folder = pathlib.Path(FOLDER)
import beit, warnings
config = beit.BeitConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=37)
objects = {"model": beit.BeitModel(config), "flax": beit.FlaxBeitModel(config, input_shape=(1, 224, 224, 3))}
objects |= {"config": config, "processor": beit.BeitImageProcessor()}
for name, one in objects.items():
    attempt(name, one.push_to_hub, name, organization="org", use_auth_token="hf_me", language="en", tags="small")
    attempt(f"{name} unknown", one.push_to_hub, name, speling=1)
    attempt(f"{name} saved", one.save_pretrained, folder / name, push_to_hub=True, organization="org", token="hf_me")
"""


@pytest.mark.e2e
def test_they_reach_the_hub_from_every_object(hub, model, ask):
    answers = ask(PUSHES.replace("FOLDER", repr(str(model))))
    for name in ("model", "flax", "config", "processor"):
        assert answers[name] == f"{hub.url}/org/{name}"
        assert "push_to_hub does not know ['speling']" in answers[f"{name} unknown"][1]
        card = hub.repositories[f"org/{name}"].revisions["main"].files["README.md"].read_text(encoding="utf-8")
        assert "language: en\n" in card
        assert "- small\n" in card


@pytest.mark.e2e
def test_a_card_that_cannot_be_read(hub, ask, tmp_path):
    for name, metadata in {"broken": "tags: [a", "results": "model-index: none"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "README.md").write_text(f"---\n{metadata}\n---\nby hand")
        hub.add(f"me/{name}", tmp_path / name)
    answers = ask(
        "import beit\n"
        "push = beit.BeitConfig().push_to_hub\n"
        "attempt('broken', push, 'me/broken', tags='small', token='hf_me')\n"
        "attempt('refused', push, 'me/results', tags='small', token='hf_me')\n"
        "attempt('dropped', push, 'me/results', tags='small', token='hf_me', ignore_metadata_errors=True)\n"
    )
    for name, repository in (("broken", "me/broken"), ("refused", "me/results")):
        assert answers[name][0] == "CheckpointError"
        assert f"README.md of {repository} cannot be read" in answers[name][1]
    assert answers["dropped"] == f"{hub.url}/me/results"
    card = hub.repositories["me/results"].revisions["main"].files["README.md"].read_text(encoding="utf-8")
    assert "small" in card
    assert "by hand" in card
