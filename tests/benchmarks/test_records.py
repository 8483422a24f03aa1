"""Records of the benchmarks: their arithmetic, their runner, and the tables that the documents show."""

import ast
import importlib
import importlib.util

import pytest

from tests.benchmarks.places import BENCHMARKS, ROOT

MEASURES = """
import sys
from ratios import parser, speed
from records import hand_over
hand_over(parser("A benchmark.").parse_args(), [speed("work", "a peer", [1.0, 2.0, 4.0], [2.0, 3.0, 12.0], 1.8)])
sys.exit("wanted and not met: nothing")
"""


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
    runner, place = program("all"), tmp_path / "bench"
    (tmp_path / "broken.py").write_text("raise SystemExit('there is no peer')")
    (tmp_path / "sound.py").write_text(f"import sys; sys.path.append({str(BENCHMARKS)!r}){MEASURES}")
    assert runner.measure(["broken", "sound"], tmp_path, place) == "failed: broken"
    (measured,) = program("records").records(place)
    assert measured["kind"] == program("about").kind()
    assert measured["benchmarks"]["sound"]["ratios"][0]["rounds"] == [2.0, 1.5, 3.0]
    assert place.with_suffix(".png").stat().st_size > 1000
    output = capfd.readouterr()
    assert "1.50 to 3.00" in output.out
    assert "there is no peer" in output.err


def answer(program, kind, date, *seconds, wanted=1.0):
    ratios = [vars(program("ratios").speed(f"work {number}", "a peer", [ours], [theirs], wanted))
              for number, (ours, theirs) in enumerate(seconds)]  # fmt: skip
    return {"kind": kind, "machine": "one", "date": date, "versions": {"torch": "2"}, "commit": "0", "ratios": ratios}


def test_a_record_keeps_what_is_not_measured_again(program, tmp_path):
    records = program("records")
    old, new = answer(program, "AMD 25/17", "2026-01-01", (1, 2)), answer(program, "AMD 25/17", "2026-02-01", (1, 3))
    records.record({"steps": old, "answers": old}, tmp_path)
    records.record({"steps": new}, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["amd-25-17.json"]
    (one,) = records.records(tmp_path)
    assert {name: entry["date"] for name, entry in one["benchmarks"].items()} == {
        "steps": "2026-02-01", "answers": "2026-01-01"
    }  # fmt: skip


def test_kinds_stand_side_by_side_and_the_worst_comes_first(program, tmp_path):
    records, table = program("records"), program("table")
    records.record({"steps": answer(program, "A", "2026-01-01", (1, 2), (1, 4))}, tmp_path)
    records.record({"steps": answer(program, "B", "2026-02-01", (1, 3), (2, 1), wanted=0.8)}, tmp_path)
    assert table.bench_rows(records.records(tmp_path)) == [
        ("what", "against", "wanted", "A", "B"),
        ("work 1", "a peer", "at least 0.8", "4.00", "**0.500**"),
        ("work 0", "a peer", "at least 0.8", "2.00", "3.00"),
    ]


def test_a_processor_that_plays_an_older_one_is_another_kind(program, monkeypatch):
    about = program("about")
    for name in about.LIMITS:
        monkeypatch.delenv(name, raising=False)
    plain = about.kind()
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    assert about.kind() == f"{plain} as AVX2"


def test_each_kind_has_compiled_programs_of_its_own(program, monkeypatch):
    """Those of another kind would crash; and torch's compiler takes no folder with a space in its name."""
    peers, about = program("peers"), program("about")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    for name in about.LIMITS:
        monkeypatch.delenv(name, raising=False)
    plain = peers.with_source()["TORCHINDUCTOR_CACHE_DIR"]
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    assert peers.with_source()["TORCHINDUCTOR_CACHE_DIR"] == f"{plain}-as-avx2"
    assert " " not in plain


def test_all_knows_every_benchmark_that_takes_turns(program):
    quick = {path.stem for path in BENCHMARKS.glob("*.py") if "parser(__doc__)" in path.read_text()}
    assert quick == set(program("all").BENCHMARKS)


def test_the_fitted_exponent_is_that_of_the_law(program):
    fit, line = program("cost").fitted((1, 2, 4, 8), [3.0, 12.0, 48.0, 192.0])
    assert (fit["exponent"], fit["error"]) == (2.0, 0.0)
    assert line == pytest.approx([3.0, 12.0, 48.0, 192.0])


def test_operations_grow_as_the_products_do(program):
    cost = program("cost")
    for kind in cost.FLOPS:
        once, twice = (cost.operations(kind, {**cost.BASE, "batch": batch}) for batch in (8, 16))
        assert twice == 2 * once
        few, many = (cost.operations(kind, {**cost.BASE, "tokens": tokens}) for tokens in (196, 784))
        assert 4 < many / few < 16
    assert cost.operations("epoch", {"pictures": 1000}) == 1000


def test_a_document_without_markers_is_refused(program):
    with pytest.raises(SystemExit, match="there is no place for the table"):
        program("table").within("no markers here", "bench", "a table")


def test_documents_show_the_results(program):
    table = program("table")
    for document in table.PLACES:
        assert document.read_text() == table.written(document), "python benchmarks/all.py --table writes the tables"
    for picture in table.PICTURES:
        assert (ROOT / "docs/pictures" / picture).read_bytes() == (table.RESULTS / picture).read_bytes()


def missing_names(text):
    """Return what a program imports of beit that is not there."""
    imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in imports if node.module.split(".")[0] == "beit"]
    return [
        f"{node.module}.{alias.name}"
        for node in ours
        for alias in node.names
        if not hasattr(importlib.import_module(node.module), alias.name)
        and importlib.util.find_spec(f"{node.module}.{alias.name}") is None
    ]


@pytest.mark.parametrize("folder", ["benchmarks", "examples"])
def test_what_programs_import_is_there(folder):
    sources = {path.name: path.read_text() for path in (ROOT / folder).glob("*.py")}
    assert sources
    assert {name: found for name, text in sources.items() if (found := missing_names(text))} == {}
    assert missing_names("from beit.geometry import Grid, no_such_name") == ["beit.geometry.no_such_name"]
