"""Files of a split of a data set on the hub."""

import pytest

from beit.data.sources.hub.files import HubName, choose_files, hub_name
from beit.errors import DataError


@pytest.mark.parametrize(
    ("files", "split", "chosen"),
    [
        (["data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"], None, 0),
        (["data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"], "test", 1),
        (["data/extra-00000-of-00001.parquet", "README.md"], None, 0),
        (["train/0000.parquet", "validation/0000.parquet"], None, 0),
        (["train/0000.parquet", "validation/0000.parquet"], "validation", 1),
        (["train.parquet", "test.parquet"], "test", 1),
        (["shards/part0.tar"], None, 0),
        (["shards/part0.tar"], "train", 0),
        (["fine/train-00000-of-00001.parquet", "coarse/train-00000-of-00001.parquet"], "fine/train", 0),
        (["train/a.parquet", "train/a.tar"], None, 0),
    ],
)
def test_the_files_of_a_split(files, split, chosen):
    assert choose_files(HubName("o/n", split, None), files) == [files[chosen]]


@pytest.mark.parametrize(
    ("files", "split", "message"),
    [
        (["fine/train/0.parquet", "coarse/train/0.parquet"], "train", "subsets; name one as hub:o/n:coarse/train"),
        (["fine/train/0.parquet", "coarse/train/0.parquet"], None, "several subsets"),
        (["one-0-of-1.parquet", "two-0-of-1.parquet"], None, "no split 'train', which is taken unless one is named"),
        (["a.zip"], None, "holds no pictures"),
    ],
)  # fmt: skip
def test_a_split_that_is_not_clear(files, split, message):
    with pytest.raises(DataError, match=message):
        choose_files(HubName("o/n", split, None), files)


def test_names():
    assert hub_name("hub:o/n") == HubName("o/n", None, None)
    assert hub_name("hub:o/n:a/train@refs/pr/1") == HubName("o/n", "a/train", "refs/pr/1")
    for name in ("hub:", "hub:n", "hub:o/n:", "hub:o/n@", "hub:o/n/m"):
        with pytest.raises(DataError, match="names no data set"):
            hub_name(name)
