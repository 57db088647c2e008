"""The verb ``evaluate``."""

from typing import Annotated

import typer
from rich.console import Console

from mlt_ray.cli.options import DEFAULT_STORE, Audio, Corpus, Glove, ModelFile, Out, Store, Texts

Rows = Annotated[
    list[str],
    typer.Argument(metavar="STUDY/ROW...", help="Rows that were run in the store."),
]
LabelsOption = Annotated[
    str | None,
    typer.Option(
        "--labels",
        metavar="SET|YAML",
        help="What of the corpus counts, as studies say it: four, or '{happy: [joy, love], "
        "leave_out: rest}'; default: emotions that the rows' classes are or spell.",
    ),
]
LeaveOutHeard = Annotated[
    bool,
    typer.Option(
        "--leave-out-heard",
        help="Leave out recordings that a row's runs were trained on, which are an error else.",
    ),
]
UnreadTexts = Annotated[
    bool,
    typer.Option(
        "--unread-texts",
        help="Also rows that read words, if many texts are in letters that they do not read.",
    ),
]


def evaluate(
    rows: Rows,
    corpus: Corpus,
    store: Store = DEFAULT_STORE,
    labels: LabelsOption = None,
    audio: Audio = None,
    texts: Texts = None,
    leave_out_heard: LeaveOutHeard = False,
    unread_texts: UnreadTexts = False,
    glove: Glove = None,
    model_file: ModelFile = None,
    out: Out = None,
) -> None:
    """Test trained rows on another corpus, beside their test scores on their own.

    Every finished run of a row is tested on all utterances that count, and so is the mean of their
    probabilities. Rows are compared on the same utterances, by resampling dialogs or speakers; no t
    test over folds, whose models are all tested on the same utterances.

    What was computed is kept: ask again, and nothing is computed.
    """
    from mlt_ray.corpus.readers.elsewhere import Elsewhere
    from mlt_ray.storage.files import check_writable
    from mlt_ray.storage.store import Store as RunStore
    from mlt_ray.workflows.evaluate import (
        EvaluationRequest,
        evaluate_rows,
        read_labels,
        show_evaluated,
    )

    if out is not None:
        check_writable(out, "--out")
    request = EvaluationRequest(
        rows=rows,
        corpus=corpus,
        store=RunStore(store),
        elsewhere=Elsewhere(audio=audio, texts=texts),
        labels=read_labels(labels),
        leaves_out_heard=leave_out_heard,
        unread_texts=unread_texts,
        glove=glove,
        model_file=model_file,
    )
    console = Console()
    show_evaluated(evaluate_rows(request, console), request.store, out, console)
