"""Tables of cells in the forms that people read: terminal, Markdown and LaTeX.

The first columns hold texts, the others numbers. What the cells say is the caller's.
"""

from collections.abc import Iterable, Sequence

from rich import box
from rich.markup import escape
from rich.table import Table

Lines = list[list[str]]
"""Rows of cells."""


def terminal_table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> Table:
    """A table that `rich` prints; only its first column is broken into lines where it is long."""
    shown = Table(box=box.HORIZONTALS, padding=0)
    shown.add_column(escape(head[0]), overflow="fold")
    for heading in head[1:]:
        shown.add_column(escape(heading.replace(" ", "\n")), justify="right", no_wrap=True)
    for text, *cells in lines:
        # Without blanks, most rows fit into a terminal of 80 characters.
        shown.add_row(escape(text), *(escape(cell.replace(" ± ", "±")) for cell in cells))
    return shown


def markdown_table(head: Sequence[str], lines: Iterable[Sequence[str]], *, texts: int = 1) -> str:
    """A Markdown table; `texts` columns are aligned to the left, the others to the right."""
    rule = ["---"] * texts + ["---:"] * (len(head) - texts)
    return "\n".join(map(_pipes, [head, rule, *lines]))


def _pipes(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def latex_table(
    head: Sequence[str],
    lines: Iterable[Sequence[str]],
    *,
    caption: str,
    label: str,
    texts: int = 1,
    width: float,
) -> str:
    """A LaTeX table for the booktabs package.

    `texts` columns take `width`, a share of the line, each. `label` stands as it is.
    """
    columns = rf"p{{{width:g}\linewidth}}" * texts + "r" * (len(head) - texts)
    first, *rest = [" & ".join(map(latex_text, cells)) + r" \\" for cells in [head, *lines]]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{latex_text(caption)}}}",
            rf"\label{{tab:{label}}}",
            r"\footnotesize",
            r"\setlength{\tabcolsep}{3pt}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            first,
            r"\midrule",
            *rest,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def latex_text(text: str) -> str:
    """A text that LaTeX prints as it is."""
    names = {"\\": "textbackslash", "~": "textasciitilde", "^": "textasciicircum"}
    escapes = {c: rf"\{c}" for c in "&%_#${}"} | {c: rf"\{n}{{}}" for c, n in names.items()}
    return "".join({**escapes, "±": r"$\pm$"}.get(c, c) for c in text)
