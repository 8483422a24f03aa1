import logging
from types import SimpleNamespace

import pytest

from beit.data import BrokenPicture, BrokenPictures, check_shards, list_shards, open_source, split
from beit.engine import processes as engine_shards
from beit.engine.processes import note_shards
from beit.errors import DataError
from beit.settings.groups import DataSettings
from beit.settings.inputs import open_pictures, open_sources
from tests.shards import write_shards


@pytest.fixture
def shards(tmp_path, monkeypatch):
    """Eight shards, the third of which is cut off."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    paths = write_shards(tmp_path / "shards", pictures=80, shards=8)
    paths[2].write_bytes(paths[2].read_bytes()[:900])
    return tmp_path / "shards"


def test_up_to_a_share_they_are_reported(shards, caplog):
    with caplog.at_level(logging.WARNING):
        assert len(open_pictures(DataSettings(path=str(shards), max_broken=0.125))) == 70
    (record,) = caplog.records
    assert record.getMessage().startswith(f"1 of 8 shards is unreadable and left out; first: {shards}/train-002.tar: ")


def test_only_the_first_process_reports(shards, caplog, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    open_pictures(DataSettings(path=str(shards), max_broken=0.5))
    assert not caplog.records


@pytest.mark.parametrize("name", ["path", "val_path"])
def test_past_it_they_are_an_error(shards, name):
    paths = {"path": str(shards / "train-000.tar"), name: str(shards)}
    with pytest.raises(DataError) as caught:
        open_sources(DataSettings(**paths, max_broken=0.12), seed=0)
    message = str(caught.value)
    assert message.startswith("1 of 8 shards is unreadable (12%), more than data.max_broken allows (12%); first: ")
    assert "train-002.tar: it is" in message
    assert message.endswith("Fetch them again or remove them, or raise data.max_broken")
    assert "\n" not in message
    check_shards(open_source(str(shards)), max_share=1.0)


def test_they_are_listed_beside_broken_pictures(shards, tmp_path):
    listing = tmp_path / "run" / "broken.txt"
    train, val = split(open_source(str(shards)), 0.2, seed=0)
    list_shards(listing, train, val)
    (line,) = listing.read_text().splitlines()
    assert line.startswith(f"shard {shards}/train-002.tar: it is ")
    broken = BrokenPictures(listing, pictures=70, max_share=0.1)
    assert len(broken) == 0, "shards are not counted as pictures"
    broken.add([BrokenPicture("x", "x is broken")])
    assert listing.read_text().splitlines() == [line, "x is broken"]
    list_shards(listing, train, val)
    assert listing.read_text().splitlines() == [line, "x is broken"]
    list_shards(listing, open_source(str(shards / "train-000.tar")))
    assert listing.read_text().splitlines() == ["x is broken"], "mended since"
    assert broken.summary() == f"1 broken pictures were skipped, listed in {listing}"


def test_processes_that_can_read_other_shards_do_not_start(shards, tmp_path, monkeypatch):
    source = open_source(str(shards))
    process = SimpleNamespace(num_processes=2, is_main_process=True)
    cases = [
        ({"pictures": 80}, r"\[80\] pictures and process 0 \[70\], so"),
        ({"shards": [30, 40]}, r"\[70\] pictures and process 0 \[70\] in other shards, so"),
    ]
    for seen, words in cases:
        monkeypatch.setattr(engine_shards, "gather_object", lambda mine, seen=seen: [*mine, [mine[0][0] | seen]])
        with pytest.raises(DataError, match=f"process 1 finds {words}.*on every machine"):
            note_shards(process, tmp_path / "broken.txt", source)
    monkeypatch.setattr(engine_shards, "gather_object", lambda mine: mine * 2)
    note_shards(process, tmp_path / "broken.txt", source)
    assert len((tmp_path / "broken.txt").read_text().splitlines()) == 1
