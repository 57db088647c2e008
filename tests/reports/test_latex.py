"""tables.tex in a real LaTeX."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from mlt_ray.reports.tables import as_latex
from tests.reports.test_tables import BOTH, TABLE

DOCUMENT = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage{booktabs}
\begin{document}
\input{tables}
See Tables \ref{tab:table1} and \ref{tab:mine_2}.
\end{document}
"""


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_the_tables_compile_and_fit_on_a_page(tmp_path: Path) -> None:
    odd = replace(BOTH, name=r"100 % & $x_1$ #2 {a} ~b^c \d – ‘e’")
    measured = replace(odd, published=None, name="a row of a rather long name, of one's own")
    tables = [TABLE, replace(TABLE, study="mine_2", rows=(odd, measured))]
    (tmp_path / "tables.tex").write_text(as_latex(tables))
    (tmp_path / "paper.tex").write_text(DOCUMENT)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    for _ in range(2):  # the second resolves the references
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "paper.pdf").read_bytes().startswith(b"%PDF")
    assert "Overfull" not in done.stdout
    assert "undefined" not in done.stdout
