"""Numbers of a report are in one unit."""

from beit.reports.units import is_share, shown


def test_shares_are_in_percent_wherever_they_come_from():
    names = ["accuracy", "average_accuracy", "pixels_knn", "start_ridge", "iou_sky", "mean_iou", "held_out_error"]
    assert all(map(is_share, names))
    assert not any(map(is_share, ["loss", "average_loss", "psnr", "similarity", "rankme", "lr", "pictures"]))
    assert shown("accuracy", 0.8234) == "82.34 %"
    assert shown("loss", 2.30258) == "2.303"
    assert shown("pictures", 12345) == "12,345"
