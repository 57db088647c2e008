"""The verbs ``corpus demo``, ``synthesize``, ``languages`` and ``check``."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from mlt_ray.cli.options import Audio, Glove, Texts
from mlt_ray.display.bars import counting, reading
from mlt_ray.display.lines import say
from mlt_ray.display.waiting import waiting
from mlt_ray.spec import ENGLISH

MOST_SEED: Final = 2**31 - 1


def demo(
    out: Annotated[Path, typer.Argument(help="New folder.")],
    seed: Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Same seed, same bytes.")] = 0,
    utterances: Annotated[int, typer.Option(min=20, max=1_000_000)] = 600,
) -> None:
    """Write the demo corpus, in IEMOCAP's layout."""
    from mlt_ray.corpus.espeak import check_installed
    from mlt_ray.corpus.synthetic.demo import write_demo

    check_installed("corpus demo")
    with counting("utterances spoken", utterances) as count:
        write_demo(out, seed=seed, utterances=utterances, progress=count)
    print(f"{utterances} utterances in {out}")


def synthesize(
    texts: Annotated[Path, typer.Argument(help="CSV: session, speaker, emotion, text.")],
    out: Annotated[Path, typer.Argument(help="New folder.")],
    seed: Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Same seed, same bytes.")] = 0,
    language: Annotated[
        str, typer.Option(help="Language of the texts, by code: see mlt-ray corpus languages.")
    ] = "en-us",
) -> None:
    """Voice any texts with emotional prosody, in IEMOCAP's layout."""
    from mlt_ray.corpus.espeak import check_language
    from mlt_ray.corpus.synthetic.lines import read_texts
    from mlt_ray.corpus.synthetic.synthesize import write_corpus

    check_language(language, "--language")
    lines = read_texts(texts)
    with counting("utterances spoken", len(lines)) as count:
        write_corpus(lines, out, seed=seed, language=language, progress=count)
    print(f"{len(lines)} utterances in {out}")


def languages() -> None:
    """List the languages of texts that can be pronounced, by code."""
    from mlt_ray.corpus.espeak import languages

    for code, language in languages().items():
        print(f"{code:20} {language.name}")


def check(
    corpus: Annotated[
        Path, typer.Argument(help="Folder of IEMOCAP, EmoBox or MELD, or one with manifest.csv.")
    ],
    audio: Audio = None,
    texts: Texts = None,
    labels: Annotated[
        str,
        typer.Option(help="What counts, as a study says it: four, five, six, all or YAML."),
    ] = "four",
    language: Annotated[
        str, typer.Option(help="Language of the texts, as in features.language: en, de, pl, …")
    ] = ENGLISH,
    glove: Glove = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Cut no list, and name what is only counted otherwise.")
    ] = False,
) -> None:
    """Describe a corpus and name what is wrong with it; exit 2 if that would break a run."""
    from mlt_ray.corpus.espeak import check_language
    from mlt_ray.corpus.examination.check import check_corpus
    from mlt_ray.corpus.examination.text import render
    from mlt_ray.corpus.labelling import absent_text, check_labels, select
    from mlt_ray.corpus.readers.elsewhere import Elsewhere
    from mlt_ray.corpus.readers.read import read_corpus
    from mlt_ray.corpus.utterance import Problem
    from mlt_ray.documents import parse_yaml
    from mlt_ray.features.phonemes import phonemizer_of
    from mlt_ray.features.vectors import load_vectors
    from mlt_ray.planning.vocabulary import Vocabulary
    from mlt_ray.studies.labels import parse_labels

    console, counted = Console(), parse_labels(parse_yaml(labels, "--labels"), "--labels")
    if language != ENGLISH:
        check_language(language, "--language")
    vectors = load_vectors(glove)
    with reading(console) as progress:
        whole = read_corpus(corpus, progress, Elsewhere(audio=audio, texts=texts))
    with waiting(console, "examining texts and folds"):
        check_labels(whole, counted)
        selected = select(whole, counted)
        if absent := absent_text(whole, counted):
            problem = Problem(where=whole.name, reason=absent)
            selected = replace(selected, problems=(*selected.problems, problem))
        found = check_corpus(selected, language=language)
        words = Vocabulary.of(selected, language, vectors, phonemizer_of(language))
    console.print(render(found, everything=everything))
    for line in (*words.lines, *([f"note: {words.note}"] if words.note else ())):
        say(console, line)
    if found.fatal:
        raise typer.Exit(2)
