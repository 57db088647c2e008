"""What the pages for users hold: blocks of code, code in lines, commands, links and headings."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
TOP = ("README", "CONTRIBUTING", "SECURITY")
PAGES = (*(ROOT / f"{name}.md" for name in TOP), *sorted(DOCS.glob("*.md")))

FENCED = re.compile(r"^( *)```([a-z]*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
LINK = re.compile(r"(?<!\\)\[(?:[^][]|!\[[^]]*\]\([^)]*\))*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)


@dataclass(frozen=True)
class Place:
    """A line of a page."""

    page: Path
    line: int

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True)
class Block:
    """The lines between two fences; the language is empty where the first fence names none."""

    place: Place
    language: str
    text: str

    def __str__(self) -> str:
        return str(self.place)


@dataclass(frozen=True)
class Code:
    """A code in a line of text, or over the end of one; line ends are blanks here."""

    place: Place
    text: str

    def __str__(self) -> str:
        return f"{self.place} {self.text[:40]}"


@dataclass(frozen=True)
class Command:
    """One program and its arguments, as a shell would split them."""

    place: Place
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.place} {' '.join(self.words)[:60]}"


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page."""
    text = page.read_text()
    return [
        Block(Place(page, line_of(text, found.start()) + 1), found[2], found[3])
        for found in FENCED.finditer(text)
    ]


def prose(page: Path) -> str:
    """A page's text with empty lines in place of fenced blocks."""
    return FENCED.sub(lambda found: "\n" * found[0].count("\n"), page.read_text())


def codes(page: Path) -> list[Code]:
    """All codes that stand in the lines of a page."""
    text = prose(page)
    return [
        Code(Place(page, line_of(text, found.start())), " ".join(found[1].split()))
        for found in CODE.finditer(text)
    ]


def links(page: Path) -> list[tuple[Place, str]]:
    """Targets of a page's links and pictures."""
    text = CODE.sub(lambda found: re.sub(r"[^\n]", "x", found[0]), prose(page))
    return [(Place(page, line_of(text, found.start())), found[1]) for found in LINK.finditer(text)]


def anchors(page: Path) -> set[str]:
    """What `#…` may name on a page, on GitHub and in the built site alike."""
    titles = HEADING.findall(prose(page))
    plain = (re.sub(r"[^\w\s-]", "", title).strip().lower() for title in titles)
    # The site makes one hyphen of several, GitHub does not.
    return {re.sub(r"\s", "-", title) for title in plain if not re.search(r"[-\s]{2}", title)}


def tables(page: Path) -> list[list[list[str]]]:
    """Tables of a page: rows of cells, the head first and without the line below it."""
    found: list[list[list[str]]] = [[]]
    for line in prose(page).splitlines():
        if not line.startswith("|"):
            found.append([])
        elif set(line) - set("|- :"):
            found[-1].append([cell.strip() for cell in line.strip("|").split("|")])
    return [table for table in found if table]


def commands_of(place: Place, text: str) -> Iterator[Command]:
    """The commands of a shell's line, without comments and without what is set before them."""
    reader = shlex.shlex(text, posix=True, punctuation_chars=True)
    reader.whitespace_split = True
    words: list[str] = []
    for word in [*reader, ";"]:
        if set(word) - set(";&|"):
            words.append(word)
            continue
        while words and (words[0] == "time" or re.match(r"[A-Z_]+=", words[0])):
            words.pop(0)
        if words:
            yield Command(place, tuple(words))
        words = []


def commands_in(block: Block) -> Iterator[Command]:
    """The commands of a block; a line that ends with a backslash goes on in the next."""
    line, whole = block.place.line, ""
    for number, text in enumerate(block.text.splitlines(), line):
        whole += text.removesuffix("\\")
        if not text.endswith("\\"):
            yield from commands_of(Place(block.place.page, line), whole)
            line, whole = number + 1, ""


def line_of(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1
