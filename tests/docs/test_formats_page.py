"""The page about files knows every option of the config, with its default, and every part of a run folder."""

import inspect
import json
import re
from pathlib import Path

from beit import BeitConfig, DiscreteVAEConfig, KMeansConfig, VQKDConfig
from beit.engine import run_folder
from beit.inference.export import card

PAGE = (Path(__file__).parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")


def part(title):
    """The text below a heading, up to the next one."""
    return re.split(r"^#+ ", PAGE.split(f" {title}\n", 1)[1], flags=re.MULTILINE)[0]


def test_every_option_with_its_default():
    rows = re.findall(r"^\| `(\w+)` \| `(.+?)` \|", part("config.json").split("Beside the signature")[0], flags=re.M)
    documented = {name: json.loads(default) for name, default in rows}
    parameters = inspect.signature(BeitConfig).parameters.values()
    assert documented == {one.name: one.default for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD}


def test_every_key_that_is_written():
    config = BeitConfig(id2label={0: "a"}, problem_type="regression", output_attentions=True, return_dict=False,
                        out_indices_meaning="original", batch_norm_eps=0.1, architectures=["BeitModel"],
                        output_hidden_states=True, mask_tokens_in_decoder=True)  # fmt: skip
    named = set(re.findall(r"`(\w+)`", part("config.json")))
    assert config.to_diff_dict().keys() - named == set()


def test_every_part_of_a_run_folder():
    listed = re.findall(r"^([\w.]+)/? {2,}", run_folder.__doc__, flags=re.M)
    assert len(listed) > 10
    assert [name for name in listed if f"`{name}" not in part("A run folder")] == []


def test_every_option_of_a_tokenizer():
    text = part("A tokenizer folder")
    for kind in (DiscreteVAEConfig, KMeansConfig, VQKDConfig):
        assert [name for name in inspect.signature(kind).parameters if f"`{name}`" not in text] == []


def test_every_key_of_an_export():
    written = set(re.findall(r'^        "(\w+)": ', inspect.getsource(card.description_of), flags=re.M))
    named = set(re.findall(r"`(\w+)`", part("An exported folder")))
    assert {"task", "sha256", "batch"} <= written
    assert written - named == set()
