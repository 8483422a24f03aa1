"""JSON, YAML and CSV of anybody: every fault is an error of one line, soon, wherever such a file is read."""

import json

import pytest

from beit import BeitConfig, BeitForImageClassification, BeitImageProcessor
from beit.cli.main import main
from beit.data import open_source, read_classes, with_labels
from beit.errors import BeitError
from beit.files import read_yaml, strict_csv, strict_json, strict_yaml
from beit.tokenizer import load_tokenizer
from tests.shards import picture_bytes
from tests.watchdog import assert_within

LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
JSON = {
    "nested 200,000 deep": "[" * 200_000 + "]" * 200_000,
    "nested 900 deep": '{"a":' * 900 + "1" + "}" * 900,
    "a number of 400 digits": '{"a": ' + "9" * 400 + "}",
    "a number of 5,000 digits": '{"a": ' + "9" * 5000 + "}",
    "an exponent": '{"a": 1e400}',
    "infinity": '{"a": Infinity}',
    "no number": '{"a": NaN}',
    "half a character": '{"a": "\\ud800"}',
    "half a character in a name": '{"\\udc00": 1}',
    "a name twice": '{"a": 1, "a": 2}',
    "cut": '{"a": ',
    "nothing": "",
    "NULs": "\0" * 100,
}


@pytest.mark.parametrize("name", JSON)
def test_json(name):
    with assert_within(seconds=5, megabytes=256), pytest.raises((ValueError, RecursionError)):
        strict_json(JSON[name])


def test_sound_json():
    assert strict_json('{"a": [1, -2.5e3, "\\u00e9\\ud83d\\ude00", null]}') == {"a": [1, -2500.0, "é😀", None]}
    assert strict_json('{"a": Infinity}', finite=False) == {"a": float("inf")}


@pytest.mark.parametrize(
    "text", [LAUGHS, "a: 1\na: 2", "a: [" * 5000, "[" * 100_000, "!!python/name:os.system", "a: \0"]
)
def test_yaml(text):
    with assert_within(seconds=10, megabytes=512), pytest.raises((ValueError, RecursionError)):
        strict_yaml(text)


def test_sound_yaml():
    assert strict_yaml("a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}") == {
        "a": {"b": 1},
        "c": {"b": 1},
        "d": {"b": 1, "e": 2},
    }
    assert strict_yaml("[10, -0, 0, 0x1f, 1_000, .5, 0.5, '010', 089]") == [10, 0, 0, 31, 1000, 0.5, 0.5, "010", "089"]


@pytest.mark.parametrize(("text", "number"), [("010", "8"), ("-017", "-15"), ("1:30", "90"), ("1:30.5", "90.5")])
def test_numbers_that_few_mean_as_yaml_reads_them(text, number):
    """Steps of a recipe became others, and so did names of classes that begin with a nought."""
    with pytest.raises(ValueError, match=rf"'{text}' is {number} in YAML; write that, or a name in quotes"):
        strict_yaml(f"a: {text}")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a,a\n1,2\n", "the column 'a' stands twice"),
        ("a,b\n1,2,3\n", "line 2 has 3 cells; expected 2"),
        ("a\n" + "x" * 200_000 + "\n", "line 2: field larger"),
        ('a\n"x', "unexpected end of data"),
    ],
)
def test_csv(text, reason):
    with pytest.raises(ValueError, match=reason):
        list(strict_csv(text))


def test_many_names_are_compared_in_no_time():
    with assert_within(seconds=20, megabytes=1024):
        strict_yaml("\n".join(f"a{n}: 1" for n in range(3_000)))
        strict_json("{" + ",".join(f'"a{n}":1' for n in range(200_000)) + "}")
        list(strict_csv(",".join(f"a{n}" for n in range(200_000)) + "\n1\n"))
        with pytest.raises(ValueError, match="'x' stands twice"):
            strict_json("{" + ",".join(f'"a{n}":1' for n in range(200_000)) + ',"x":1,"x":2}')


def test_a_quoted_line_break_stays():
    assert list(strict_csv('a,b\n"x\r\ny",2\n\n3\n')) == [(3, {"a": "x\r\ny", "b": "2"}), (5, {"a": "3"})]


@pytest.mark.parametrize("content", [text for text in JSON.values() if "twice" not in text])
@pytest.mark.parametrize(
    "name", ["config.json", "preprocessor_config.json", "labels.jsonl", "model.safetensors.index.json"]
)
def test_every_reader(tmp_path, name, content):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(picture_bytes(1))
    (tmp_path / name).write_text(content)
    readers = {
        "config.json": [BeitConfig.from_pretrained, BeitForImageClassification.from_pretrained, load_tokenizer],
        "preprocessor_config.json": [BeitImageProcessor.from_pretrained],
        "labels.jsonl": [lambda place: with_labels(open_source(str(place / "a")), str(place / "a"), str(place / name))],
        "model.safetensors.index.json": [
            lambda place: BeitForImageClassification.from_pretrained(place, config=BeitConfig())
        ],
    }
    for read in readers[name]:
        with assert_within(seconds=5, megabytes=512), pytest.raises(BeitError) as error:
            read(tmp_path)
        assert len(str(error.value)) < 1500


@pytest.mark.parametrize("options", [{"size": 200_000}, {"crop_size": 2**31}, {"size": {"shortest_edge": 10**9}}])
def test_sizes_that_would_fill_the_memory(tmp_path, options):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(options))
    with pytest.raises(BeitError, match="up to 16384"):
        BeitImageProcessor.from_pretrained(tmp_path)


def test_a_file_of_four_gigabytes(tmp_path):
    with (tmp_path / "preprocessor_config.json").open("wb") as file:
        file.truncate(2**32)
    with assert_within(seconds=5, megabytes=64), pytest.raises(BeitError, match="it has 4294967296 bytes"):
        BeitImageProcessor.from_pretrained(tmp_path)


@pytest.mark.parametrize("shard", ["x" * 300, "..", "a\0b", "../a", "a/b", "", ".", "a\nb", 5])
def test_names_of_shards(tmp_path, shard):
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))
    with pytest.raises(BeitError, match="names the shard"):
        BeitForImageClassification.from_pretrained(tmp_path, config=BeitConfig())


@pytest.mark.parametrize("argument", ["x" * 5000, "a/" * 3000, "a\0b", "\ud800" * 300])
def test_arguments_that_are_no_path(argument):
    for read in (
        BeitConfig.from_pretrained, BeitForImageClassification.from_pretrained, BeitImageProcessor.from_pretrained,
        load_tokenizer, open_source,
    ):  # fmt: skip
        with pytest.raises(BeitError, match="is no path, nor a name on the hub"):
            read(argument)


@pytest.mark.parametrize("recipe", [LAUGHS, "train: {max_steps: 1}\ntrain: {max_steps: 2}\n", "a: \0", "[" * 100_000])
def test_a_recipe_of_anybody(tmp_path, capsys, recipe):
    (tmp_path / "a.yaml").write_text(recipe)
    with assert_within(seconds=20, megabytes=1024):
        assert main(["pretrain", str(tmp_path / "a.yaml"), "--data.path=digits:train"]) == 1
    said = capsys.readouterr().err
    assert "a.yaml is not readable YAML" in said
    assert len(said) < 1000


def test_a_recipe_that_would_be_read_for_minutes(tmp_path):
    (tmp_path / "a.yaml").write_text("a: 1\n" * 60_000)
    with pytest.raises(BeitError, match="it has 300000 bytes; expected at most 262144"):
        read_yaml(tmp_path / "a.yaml", "a recipe", "shorten it")


def test_a_file_of_classes_without_end(tmp_path):
    with (tmp_path / "classes.txt").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(BeitError, match="expected at most"):
        read_classes(str(tmp_path / "classes.txt"))
