"""Model cards, and what models, configs and processors put on the hub of the tests."""

import json

import pytest
import yaml

from beit import BeitForImageClassification, BeitImageProcessor
from beit.hub.card import CARD_NAME, NAME_MARK, card_text
from tests.conftest import GOLDEN
from tests.fake_hub import FakeHub

pytestmark = pytest.mark.e2e

TOKEN = "hf_any"  # noqa: S105  # of the hub of the tests
CODE = """
import json, sys
from beit import BeitConfig, BeitForImageClassification, BeitImageProcessor, FlaxBeitForImageClassification
folder = sys.argv[1] if len(sys.argv) > 1 else FOLDER
model = BeitForImageClassification.from_pretrained(folder)
"""


@pytest.fixture
def hub():
    with FakeHub() as running:
        yield running


@pytest.fixture
def folder(tmp_path):
    BeitForImageClassification.from_pretrained(GOLDEN / "hf_v4/classify_single").save_pretrained(tmp_path / "model")
    BeitImageProcessor().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def push(hub, folder, tmp_path):
    """Run code that pushes, in a process that sees the hub; return what it printed and the files of a repository."""

    def run(code, repo_id="me/model"):
        begin = CODE.replace("FOLDER", repr(str(folder)))
        process = hub.python(f"{begin}\n{code}", tmp_path / "home", HF_TOKEN=TOKEN)
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        pushed = hub.repositories[repo_id].revisions["main"].files
        return output + errors, {name: path.read_text(errors="replace") for name, path in pushed.items()}

    return run


def test_a_model_comes_with_a_card_that_says_how_to_load_it(push):
    said, files = push('print(model.push_to_hub("me/model", license="apache-2.0", private=False))')
    assert "me/model" in said
    assert {"config.json", "model.safetensors", CARD_NAME} <= files.keys()
    card = files[CARD_NAME]
    assert card.startswith("---\nlicense: apache-2.0\nlibrary_name: beit\npipeline_tag: image-classification\n")
    assert 'BeitForImageClassification.from_pretrained("me/model")' in card
    assert "Licence: apache-2.0." in card
    assert NAME_MARK not in card


def test_the_card_of_a_run_goes_with_its_model(push, folder):
    (folder / CARD_NAME).write_text(card_text("mine: fine-tuning", "BeitForImageClassification", "\n## Results\n"))
    (folder / "curves.svg").write_text("<svg/>")
    _, files = push('model.push_to_hub("me/model")')
    assert "# mine: fine-tuning" in files[CARD_NAME]
    assert files["curves.svg"] == "<svg/>"
    assert 'from_pretrained("me/model")' in files[CARD_NAME]
    assert "license:" not in files[CARD_NAME]


def test_a_name_alone_is_a_repository_of_the_user(hub, push, tmp_path):
    _, files = push('model.push_to_hub("named")', "tester/named")
    assert 'BeitForImageClassification.from_pretrained("tester/named")' in files[CARD_NAME]
    (tmp_path / "before").mkdir()
    (tmp_path / "before" / CARD_NAME).write_text("written by hand")
    hub.add("tester/named", tmp_path / "before")
    said, files = push('model.push_to_hub("named")', "tester/named")
    assert "tester/named has a model card already, which is kept" in said
    assert files[CARD_NAME] == "written by hand"


@pytest.mark.parametrize(
    ("readme", "expected"),
    [
        ("# Mine\n\n---\nMore.\n", "---\nlicense: mit\n---\n\n# Mine\n\n---\nMore.\n"),
        ("---\nlicense: other\ntags:\n- a\n---\n# Mine\n", "---\nlicense: mit\ntags:\n- a\n---\n# Mine\n"),
        ("---\ntags: [a]\n---\n\n# Mine\n", "---\nlicense: mit\ntags: [a]\n---\n\n# Mine\n"),
        ("---\n# Mine, below a line\n", "---\nlicense: mit\n---\n\n---\n# Mine, below a line\n"),
    ],
)
def test_a_licence_stands_in_the_metadata_of_any_readme(push, folder, readme, expected):
    (folder / CARD_NAME).write_text(readme)
    assert push('model.push_to_hub("me/model", license="mit")')[1][CARD_NAME] == expected


def test_a_card_that_is_there_is_kept(hub, push, tmp_path):
    (tmp_path / "before").mkdir()
    (tmp_path / "before" / CARD_NAME).write_text("written by hand")
    hub.add("me/model", tmp_path / "before")
    said, files = push('model.push_to_hub("me/model")')
    assert "me/model has a model card already, which is kept" in said
    assert files[CARD_NAME] == "written by hand"


def test_saving_pushes_with_its_own_arguments(push, tmp_path):
    _, files = push(
        f"""
folder = {str(tmp_path / "saved")!r}
model.save_pretrained(folder, push_to_hub=True, repo_id="me/model", variant="fp16", token="hf_any")
"""
    )
    assert {"config.json", "model.fp16.safetensors", CARD_NAME} <= files.keys()


def test_configs_and_processors(push):
    _, files = push(
        """
config = model.config
config.push_to_hub("me/model", commit_message="The config", token="hf_any")
processor = BeitImageProcessor.from_pretrained(folder)
processor.push_to_hub("me/model")
"""
    )
    assert json.loads(files["config.json"])["model_type"] == "beit"
    assert json.loads(files["preprocessor_config.json"])["image_processor_type"]
    assert CARD_NAME not in files
    code = 'BeitConfig().save_pretrained(folder + "/saved", push_to_hub=True, repo_id="me/config")'
    _, files = push(code, "me/config")
    assert set(files) == {"config.json"}


def test_flax_models(push):
    _, files = push('FlaxBeitForImageClassification.from_pretrained(folder).push_to_hub("me/model", token="hf_any")')
    assert {"config.json", "flax_model.msgpack", CARD_NAME} <= files.keys()
    assert 'FlaxBeitForImageClassification.from_pretrained("me/model")' in files[CARD_NAME]


PUBLISHED = """
given = dict(
    commit_message=None, private=None, token=None, max_shard_size="5GB", create_pr=False, safe_serialization=True,
    revision=None, commit_description="More about it", tags=["mine", "small"],
)
processor = BeitImageProcessor.from_pretrained(folder)
flax = FlaxBeitForImageClassification.from_pretrained(folder)
for name, one in {"model": model, "config": model.config, "processor": processor, "flax": flax}.items():
    repository = f"me/{name}"
    one.push_to_hub(repository, use_temp_dir=True, **given)
    one.push_to_hub(repository, False, "A message", tags="more", use_auth_token="hf_any")
"""


@pytest.mark.parametrize("name", ["model", "config", "processor", "flax"])
def test_every_published_argument_is_taken(push, name):
    _, files = push(PUBLISHED, f"me/{name}")
    metadata = yaml.safe_load(files[CARD_NAME].split("---")[1])
    assert metadata["library_name"] == "beit"
    assert metadata["tags"][-3:] == ["mine", "small", "more"]
