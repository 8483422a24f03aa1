"""Progress of a preparation: shown by the first process, and not for a few items."""

import pytest

from beit.data.sources.progress import progress


@pytest.mark.parametrize(
    ("count", "always", "rank", "said"),
    [(3, False, "0", ""), (3, True, "0", "indexing: 3 files\n"), (3, True, "1", ""), (20, False, "0", "")],
)
def test_items_pass_through(capsys, monkeypatch, count, always, rank, said):
    monkeypatch.setenv("RANK", rank)
    assert list(progress(range(count), count, "indexing", always)) == list(range(count))
    assert capsys.readouterr().err == said
