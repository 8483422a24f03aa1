"""The page of a report."""

import pytest

from beit.reports.report import Section, write_report
from tests.browser import started_chromium


def test_the_report_escapes_names(tmp_path):
    write_report(
        tmp_path / "report.html", "<b>&", [Section("<script>alert(1)</script>", table=[("<i>", "&")])], "a: <b>"
    )
    page = (tmp_path / "report.html").read_text()
    assert "<script>" not in page
    assert "&lt;b&gt;&amp;" in page


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
