"""The page of a report."""

from beit.reports.report import Section, write_report


def test_the_report_escapes_names(tmp_path):
    write_report(
        tmp_path / "report.html", "<b>&", [Section("<script>alert(1)</script>", table=[("<i>", "&")])], "a: <b>"
    )
    page = (tmp_path / "report.html").read_text()
    assert "<script>" not in page
    assert "&lt;b&gt;&amp;" in page
