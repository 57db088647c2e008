"""The verbs ``corpus demo``, ``corpus synthesize`` and ``corpus check``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from mlt_ray.display.bars import counting


def demo(
    out: Annotated[Path, typer.Argument(help="New folder.")],
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same bytes.")] = 0,
    utterances: Annotated[int, typer.Option(min=20)] = 600,
) -> None:
    """Write the demo corpus, in IEMOCAP's layout."""
    from mlt_ray.corpus.synthetic.demo import write_demo

    with counting("utterances spoken", utterances) as count:
        write_demo(out, seed=seed, utterances=utterances, progress=count)
    print(f"{utterances} utterances in {out}")


def synthesize(
    texts: Annotated[Path, typer.Argument(help="CSV: session, speaker, emotion, text.")],
    out: Annotated[Path, typer.Argument(help="New folder.")],
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same bytes.")] = 0,
) -> None:
    """Voice any texts with emotional prosody, in IEMOCAP's layout."""
    from mlt_ray.corpus.synthetic.lines import read_texts
    from mlt_ray.corpus.synthetic.synthesize import write_corpus

    lines = read_texts(texts)
    with counting("utterances spoken", len(lines)) as count:
        write_corpus(lines, out, seed=seed, progress=count)
    print(f"{len(lines)} utterances in {out}")


def check(
    corpus: Annotated[Path, typer.Argument(help="IEMOCAP's folder, or one with manifest.csv.")],
    everything: Annotated[
        bool, typer.Option("--all", help="Cut no list, and name what is only counted otherwise.")
    ] = False,
) -> None:
    """Describe a corpus and name what is wrong with it; exit 2 if that would break a run."""
    from mlt_ray.corpus.check import check_corpus, render
    from mlt_ray.corpus.readers.read import read_corpus

    console = Console()
    with console.status("reading every recording"):
        found = check_corpus(read_corpus(corpus))
    console.print(render(found, everything=everything))
    if found.fatal:
        raise typer.Exit(2)
