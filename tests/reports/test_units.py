"""Numbers for reading are in one unit, under names of the field."""

from beit.reports.units import in_words, is_share, sentence, shown


def test_shares_are_in_percent_wherever_they_come_from():
    names = ["accuracy", "average_accuracy", "pixels_knn", "start_ridge", "iou_sky", "mean_iou", "held_out_error"]
    assert all(map(is_share, names))
    assert not any(map(is_share, ["loss", "average_loss", "psnr", "similarity", "rankme", "lr", "pictures"]))
    assert shown("accuracy", 0.8234) == "82.34 %"
    assert shown("loss", 2.30258) == "2.303"
    assert shown("pictures", 12345) == "12,345"


def test_names_are_those_of_the_field_also_for_another_model():
    names = ["calibration_error", "average_mean_iou", "pixels_knn", "iou_sign_symbol", "loss", "rankme_layer"]
    assert list(map(in_words, names)) == [
        "expected calibration error",
        "moving average: intersection over union, mean over classes",
        "raw pixels: kNN accuracy",
        "intersection over union of sign_symbol",
        "loss",
        "effective rank (RankMe), best layer",
    ]


def test_a_line_becomes_a_sentence():
    assert sentence("train it longer") == "Train it longer."
    assert sentence(None) == sentence("") == ""
