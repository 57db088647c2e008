"""Reads a page as HTML, for tests of what stands in it."""

import re
from html.parser import HTMLParser


class Reader(HTMLParser):
    """Collects the words of a page, its tags and the addresses that it names."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    return reader


def words(html: str) -> str:
    """What a page says, with single blanks."""
    return " ".join(" ".join(read(html).words).split())


def check_it_asks_nobody(html: str) -> None:
    """It runs nothing, and names no address but places in itself."""
    found = read(html)
    assert "script" not in found.tags
    assert all(address.startswith(("#", "data:")) for address in found.addresses)
    assert not re.search(r"url\((?!#)|@import|@font-face", html)
