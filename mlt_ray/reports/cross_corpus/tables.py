"""Tables of rows on another corpus, for people: terminal, Markdown and LaTeX."""

from collections.abc import Iterator, Sequence

from rich.markup import escape
from rich.table import Table

from mlt_ray.reports.cross_corpus.cells import (
    DIFFERENCE_HEAD,
    SCORE_HEAD,
    class_head,
    class_lines,
    difference_lines,
    legend,
    score_lines,
    title,
)
from mlt_ray.reports.cross_corpus.scores import CrossCorpus
from mlt_ray.reports.markup import Lines, latex_table, markdown_table, terminal_table


def as_terminal(found: CrossCorpus) -> Iterator[Table]:
    """Tables that `rich` prints in 80 characters: scores, classes of each row, differences."""
    scores = terminal_table(SCORE_HEAD[1:], _below_names(score_lines(found)))
    yield _titled(title(found), scores)
    for row in found.rows:
        name = f"{row.name}: recall, and what the ensemble answers (a line a true class)"
        yield _titled(name, terminal_table(class_head(row), class_lines(row)))
    if found.differences:
        lines = _below_names(difference_lines(found))
        yield _titled("Differences, in points", terminal_table(DIFFERENCE_HEAD[1:], lines))


def _titled(name: str, table: Table) -> Table:
    table.title, table.title_justify = escape(name), "left"
    return table


def _below_names(lines: Lines) -> Lines:
    """The first column of texts as lines of their own, above what belongs to each."""
    found: Lines = []
    last = ""
    for name, *cells in lines:
        if name and name != last:
            found.append([name, *[""] * (len(cells) - 1)])
            last = name
        found.append([f"  {cells[0]}", *cells[1:]])
    return found


def as_markdown(found: CrossCorpus) -> str:
    """Markdown: the tables of the terminal, with what each row was trained on."""
    parts = [f"# {title(found)}", markdown_table(SCORE_HEAD, score_lines(found), texts=2)]
    parts.append("\n".join(f"- {line}" for line in [*_trained(found), *legend(found)]))
    for row in found.rows:
        parts += [f"## {row.name}", "Recall, and what the ensemble answers, a line a true class."]
        parts.append(markdown_table(class_head(row), class_lines(row)))
    if found.differences:
        parts += ["## Differences, in points"]
        parts.append(markdown_table(DIFFERENCE_HEAD, difference_lines(found), texts=2))
    return "\n\n".join(parts) + "\n"


def _trained(found: CrossCorpus) -> list[str]:
    return [f"{row.name}: trained on {row.trained_on}, {row.folds}." for row in found.rows]


def as_latex(found: CrossCorpus) -> str:
    """LaTeX tables for the booktabs package: scores, classes of each row, differences."""
    parts = [_latex(title(found), "cross_corpus", SCORE_HEAD, score_lines(found), texts=2)]
    for n, row in enumerate(found.rows, start=1):
        name = f"{row.name} on {found.corpus}: recall, and what the ensemble answers"
        parts.append(_latex(name, f"classes_{n}", class_head(row), class_lines(row), texts=1))
    if found.differences:
        name, lines = f"Differences on {found.corpus}, in points", difference_lines(found)
        parts.append(_latex(name, "differences", DIFFERENCE_HEAD, lines, texts=2))
    comments = "\n".join(f"% {line}" for line in [*_trained(found), *legend(found)])
    return comments + "\n" + "\n\n".join(parts) + "\n"


def _latex(name: str, label: str, head: Sequence[str], lines: Lines, texts: int) -> str:
    return latex_table(head, lines, caption=f"{name}.", label=label, texts=texts, width=0.24)
