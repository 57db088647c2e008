"""The pages are sound: the site builds, every link leads somewhere, and nothing is loaded."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from tests.docs.pages import (
    CODE,
    DOCS,
    FENCED,
    PAGES,
    ROOT,
    Place,
    anchors,
    blocks,
    codes,
    line_of,
    links,
    prose,
    tables,
)

WITHOUT_NETWORK = """
import sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "urllib.Request"):
        raise RuntimeError(f"the network is asked: {event} {arguments}")

sys.addaudithook(refuse)
"""
"""The begin of a program that may ask no other machine."""

BUILD = "from mkdocs.__main__ import cli\ncli()\n"
ASK = "import socket\nsocket.create_connection(('127.0.0.1', 9))\n"

LOADING = {
    *(("script", "src"), ("img", "src"), ("img", "srcset"), ("iframe", "src"), ("link", "href")),
    *(("source", "src"), ("video", "src"), ("audio", "src"), ("object", "data"), ("embed", "src")),
    *(("use", "href"), ("image", "href"), ("use", "xlink:href"), ("image", "xlink:href")),
}
"""Elements whose attribute a browser loads without being asked."""

FOLDERS = {"clusters", "docs", "mlt_ray", "search_spaces", "tests", ".ci"}

ELSEWHERE = re.compile(r"(?:url\(\s*|@import\s+(?:url\(\s*)?)[\"']?((?:https?:)?//[^\"')\s]+)")


class Loaded(HTMLParser):
    """Addresses that a page loads, and the lines of its text outside of `<pre>`."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.lines: list[str] = []
        self._inside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if (tag, name) in LOADING]
        if tag in ("pre", "code", "script", "style"):
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._inside:
            self._inside.remove(tag)

    def handle_data(self, data: str) -> None:
        if not self._inside:
            self.lines += data.splitlines()


def without_network(code: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_NETWORK + code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built from the checkout without a network."""
    out = tmp_path_factory.mktemp("site") / "built"
    done = without_network(BUILD, "build", "--strict", "--site-dir", out)
    assert done.returncode == 0, done.stdout + done.stderr
    said = [line.strip() for line in (done.stdout + done.stderr).splitlines()]
    unexpected = [
        line
        for line in said
        if line and not re.match(r"INFO +- +(Cleaning site|Building doc|Documentation built)", line)
    ]
    assert unexpected == []
    return out


def test_what_asks_the_network_is_noticed() -> None:
    """Else the site could be built with one, unseen."""
    done = without_network(ASK)
    assert done.returncode == 1
    assert "RuntimeError: the network is asked: socket." in done.stderr


def test_the_site_has_a_page_for_each_document(site: Path) -> None:
    built = {path.stem for path in site.glob("*.html")} - {"404"}
    assert built == {path.stem for path in DOCS.glob("*.md")}


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    for page in site.rglob("*.html"):
        loaded = Loaded(page.read_text())
        assert "css/theme.css" in " ".join(loaded.addresses), page.name
        elsewhere = [a for a in loaded.addresses if urlsplit(a).netloc]
        assert elsewhere == [], page.name
        assert ELSEWHERE.findall(page.read_text()) == [], page.name
    sheets = [*site.rglob("*.css"), *site.rglob("*.svg")]
    assert sheets
    for sheet in sheets:
        assert ELSEWHERE.findall(sheet.read_text()) == [], sheet.name
    for picture in site.rglob("images/*.svg"):
        assert [a for a in Loaded(picture.read_text()).addresses if urlsplit(a).netloc] == []


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("@import url('https://a.org/b.css')", "https://a.org/b.css"),
        ("x {src: url(//a.org/f.woff)}", "//a.org/f.woff"),
        ('@import "https://a.org/c.css"', "https://a.org/c.css"),
    ],
)
def test_what_a_style_sheet_loads_from_elsewhere_is_seen(text: str, address: str) -> None:
    assert ELSEWHERE.findall(text) == [address]


def test_what_a_page_loads_is_seen_and_its_links_are_not() -> None:
    page = '<a href="https://a.org"></a><img src="//b.org/p.png"><link href="https://c.org/s.css">'
    assert Loaded(page).addresses == ["//b.org/p.png", "https://c.org/s.css"]


def test_no_page_shows_the_marks_of_a_list_a_table_or_a_block(site: Path) -> None:
    """Markdown that GitHub reads, but the site does not, such as a list without a blank line."""
    for page in site.glob("*.html"):
        shown = [
            line
            for line in Loaded(page.read_text()).lines
            if re.match(r" *([-*] |\| |#+ |\d+\. |```)|.*(\*\*|\]\()", line)
        ]
        assert shown == [], page.name


def test_the_navigation_names_every_document() -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    named = [path for entry in nav for path in entry.values()]
    assert sorted(named) == sorted(path.name for path in DOCS.glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_fence_and_every_code_is_closed(page: Path) -> None:
    assert "```" not in prose(page)
    for found in re.finditer(r"(?:.+\n?)+", prose(page)):
        place = Place(page, line_of(prose(page), found.start()))
        assert "`" not in CODE.sub("", found[0]), place


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_all_rows_of_a_table_have_as_many_cells_as_its_head(page: Path) -> None:
    for table in tables(page):
        assert {len(row) for row in table} == {len(table[0])}, table[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for place, target in links(page):
        address = urlsplit(target)
        if address.scheme or address.netloc:
            assert address.scheme == "https", f"{place}: {target}"
            continue
        file = page.parent / address.path if address.path else page
        assert file.is_file(), f"{place}: {target}"
        if page.parent == DOCS:
            assert file.resolve().is_relative_to(DOCS), f"{place}: {target} is not in the site"
        if address.fragment:
            assert address.fragment in anchors(file), f"{place}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_of_the_checkout_that_a_page_names_is_there(page: Path) -> None:
    """Such as `clusters/local/head.sh`; a part in capitals is the reader's own."""
    for code in codes(page):
        top, slash, rest = code.text.partition("/")
        if slash and top in FOLDERS and not re.search(r"[ :]|(?<![a-z])[A-Z]{2,}", rest):
            assert (ROOT / code.text).exists(), code


def test_links_pictures_and_headings_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A b: c\n\n[x](y.md#z), `[no](no)`\n![a](i.svg)\n\n```\n[n](n)\n```\n")
    assert [target for _, target in links(page)] == ["y.md#z", "i.svg"]
    assert [place.line for place, _ in links(page)] == [3, 4]
    assert anchors(page) == {"a-b-c"}
    assert [block.place.line for block in blocks(page)] == [7]
    assert len(FENCED.findall(page.read_text())) == 1


def test_documents_link_to_all_others_or_the_readme_does() -> None:
    """No page can only be found by the side bar."""
    linked = {Path(target).name for page in PAGES for _, target in links(page)}
    assert {path.name for path in DOCS.glob("*.md")} - {"index.md"} <= linked


def numbers(page: Path) -> set[str]:
    return set(re.findall(r"\d[\d.,]*\d|\d", page.read_text()))


def test_the_first_page_says_no_number_that_the_readme_does_not_say() -> None:
    assert numbers(DOCS / "index.md") <= numbers(ROOT / "README.md")


def test_blocks_of_the_first_page_stand_in_the_readme() -> None:
    shown = {block.text for block in blocks(DOCS / "index.md")}
    assert shown <= {block.text for block in blocks(ROOT / "README.md")}


def test_tables_of_the_first_page_say_what_the_readme_says() -> None:
    """Where rows have the same first cell, its cells are the beginnings of the README's."""
    said = {row[0]: row for table in tables(ROOT / "README.md") for row in table}
    for table in tables(DOCS / "index.md"):
        for row in table:
            full = [cell.replace("](docs/", "](") for cell in said.get(row[0], row)]
            assert [cell[: len(mine)] for cell, mine in zip(full, row, strict=True)] == row
