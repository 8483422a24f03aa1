"""Links of the documents lead somewhere, the navigation knows every page, and the reference every command."""

import importlib
import importlib.util
import re
from functools import cache
from urllib.parse import unquote

import pytest
import yaml
from markdown import Markdown

from beit.cli.main import COMMANDS
from beit.cli.tokenizer import ACTIONS
from tests.docs.blocks import ROOT, read_page

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES]
FENCED = re.compile(r"^[ ]*(```|~~~).*?^[ ]*\1", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)|(?:src|href)=\"([^\"]+)\"")
ELSEWHERE = ("http://", "https://", "mailto:", "data:")


class _Loader(yaml.SafeLoader):
    """Reads mkdocs.yml, whose tags name Python objects, without making any."""


_Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)


def site():
    return yaml.load((ROOT / "mkdocs.yml").read_text(), _Loader)  # noqa: S506  # a SafeLoader


def navigation(node):
    """Return every page that the navigation names, in order."""
    if isinstance(node, str):
        return [node]
    return [page for part in (node.values() if isinstance(node, dict) else node) for page in navigation(part)]


@cache
def anchors(path):
    """Return what a link into a page may point to: its headings, and the names that its reference documents."""
    text = path.read_text()
    markdown = Markdown(extensions=["toc", "attr_list", "md_in_html", "fenced_code"])
    page = markdown.convert(text)
    return set(re.findall(r'id="([^"]+)"', page)) | set(re.findall(r"^::: ([\w.]+)", text, flags=re.MULTILINE))


def broken(path):
    """Return the links of a document that lead nowhere."""
    text = FENCED.sub("", path.read_text())
    found = []
    for link in (one or other for one, other in LINK.findall(re.sub(r"`[^`\n]*`", "", text))):
        if link.startswith(ELSEWHERE):
            continue
        file, _, anchor = unquote(link).partition("#")
        target = (path.parent / file).resolve() if file else path
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            found.append(link)
    return found


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path):
    assert broken(path) == []


def test_broken_links_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A\n[a](#a) [b](#b) [c](none.md) [d](page.md#a) `[e](none.md)` [f](https://nowhere)\n")
    assert broken(page) == ["#b", "none.md"]


def test_the_navigation_knows_every_page():
    assert sorted(navigation(site()["nav"])) == [path.relative_to(DOCS).as_posix() for path in PAGES]


def test_the_site_needs_nothing_from_elsewhere():
    assert site()["theme"]["font"] is False
    for name in ("extra_javascript", "extra_css"):
        for file in site().get(name, []):
            assert (DOCS / file).is_file(), file


def test_every_command_is_in_the_reference():
    page = (DOCS / "reference/cli.md").read_text()
    commands = ["", *COMMANDS, *(f"tokenizer {action}" for action in ACTIONS)]
    assert sorted(re.findall(r"<!-- help:([ \w]*) -->", page)) == sorted(f" {name}".rstrip() for name in commands)


def test_the_reference_has_the_jobs_of_its_functions():
    page = (DOCS / "reference/training.md").read_text()
    listed = re.findall(r"^::: (\S+)\.(\w+)$", page, flags=re.MULTILINE)
    objects = [getattr(importlib.import_module(module), name) for module, name in listed if "settings" not in module]
    jobs = {annotations["job"] for one in objects if "job" in (annotations := getattr(one, "__annotations__", {}))}
    assert len(jobs) > 8
    assert jobs - {name for _, name in listed} == set()


def test_the_reference_holds_what_the_command_prints(capsys):
    place = DOCS / "reference/cli_help.py"
    spec = importlib.util.spec_from_file_location("cli_help", place)
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    page = hook.on_page_markdown("before\n<!-- help: tokenizer encode -->\nafter")
    assert page.startswith("before\n```text\nusage: beit tokenizer encode [RECIPE]")
    assert "--views VIEWS" in page
    assert page.endswith("\n```\nafter")


def test_marks_stand_before_blocks():
    """A mark that no block follows would be read by nobody."""
    for path in (ROOT / "README.md", *PAGES):
        text, page = path.read_text(), read_page(path)
        marks = len(re.findall(r"^[ ]*<!-- (?:needs|limits)", text, flags=re.MULTILINE))
        assert marks == sum(len(block.needs) for block in page.blocks) + text.count("<!-- limits:"), path
        assert text.count("<!-- limits:") == sum(bool(block.limits) for block in page.blocks), path


def test_pages_have_no_forgotten_output():
    assert [path.name for path in PAGES if "@@" in path.read_text()] == []
