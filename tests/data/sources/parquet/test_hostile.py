"""Footers of hostile parquet files: every one ends in a result or one error, soon."""

import random
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beit.data import open_source
from beit.data.sources.parquet.footer import read_footer
from beit.data.sources.parquet.saved import saved_splits
from beit.errors import BeitError, DataError
from tests.shards import write_parquet
from tests.watchdog import assert_within


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))


def test_more_rows_than_bytes(tmp_path):
    table = pa.table({"image": pa.DictionaryArray.from_arrays(pa.array([0] * 200_000, pa.int32()), pa.array([b"a"]))})
    pq.write_table(table, tmp_path / "a.parquet")
    with assert_within(seconds=5, megabytes=1024), (tmp_path / "a.parquet").open("rb") as file:
        assert "names 200000 rows in" in read_footer(file)


def test_long_names_of_classes(tmp_path):
    pq.write_table(pa.table({"image": [b"a" * 100], "label": ["a" * 2000]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="has 2000 characters; expected at most 1000"):
        open_source(str(tmp_path / "a.parquet"))


def test_damaged_at_random_it_is_read_or_refused(tmp_path):
    write_parquet(tmp_path / "good", pictures=4, shards=1)
    good, draw = next((tmp_path / "good").iterdir()).read_bytes(), random.Random(4)  # noqa: S311
    for number in range(60):
        bad = bytearray(good)
        for _ in range(draw.randint(1, 8)):
            bad[draw.randrange(len(bad) * 2 // 3, len(bad))] = draw.randrange(256)
        path = tmp_path / f"{number}.parquet"
        path.write_bytes(bad)
        with assert_within(seconds=20, megabytes=4096):
            try:
                with path.open("rb") as file:
                    read_footer(file, first_picture=True)
                if number % 10 == 0:
                    open_source(str(path)).load(0)
            except (BeitError, OSError):
                continue


SPLITS = ["5", '"abc"', "[{}]", "null", "[" * 100_000, '["' + "x" * 5000 + '"]', '["../saved"]', '["a\\u0000b"]']


@pytest.mark.parametrize("splits", SPLITS, ids=lambda splits: splits[:12])
def test_names_of_splits_of_anybody(tmp_path, splits):
    (tmp_path / "saved").mkdir()
    for name in ("state.json", "data.arrow"):
        (tmp_path / "saved" / name).touch()
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "dataset_dict.json").write_text('{"splits": ' + splits + "}")
    with suppress(DataError):
        assert saved_splits(tmp_path / "set") == []
