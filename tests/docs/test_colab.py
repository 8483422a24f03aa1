"""Links that open the notebooks in Colab, for the day on which the repository is public."""

import importlib.util
import re

import pytest

from tests.docs.blocks import ROOT
from tests.docs.test_links import site

PAGE = (ROOT / "docs" / "notebooks.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def hook():
    spec = importlib.util.spec_from_file_location("colab", ROOT / "docs" / "colab.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("address", ["https://github.com/someone/beit", "https://github.com/someone/beit.git/"])
def test_every_notebook_is_opened_from_the_public_repository(hook, address):
    shown = hook.on_page_markdown(PAGE, {"repo_url": address})
    opened = re.findall(r"\(https://colab\.research\.google\.com/github/someone/beit/blob/main/([^)]+)\)", shown)
    notebooks = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs/notebooks").glob("*.ipynb"))]
    assert sorted(opened) == notebooks
    assert "`!pip install 'beit[train] @ git+https://github.com/someone/beit'`" in shown
    assert "<!-- colab" not in shown


@pytest.mark.parametrize("address", [None, "", "https://example.com/beit", "https://github.com/someone"])
def test_nothing_is_shown_while_there_is_no_public_repository(hook, address):
    shown = hook.on_page_markdown(PAGE, {"repo_url": address})
    assert "olab" not in shown


def test_the_site_has_the_hook():
    assert "docs/colab.py" in site()["hooks"]
