"""Data sets of the hub, through the real client library against a stand-in of the hub on this machine."""

import json
import shutil
import tarfile

import numpy as np
import pyarrow.parquet as pq
import pytest

from beit.errors import DataError
from tests.fake_hub import FakeHub
from tests.shards import write_parquet, write_shards

pytestmark = pytest.mark.e2e

PRELUDE = """
import json, sys, time
from beit.data import *
from beit.errors import BeitError
from tests.shards import number_of
time.sleep = lambda seconds: None  # the client waits between its own attempts
answers = {}

def attempt(function):
    try:
        return function()
    except BeitError as error:
        return [type(error).__name__, str(error)]

def numbers(source):
    return [number_of(source.load(index)) for index in range(len(source))]
"""


@pytest.fixture
def hub():
    with FakeHub() as running:
        yield running


@pytest.fixture
def pics(hub, tmp_path):
    """Forty pictures in four shards, and ten to test on."""
    write_parquet(tmp_path / "pics" / "data")
    (test,) = write_parquet(tmp_path / "test", 10, 1)
    shutil.copy(test, tmp_path / "pics" / "data" / "test-00000-of-00001.parquet")
    (tmp_path / "pics" / "README.md").write_text("Pictures")
    hub.add("datasets/owner/pics", tmp_path / "pics")
    return tmp_path / "pics"


@pytest.fixture
def ask(hub, tmp_path):
    """Run a scenario in another process; return what it put into `answers`."""

    def run(code, **variables):
        places = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "HF_DATASETS_CACHE": str(tmp_path / "datasets")}
        home = tmp_path / "home"
        process = hub.python(f"{PRELUDE}\n{code}\nprint(json.dumps(answers))", home, **places, **variables)
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        answers = json.loads(output.splitlines()[-1])
        return answers | {"stderr": errors} if errors else answers

    return run


def whole(hub):
    """The files that were downloaded, in order."""
    return [path.rpartition("/")[2] for method, path, span in hub.requests
            if method == "GET" and "/resolve/" in path and span is None]  # fmt: skip


def test_a_shard_is_fetched_when_a_picture_of_it_is_wanted(hub, pics, ask):
    answers = ask("""
source = open_source("hub:owner/pics")
answers["sizes"], answers["classes"] = source.shard_sizes.tolist(), source.classes
answers["labels"], answers["name"] = source.labels.tolist(), source.name(25)
answers["fingerprint"] = fingerprint(source)
train, val = split(source, 0.1, seed=0)
""")
    assert answers["sizes"] == [10] * 4
    assert answers["classes"] == ["0", "1", "2"]
    assert answers["labels"] == [number % 3 for number in range(40)]
    assert answers["name"] == "owner/pics/data/train-00002-of-00004.parquet, row 5"
    assert whole(hub) == [], "ends of files are enough to know all this"
    asked = len(hub.requests)
    answers = ask("""
source = open_source("hub:owner/pics")
answers["number"] = number_of(source.load(25))
answers["again"] = number_of(source.load(21))
answers["fingerprint"] = fingerprint(source)
""") | {"before": answers["fingerprint"]}
    assert (answers["number"], answers["again"]) == (25, 21)
    assert answers["before"] == answers["fingerprint"]
    assert whole(hub) == ["train-00002-of-00004.parquet"]
    assert len(hub.requests) - asked == 3, "the commit, the head and the body of one file: the index is kept"


BATCHES = """
from beit.image import Preprocessing
def batches(source, workers, window=12):
    dataset = ViewDataset(source, Views(Preprocessing((16, 16), (18, 18)), Augmentation()), 5, replace_broken=True)
    order = BatchOrder(len(source), 8, 6, 5, window=window, shard_sizes=dataset.shard_sizes)
    for batch in training_batches(dataset, order, Collate(5), workers):
        yield batch
def record(source, workers, window=12):
    return [[batch.indices, float(batch.tensors["pixel_values"].sum())] for batch in batches(source, workers, window)]
"""


def test_batches_are_those_of_the_same_files_on_a_disk(pics, ask, hub):
    answers = ask(f"""
{BATCHES}
for workers in (0, 2):
    answers[str(workers)] = record(open_source("hub:owner/pics"), workers)
answers["disk"] = record(open_source({str(pics / "data")!r} + "/train-*.parquet"), 0)
answers["part"] = record(split(open_source("hub:owner/pics"), 0.1, 0)[0], 2)
""")
    assert answers["0"] == answers["2"] == answers["disk"]
    assert len(answers["part"]) == 6
    assert sorted(whole(hub)) == [f"train-0000{shard}-of-00004.parquet" for shard in range(4)], "each once"


def test_shards_are_fetched_in_the_order_of_the_run(pics, ask, hub):
    answers = ask(f"""
{BATCHES}
source = open_source("hub:owner/pics")
answers["order"] = []
for batch in batches(source, 0, window=10):
    answers["order"] += [index // 10 for index in batch.indices]
    if len(answers["order"]) == 8:
        source._thread.submit(lambda: None).result()  # what was begun is done
        answers["fetched"] = [shard for shard in range(4) if source._dataset.cached(source._files[shard])]
""")
    order = list(dict.fromkeys(answers["order"]))
    assert [f"train-0000{shard}-of-00004.parquet" for shard in order] == whole(hub)
    assert set(answers["fetched"]) == set(order[:3]), "those in use, and the next ten pictures"


def test_pictures_of_a_commit_are_others_in_another_column_or_range(ask, hub, tmp_path):
    write_parquet(tmp_path / "two" / "data", 4, 1)
    file = next((tmp_path / "two" / "data").iterdir())
    table = pq.read_table(file)
    pq.write_table(table.append_column("depth", table["image"]), file)
    hub.add("datasets/owner/two", tmp_path / "two")
    answers = ask("""
from beit.image import BandOptions
options = {"none": {}, "image": {"columns": ("image",)}, "depth": {"columns": ("depth",)},
           "range": {"bands": BandOptions(3, (0, 9))}}
for name, given in options.items():
    answers[name] = fingerprint(open_source("hub:owner/two", **given))
""")
    assert answers["none"] == answers["image"]
    assert len(set(answers.values())) == 3


def test_splits_and_revisions(pics, ask, hub, tmp_path):
    write_parquet(tmp_path / "small" / "data", 20, 2)
    commit = hub.add("datasets/owner/pics", tmp_path / "small", revision="v2")
    answers = ask(f"""
for name in ("hub:owner/pics:test", "hub:owner/pics@v2", "hub:owner/pics:train@{commit}"):
    answers[name] = len(open_source(name))
answers["numbers"] = numbers(open_source("hub:owner/pics:test"))
""")
    assert list(answers.values()) == [10, 20, 20, list(range(10))]
    hub.add("datasets/owner/pics", tmp_path / "small")
    assert ask('answers["length"] = len(open_source("hub:owner/pics"))')["length"] == 20, "another commit"


def test_offline(pics, ask, hub):
    before = ask('answers["numbers"] = numbers(open_source("hub:owner/pics"))')["numbers"]
    assert before == list(range(40))
    asked = len(hub.requests)
    answers = ask('answers["numbers"] = numbers(open_source("hub:owner/pics"))', HF_HUB_OFFLINE="1")
    assert answers["numbers"] == before
    never = ask('answers["error"] = attempt(lambda: open_source("hub:owner/other"))', HF_HUB_OFFLINE="1")["error"]
    assert never[0] == "DataError"
    assert never[1].startswith("data set 'owner/other' has not been used here before and HF_HUB_OFFLINE=1")
    assert len(hub.requests) == asked


def test_offline_with_some_of_the_shards(pics, ask):
    ask("""
source = open_source("hub:owner/pics")
source.load(5), source.load(35)
""")
    answers = ask(
        """
source = open_source("hub:owner/pics")
answers["numbers"] = numbers(source)
answers["labels"] = source.labels.tolist()
answers["broken"] = [[shard.name, shard.reason] for shard in source.broken_shards]
""",
        HF_HUB_OFFLINE="1",
    )
    left = [*range(10), *range(30, 40)]
    assert answers["numbers"] == left
    assert answers["labels"] == [number % 3 for number in left]
    assert [name for name, _ in answers["broken"]] == [
        f"owner/pics/data/train-0000{shard}-of-00004.parquet" for shard in (1, 2)
    ]
    assert "has not been fetched" in answers["broken"][0][1]


def test_tar_shards_are_fetched_first(ask, hub, tmp_path):
    write_shards(tmp_path / "packed" / "train", label=lambda number: number // 20)
    hub.add("datasets/owner/packed", tmp_path / "packed")
    code = """
source = open_source("hub:owner/packed")
answers["numbers"], answers["labels"] = numbers(source), source.labels.tolist()
answers["sizes"] = source.shard_sizes.tolist()
"""
    expected = {"numbers": list(range(40)), "labels": [0] * 20 + [1] * 20, "sizes": [10] * 4}
    first = ask(code)
    assert first.pop("stderr") == "fetching owner/packed: 4 files\n", "a bar on a terminal"
    assert first == expected
    assert whole(hub) == [f"train-{shard:03d}.tar" for shard in range(4)]
    again = ask(code, HF_HUB_OFFLINE="1")
    again.pop("stderr", None)
    assert again == expected
    assert len(whole(hub)) == 4


def test_arrays_in_tar_shards_are_pictures_as_they_are_on_a_disk(ask, hub, tmp_path):
    (tmp_path / "arrays").mkdir()
    with tarfile.open(tmp_path / "arrays" / "train-0.tar", "w") as tar:
        for number in range(3):
            np.save(tmp_path / f"{number}.npy", np.full((16, 16, 2), number / 4, np.float32))
            tar.add(tmp_path / f"{number}.npy", f"{number}.npy")
    hub.add("datasets/owner/arrays", tmp_path / "arrays")
    answers = ask("""
from beit.image import BandOptions
source = open_source("hub:owner/arrays", bands=BandOptions(2))
answers["values"] = [float(source.open(number).decode().picture.unit_array().max()) for number in range(len(source))]
""")
    assert answers["values"] == [0, 0.25, 0.5]


def test_a_damaged_shard_is_named_and_left_out(ask, hub, pics):
    path = pics / "data" / "train-00001-of-00004.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    hub.add("datasets/owner/pics", pics)
    answers = ask("""
source = open_source("hub:owner/pics")
answers["broken"], answers["length"] = [shard.name for shard in source.broken_shards], len(source)
answers["number"] = number_of(source.load(10))
""")
    assert answers == {"broken": ["owner/pics/data/train-00001-of-00004.parquet"], "length": 30, "number": 20}


def test_what_goes_wrong_is_one_clear_line(ask, hub, pics, tmp_path):
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "README.md").write_text("no pictures")
    hub.add("datasets/owner/text", tmp_path / "text")
    hub.add("datasets/owner/closed", pics, token="hf_right")  # noqa: S106  # of a stand-in
    cases = {
        "hub:owner/absent": "'datasets/owner/absent' does not exist at .*or is private",
        "hub:owner/closed": "'datasets/owner/closed' does not exist at .*or is private",
        "hub:owner/pics@v9": "'datasets/owner/pics' has no revision 'v9'",
        "hub:owner/pics:val": "owner/pics on the hub has no split 'val'; expected hub:owner/pics: and one of test",
        "hub:owner/text": "owner/text on the hub holds no pictures; expected parquet or tar files",
        "hub:pics": "data path 'hub:pics' names no data set; expected hub:owner/name",
    }
    answers = ask(f"""
for name in {list(cases)!r}:
    answers[name] = attempt(lambda: open_source(name))
""")
    for name, message in cases.items():
        kind, text = answers[name]
        assert (kind, "\n" in text) == ("DataError", False)
        with pytest.raises(DataError, match=message):
            raise DataError(text)
    hub.down = 503
    assert "answered for 'datasets/owner/pics' with an error" in str(
        ask('answers["down"] = attempt(lambda: open_source("hub:owner/pics"))')["down"]
    )


def test_a_connection_that_is_lost_stops_the_run_in_its_own_process(ask, hub, pics):
    answers = ask(f"""
{BATCHES}
source = open_source("hub:owner/pics")
source.load(0)
from huggingface_hub import constants
import huggingface_hub.file_download as download
def lost(*_, **__): raise ConnectionError("the line is dead")
download.http_get = lost
answers["error"] = attempt(lambda: record(source, 2))
""")
    kind, text = answers["error"]
    assert kind == "DataError"
    assert "worker" not in text
    assert "run again to continue" in text


def test_a_column_divides_the_rows_of_a_data_set(pics, hub, ask, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    for number, path in enumerate(write_parquet(tmp_path / "divided" / "data", 20, 2)):
        table = pq.read_table(path)
        names = ["train", "train", "val", "test"] * (len(table) // 4) + ["train"] * (len(table) % 4)
        pq.write_table(table.append_column("split", pa.array(names)), path)
        assert number < 2
    hub.add("datasets/owner/divided", tmp_path / "divided")
    undivided = ask('answers["said"] = attempt(lambda: open_source("hub:owner/pics", split="val"))')
    assert "expected the split of a data set of the hub in its path" in undivided["said"][1]
    code = """
from beit.settings.groups import DataSettings
from beit.settings.inputs import open_sources
sources = open_sources(DataSettings("hub:owner/divided"), 0)
answers["train"], answers["val"] = numbers(sources.train), numbers(sources.val)
answers["test"] = numbers(open_source("hub:owner/divided", split="test"))
answers["all"] = len(open_source("hub:owner/divided", split="all"))
answers["none"] = attempt(lambda: open_source("hub:owner/divided"))
"""
    rows = {"train": [0, 1, 4, 5, 8, 9, 10, 11, 14, 15, 18, 19], "val": [2, 6, 12, 16], "test": [3, 7, 13, 17]}
    for _ in range(2):  # the second time by the index that is kept
        answers = ask(code)
        assert {name: answers[name] for name in rows} == rows
        assert answers["all"] == 20
        assert "holds the splits train, val, test; name one with data.split" in answers["none"][1]
