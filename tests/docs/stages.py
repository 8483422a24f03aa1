"""What a page finds in its folder: pictures and small checkpoints under the names that it uses.

A stage is a function of the folder. Real pictures are taken where there are any (`BEIT_TEST_DATA`), else the embedded
handwritten digits, written as PNG.
"""

import itertools

import numpy as np
import torch
from PIL import Image, ImageDraw

from beit import BeitForImageClassification, BeitForMaskedImageModeling, BeitImageProcessor, preset
from beit.data import open_source
from tests.conftest import REAL_DATA

SIDE = 32  # pixels
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
TINY = {"image_size": 16, "patch_size": 4, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4,
        "intermediate_size": 64}  # fmt: skip


def photographs(folder):
    """my_pictures/: 400 small pictures without labels, of CIFAR-10 or digits; more_pictures/: 40 others."""
    real = REAL_DATA / "cifar10" / "train.parquet"
    source = open_source(str(real) if real.exists() else "digits:train")
    for name, indices in (("my_pictures", range(400)), ("more_pictures", range(400, 440))):
        (folder / name).mkdir()
        for index in indices:
            picture = source.load(index).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            picture.save(folder / name / f"{index:04d}.png")


def digits(folder):
    """my_classes/ and more_classes/: a folder of each digit's pictures; my_classes has 20 of each, more_classes 5."""
    for part, name, most in (("train", "my_classes", 20), ("test", "more_classes", 5)):
        source = open_source(f"digits:{part}")
        for label, digit in enumerate(DIGITS):
            place = folder / name / digit
            place.mkdir(parents=True)
            for index in itertools.islice(np.flatnonzero(source.labels == label), most):
                source.load(int(index)).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(place / f"{index:04d}.png")


def digits_and_pretrained(folder):
    """As `digits`, and runs/digits/model: a small pre-trained model."""
    digits(folder)
    _save(BeitForMaskedImageModeling, folder / "runs/digits/model", vocab_size=128)


def readme(folder):
    """As `photographs` and `digits`, and picture.jpg."""
    photographs(folder)
    digits(folder)
    _picture(folder)


def classifier(folder):
    """As `digits`, runs/classes/model: a small classifier of them, and picture.jpg."""
    digits(folder)
    changes = {"use_mask_token": False, "use_shared_relative_position_bias": False, "use_relative_position_bias": True}
    _save(BeitForImageClassification, folder / "runs/classes/model", id2label=dict(enumerate(DIGITS)), **changes)
    _picture(folder)


def scenes(folder):
    """camvid/: a few scenes and masks of CamVid, or drawn ones of the same size; 11 is no class."""
    real = REAL_DATA / "camvid"
    for part, most in (("train", 24), ("val", 6)):
        for kind in ("images", "masks"):
            (folder / "camvid" / part / kind).mkdir(parents=True)
        if real.is_dir():
            _link_scenes(real / part, folder / "camvid" / part, most)
        else:
            _draw_scenes(folder / "camvid" / part, most)
    names = folder / "recipes/classes/camvid.txt"
    (folder / "camvid/classes.txt").write_text(names.read_text())


def _link_scenes(real, place, most):
    for picture in sorted((real / "images").iterdir())[:most]:
        (place / "images" / picture.name).symlink_to(picture)
    for mask in sorted((real / "masks").iterdir())[:most]:
        (place / "masks" / mask.name).symlink_to(mask)


def _draw_scenes(place, most):
    """Draw a sky, a road and a car somewhere, with a rim that is no class."""
    rng = np.random.default_rng(0)
    for number in range(most):
        mask = Image.new("L", (160, 120), 0)
        pen = ImageDraw.Draw(mask)
        pen.rectangle((0, 60, 160, 120), fill=3)
        x, y = rng.integers(5, 100), rng.integers(40, 80)
        pen.rectangle((x, y, x + 40, y + 30), fill=8, outline=11)
        colours = rng.normal(0, 10, (120, 160, 3)) + np.asarray(mask)[..., None] * 20 + 20
        Image.fromarray(np.clip(colours, 0, 255).astype(np.uint8)).save(place / "images" / f"{number:02d}.png")
        mask.save(place / "masks" / f"{number:02d}.png")


def documents(folder):
    """scans/: drawn pages without labels; my_documents/ and more_documents/: the same in a folder of each kind."""
    rng = np.random.default_rng(0)
    for name, most in (("my_documents", 20), ("more_documents", 5)):
        for kind in ("letter", "table", "form"):
            (folder / name / kind).mkdir(parents=True)
            for number in range(most):
                _page(kind, rng).save(folder / name / kind / f"{number:02d}.png")
    (folder / "scans").mkdir()
    for number in range(120):
        _page(("letter", "table", "form")[number % 3], rng).save(folder / "scans" / f"{number:03d}.png")
    _page("letter", rng).save(folder / "page.png")


def _page(kind, rng):
    """Draw lines of text, a grid, or boxes with captions."""
    page = Image.new("L", (60, 80), 245)
    pen = ImageDraw.Draw(page)
    for top in range(8, 72, 8 if kind == "letter" else 12):
        right = int(rng.integers(30, 54))
        if kind == "letter":
            pen.line((6, top, right, top), fill=60, width=2)
        elif kind == "table":
            pen.rectangle((6, top, 54, top + 12), outline=90)
            pen.line((30, top, 30, top + 12), fill=90)
        else:
            pen.line((6, top, right // 2, top), fill=60, width=2)
            pen.rectangle((30, top - 3, 54, top + 3), outline=90)
    return page


def _picture(folder):
    Image.open(next((folder / "more_classes/seven").iterdir())).convert("RGB").save(folder / "picture.jpg")


def _save(kind, folder, **options):
    torch.manual_seed(0)
    kind(preset("tiny", **{**TINY, **options})).save_pretrained(folder)
    BeitImageProcessor(size=TINY["image_size"], do_center_crop=False).save_pretrained(folder)
