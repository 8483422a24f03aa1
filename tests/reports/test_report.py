"""The page of a report."""

import base64
import io
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import beit
from beit.errors import ConfigError, DataError, GoneError
from beit.reports.report import Section, curves_section, figure, numbers_table, origin, showing, since, write_report
from tests.browser import started_chromium


def test_the_report_escapes_names(tmp_path):
    write_report(
        tmp_path / "report.html", "<b>&", [Section("<script>alert(1)</script>", table=[("<i>", "&")])], "a: <b>"
    )
    page = (tmp_path / "report.html").read_text()
    assert "<script>" not in page
    assert "&lt;b&gt;&amp;" in page


@pytest.mark.parametrize("error", [DataError, GoneError])
def test_pictures_that_cannot_be_shown_cost_no_report(error):
    section = Section("Mistakes", "The worst first.")
    with showing(section):
        section.names.append("a.png")
        raise error("b.png has gone")
    assert (section.text, section.names) == ("The worst first. Some cannot be shown: b.png has gone.", ["a.png"])
    with pytest.raises(ConfigError), showing(section):
        raise ConfigError("of ours")


def test_spaces_that_keep_words_together_are_shown_as_they_are(tmp_path):
    gallery = [[replace(figure(np.zeros((3, 8, 8), np.float32)), caption="is cat, predicted dog (50 %)")]]
    section = Section("Shot at 10.12\u202fPM", table=[("猫\u3000犬", "1.00 %")], gallery=gallery)
    write_report(tmp_path / "report.html", "Report", [section], "a: 1")
    page = (tmp_path / "report.html").read_text()
    assert "<figcaption>is cat, predicted dog (50\u00a0%)" in page
    assert "10.12\u202fPM" in page
    assert "猫\u3000犬" in page
    assert "\ufffd" not in page
    assert 'class="number whole">1.00 %' in page


@pytest.mark.e2e
def test_a_phone_in_the_dark_shows_it_whole(tmp_path):
    wide = Section("Classes", columns=[f"column {number}" for number in range(12)], rows=[["long value"] * 12])
    numbers = Section("Model", table=[("a long name of something", "a_path_without_any_place_to_break_it/" * 4)])
    write_report(tmp_path / "report.html", "Report", [wide, numbers], "a: 1")
    with started_chromium() as browser:
        page = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme="dark")
        page.goto((tmp_path / "report.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        colours = page.evaluate("[getComputedStyle(document.body)].map(style => [style.color, style.backgroundColor])")
    ink, paper = (sum(map(int, colour[4:-1].split(", "))) for colour in colours[0])
    assert ink > 600 > 100 > paper


@pytest.mark.e2e
def test_charts_stand_beside_each_other_in_their_shape_where_there_is_room(tmp_path):
    lines = [{"step": step, "split": "train", "accuracy": step / 10, "loss": step / 10} for step in range(3)]
    curves = curves_section(lines, {"A": ["accuracy"], "B": ["loss"]})
    write_report(tmp_path / "report.html", "Report", [curves], "a: 1")
    with started_chromium() as browser:
        for width, together in ((390, False), (1000, True), (1400, True)):
            page = browser.new_page(viewport={"width": width, "height": 800})
            page.goto((tmp_path / "report.html").as_uri())
            first, second = page.locator(".charts img").evaluate_all(
                "charts => charts.map(({ offsetTop, width, height, naturalWidth, naturalHeight }) => "
                "({ offsetTop, width, height, naturalWidth, naturalHeight }))"
            )
            assert (first["offsetTop"] == second["offsetTop"]) == together
            for chart in (first, second):
                shape = chart["naturalWidth"] / chart["naturalHeight"]
                assert chart["width"] / chart["height"] == pytest.approx(shape, rel=0.01)
                assert 340 <= chart["width"] <= chart["naturalWidth"]


@pytest.mark.e2e
def test_a_shadow_shows_where_a_table_goes_on(tmp_path):
    wide = Section("Classes", columns=[f"column {number}" for number in range(12)], rows=[["long value"] * 12])
    write_report(tmp_path / "report.html", "Report", [wide, Section("Model", table=[("a", "b")])], "a: 1")
    with started_chromium() as browser:
        page = browser.new_page(viewport={"width": 390, "height": 800})
        page.goto((tmp_path / "report.html").as_uri())
        edges = []
        for table in page.locator(".wide").all():
            picture = Image.open(io.BytesIO(table.screenshot())).convert("L")
            edges.append(np.asarray(picture)[:, -4:].mean())
    assert edges[0] < 200 < 230 < edges[1]


def test_the_page_says_when_and_where_and_names_its_pictures(tmp_path):
    pictures = [[figure(np.zeros((3, 4, 4), np.float32), "seen"), figure(np.ones((3, 4, 4), np.float32), "decoded")]]
    section = Section("Pictures", gallery=pictures, names=["cat.png"], columns=["a 1 %"], rows=[["12.5 ± 3.0 %"]])
    write_report(tmp_path / "report.html", "title", [section], "seed: 0", "3 minutes")
    page = (tmp_path / "report.html").read_text()
    assert '<span class="name">cat.png</span>' in page
    assert "; 3 minutes; " in page
    assert "Python 3." in page
    assert page.index("<details><summary>") < page.index("seed: 0") < page.index("</details>")
    assert '<td class="number whole">12.5 ± 3.0 %</td>' in page, "a number and its unit are on one line"


def test_shares_are_in_percent_in_tables_and_charts():
    assert numbers_table({"accuracy": 0.5, "loss": 0.5}) == [("accuracy", "50.00 %"), ("loss", "0.5")]
    lines = [{"step": step, "split": "train", "accuracy": step / 10, "loss": step / 10} for step in range(3)]
    curves = curves_section(lines, {"Accuracy": ["accuracy"], "Loss": ["loss"]})
    charts = [base64.b64decode(chart.source.partition(",")[2]) for chart in curves.charts]
    assert [b"%" in chart.partition(b"</metadata>")[2].replace(b"100%", b"") for chart in charts] == [True, False]


def test_it_has_date_duration_machine_and_versions():
    date, duration, machine, versions = origin("12 minutes").split("; ")
    assert date.startswith(time.strftime("%Y-%m-"))
    assert duration == "12 minutes"
    assert machine.endswith("CPUs") or torch.cuda.is_initialized()
    assert f"beit {beit.__version__}, Python 3." in versions
    assert f"torch {torch.__version__.partition('+')[0]}" in versions
    assert len(origin().split("; ")) == 3


def test_a_duration_is_in_the_unit_that_suits_it():
    now = time.perf_counter()
    assert [since(now - seconds) for seconds in (0, 100, 600, 9000)] == [
        "0 seconds", "100 seconds", "10 minutes", "2.5 hours",
    ]  # fmt: skip
