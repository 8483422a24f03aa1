"""Names from anywhere (classes, files, models) are shown as text wherever one is shown, and obeyed nowhere."""

import io
import json
import re
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from beit.cli.main import main
from beit.cli.output import say
from beit.data.sources.progress import progress
from beit.engine.metrics import MetricsLog
from beit.engine.run_folder import RunFolder
from beit.engine.watch import _numbers
from beit.errors import printable
from beit.image.palette import legend
from beit.inference.export.card import plain
from beit.reports.charts import confusion_chart, curve_chart, layer_chart, scatter_chart
from beit.reports.report import Figure, Section, write_report

HOSTILE = [
    "$a_{$ b", "$\\frac{", "$$", "_hidden", "[bold]", "[/nothing]", ":smile:", "<script>alert(1)</script>",
    "{{ 7 * 7 }}",
    "a|b\n|---|", "`x`](javascript:1)", "a\x00b", "\x1b[2J", "\u202eabc", "\ud800", "b\udcff", "", " ", "a\nb",
    "../../x",
    "\u200b", "%s%n", "=1+1", "]]>", "-->", "&#0;", "\N{PILE OF POO}", "e\u0301" * 50, "x" * 1000,
]  # fmt: skip
names = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(codec=None), max_size=30))
quick = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
pytestmark = pytest.mark.filterwarnings("ignore:Glyph")


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.e2e
def test_every_chart_is_drawn(name):
    one = np.array([0.5, 0.7], np.float32)
    charts = [
        confusion_chart(np.eye(2, dtype=np.int64), [name, "b"]),
        layer_chart({name: [0.1, 0.2], "b": [0.3]}, "title", [("level", 0.2)]),
        scatter_chart(one, one, name),
    ]
    for chart in charts:
        assert ElementTree.fromstring(chart).tag.endswith("svg")  # noqa: S314  # it is ours


def test_a_formula_is_shown_as_it_is_written():
    assert b">$x^2$</text>" in confusion_chart(np.eye(2, dtype=np.int64), ["$x^2$", "b"])
    assert b"> _a</text>" in layer_chart({"_a": [0.1, 0.2], "b": [0.3]}, "title")


@quick
@given(name=names)
def test_a_report_is_a_page_of_text(tmp_path, name):
    drawn = Figure("data:,", name)
    section = Section(name, name, [(name, name)], [name], [[name]], [drawn], [[drawn]], [drawn])
    write_report(tmp_path / "report.html", name, [section], name)
    page = (tmp_path / "report.html").read_bytes().decode("utf-8")
    assert "<script" not in page
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u202e]", page)


@quick
@given(name=names)
def test_terminals_are_not_steered(tmp_path, name):
    shown = printable(name, keep="\n")
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", shown)
    shown.encode("utf-8")
    say(name)
    assert list(progress([1], 1, name, always=True)) == [1]


@quick
@given(name=names)
def test_cards_hold_no_markup(name):
    shown = plain(name)
    assert "\n" not in shown
    assert re.sub(r"\\.", "", shown).translate(dict.fromkeys(map(ord, "`*_[]<>|"))) == re.sub(r"\\.", "", shown)


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.e2e
def test_legends_tags_and_overviews(tmp_path, name):
    assert legend([name, "b"], [0, 1]).width < 2000
    folder = RunFolder(tmp_path)
    with MetricsLog(folder, 0) as log:
        log.write(1, "train", {name: 0.5, "loss": 1.0})
    assert json.loads(folder.metrics.read_text())["loss"] == 1.0
    lines = [{"step": 1, "split": "val", name: 1.0}]
    Console(file=io.StringIO(), force_terminal=True).print(_numbers(SimpleNamespace(lines=lines)))


def test_an_error_of_the_command_line_is_one_line(capsys):
    main(["evaluate", "--model=\x1b[2J\udcff[/b]", "--data.path=nowhere"])
    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert said.count("\n") == 1


def test_curves_take_any_name():
    lines = [{"step": step, "split": "val", "$a_{$": 1.0} for step in range(3)]
    assert curve_chart(lines, "$a_{$", ["$a_{$"], [("$_{", 1.0)])
