"""The benchmarks' own arithmetic, their runner, and the tables that the documents show."""

import importlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
MEASURES = """
import sys
from ratios import hand_over, parser, speed
hand_over(parser("A benchmark.").parse_args(), [speed("work", "a peer", [1.0, 2.0, 4.0], [2.0, 3.0, 12.0], 1.8)])
sys.exit("wanted and not met: nothing")
"""


@pytest.fixture
def program(monkeypatch):
    """Import a file of benchmarks/, as its programs do."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


def test_speed_is_their_time_over_ours_in_each_round(program):
    ratio = program("ratios").speed("work", "a peer", [1.0, 2.0, 4.0], [2.0, 3.0, 12.0], 1.8)
    assert ratio.rounds == [2.0, 1.5, 3.0]
    assert (ratio.median, ratio.ours, ratio.theirs, ratio.met) == (2.0, 2.0, 3.0, True)
    assert ratio.columns()[2:] == ("2.00 s", "3.00 s", "2.00", "1.50 to 3.00", "at least 1.8", "yes")


def test_share_is_our_bytes_over_theirs_and_should_be_small(program):
    ratio = program("ratios").share("work: memory", "a peer", [300 * 2**20], [400 * 2**20], "MiB", 0.7)
    assert ratio.columns()[2:] == ("300 MiB", "400 MiB", "0.750", "measured once", "at most 0.7", "no")
    assert not ratio.met


def test_what_is_not_wanted_is_always_met(program):
    ratio = program("ratios").speed("work", "a peer", [2.0], [1.0])
    assert ratio.met
    assert ratio.columns()[-2:] == ("", "")


def test_one_failing_benchmark_does_not_stop_the_others(program, tmp_path, capfd):
    runner, result = program("all"), tmp_path / "bench.json"
    (tmp_path / "broken.py").write_text("raise SystemExit('there is no peer')")
    (tmp_path / "sound.py").write_text(f"import sys; sys.path.append({str(BENCHMARKS)!r}){MEASURES}")
    assert runner.measure(["broken", "sound"], tmp_path, result) == "failed: broken"
    measured = json.loads(result.read_text())
    assert measured["failed"] == ["broken"]
    assert measured["benchmarks"]["sound"]["ratios"][0]["rounds"] == [2.0, 1.5, 3.0]
    assert result.with_suffix(".png").stat().st_size > 1000
    output = capfd.readouterr()
    assert "1.50 to 3.00" in output.out
    assert "there is no peer" in output.err


def test_all_knows_every_benchmark_that_takes_turns(program):
    quick = {path.stem for path in BENCHMARKS.glob("*.py") if "ratios import" in path.read_text()}
    assert quick - {"all", "table"} == set(program("all").BENCHMARKS)


def test_the_fitted_exponent_is_that_of_the_law(program):
    fit, line = program("cost").fitted((1, 2, 4, 8), [3.0, 12.0, 48.0, 192.0])
    assert (fit["exponent"], fit["error"]) == (2.0, 0.0)
    assert line == pytest.approx([3.0, 12.0, 48.0, 192.0])


def test_a_document_without_markers_is_refused(program):
    with pytest.raises(SystemExit, match="there is no place for the table"):
        program("table").within("no markers here", "bench", "a table")


def test_documents_show_the_results(program):
    table = program("table")
    for document in table.PLACES:
        assert document.read_text() == table.written(document), "python benchmarks/all.py --table writes the tables"
    for picture in table.PICTURES:
        assert (ROOT / "docs/pictures" / picture).read_bytes() == (table.RESULTS / picture).read_bytes()
