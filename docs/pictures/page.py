"""Photograph the web page of a running service, for the guide: `page_<tab>.png` beside this file.

    beit serve  # the models of the package
    python docs/pictures/page.py http://127.0.0.1:8000 classify=van.jpg segment=street.png attend=van.jpg ...

A tab's picture is named as TAB=FILE, with a model as TAB=FILE=MODEL; `phone=FILE` is the segment tab on a small screen.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, Position

HERE = Path(__file__).parent
DESKTOP = {"viewport": {"width": 1000, "height": 640}, "color_scheme": "light"}
PHONE = {"viewport": {"width": 320, "height": 640}, "device_scale_factor": 1.5, "color_scheme": "dark"}
COLOURS = 256  # of a palette: less than 150 kB each


def main(address: str, *shots: str) -> None:
    """Take every picture that is named."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        for shot in shots:
            tab, file, *model = shot.split("=")
            page = browser.new_page(**(PHONE if tab == "phone" else DESKTOP))
            page.goto(address)
            page.set_input_files("#file", file)
            show(page, "segment" if tab == "phone" else tab, *model)
            target = HERE / f"page_{tab}.png"
            page.screenshot(path=target, full_page=True)
            with Image.open(target) as picture:
                picture.convert("RGB").quantize(COLOURS, kmeans=3).save(target, optimize=True)
        browser.close()


def show(page: Page, tab: str, model: str | None = None) -> None:
    """Open a tab and do in it what its picture is about."""
    page.click(f"#tab-{tab}")
    if model is not None:
        page.select_option("#model", model)
    panel = page.locator(f"#panel-{tab}")
    panel.locator(".result").wait_for(state="visible")
    if tab == "attend":
        grid = panel.locator(".patches")
        grid.click(position=place(grid, 0.56, 0.7))
        panel.locator(".summary", has_text="The patch").wait_for()
        page.wait_for_function("document.querySelector('#progress').textContent === ''")
    if tab == "segment":
        stage = panel.locator(".stage")
        stage.hover(position=place(stage, 0.5, 0.75))
    page.wait_for_timeout(200)  # for the browser to draw


def place(element: Locator, x: float, y: float) -> Position:
    """Return the place in an element that has these shares of its width and height."""
    box = element.bounding_box()
    assert box is not None  # noqa: S101  # it is visible
    return {"x": x * box["width"], "y": y * box["height"]}


if __name__ == "__main__":
    main(*sys.argv[1:])
