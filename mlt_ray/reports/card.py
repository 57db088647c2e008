"""The model card of an exported row: what it was trained on, its scores, how to use it, its limits.

It is Markdown with the YAML front matter of Hugging Face's cards. All numbers are the store's.
"""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any, Final

import yaml
from jinja2 import Environment, StrictUndefined

from mlt_ray.corpus.examination.paper_counts import has_paper_counts
from mlt_ray.corpus.fold_notes import describe
from mlt_ray.corpus.folds import Fold, make_folds
from mlt_ray.corpus.synthetic.demo import is_demo
from mlt_ray.corpus.texts import same_words_key
from mlt_ray.corpus.utterance import Corpus, Utterance
from mlt_ray.errors import UserError
from mlt_ray.features.fitted import LEAST_RECORDINGS
from mlt_ray.inference.folder.layout import HeldOut, Part, encoders_of, reads_vectors
from mlt_ray.inference.trained import TrainedModel
from mlt_ray.parsing import unknown_key
from mlt_ray.reports.collect import find_record
from mlt_ray.reports.page.cells import interval_text, mean_text, percent
from mlt_ray.reports.page.content import RowContent, StudyContent, contents_of
from mlt_ray.reports.page.provenance import versions
from mlt_ray.reports.resampling import Counts, groups_of, interval
from mlt_ray.reports.results import results_of
from mlt_ray.spec import ModelSpec
from mlt_ray.storage.store import Store

CARD: Final = "README.md"
"""Name of the card's file: hubs show it as the model's page."""

PAPER: Final = (
    "J. He, M. Wu, M. Li, X. Zhu, F. Ye: Multilevel Transformer for Multimodal Emotion Recognition"
)

METHODS: Final[Mapping[str, str]] = {
    "multilevel": f"The multilevel transformer of {PAPER}.",
    "multigranularity": f"The multi-granularity model of {PAPER}.",
    "bert": "A pre-trained text encoder alone, after Devlin et al. (2019), as "
    f"compared with in {PAPER}.",
    "yoon": "The dual recurrent encoder of S. Yoon et al., built from its paper.",
    "xu": "The learnt alignment of H. Xu et al., built from its paper.",
    "li": "The cross modality excitement of H. Li et al., built from its paper.",
    "speech": "A head on a pre-trained speech encoder.",
    "classical": "Classifiers of scikit-learn, with probabilities scaled by a temperature "
    "(Guo et al., 2017).",
}
"""What systems of this package are, and where they come from."""

LICENCES: Final[Mapping[str, str]] = {
    "espeakng-loader": "espeak-ng, which pronounces the words: GPLv3",
    "opensmile": "openSMILE, which computes acoustic parameters: free for research, but not for "
    "commercial products",
}
"""Packages that a model may need whose licences are of their own kind."""

FEW_TEXTS: Final = 50
"""With fewer different texts, the card says that words are hardly tested (*assumed* bound)."""


@dataclass(frozen=True, kw_only=True)
class Export:
    """What a card says of the export that it belongs to.

    `folder` is its name, and `files` are the names of what lies in it. `licence` is that of the
    model, as its user gives it. `requirements` are lines of pip's.
    """

    to: str
    folder: str
    licence: str | None
    requirements: tuple[str, ...]
    files: tuple[str, ...] = ()


def row_content(study: str, row: str, store: Store, run: str | None = None) -> StudyContent:
    """What the reports say of one row of a study, as if the study had no other.

    `run` is the digest of the only run that counts (None: all do). `UserError` for a study or a row
    that the store does not have, and one without finished runs.
    """
    record = find_record(study, store)
    rows = {found.name: found for found in record.rows}
    if row not in rows:
        raise unknown_key(study, row, list(rows), "row")
    kept = tuple(one for one in rows[row].runs if run in (None, one.digest))
    one_row = replace(record, rows=(replace(rows[row], runs=kept),))
    content = contents_of(results_of([one_row], store))[0]
    if not content.rows:
        raise UserError(f"{study}/{row}: expected finished runs, found none; run it first")
    return content


def held_out(model: TrainedModel, corpus: Corpus) -> HeldOut:
    """By fold, who speaks in the parts that the runs of the fold were not trained on."""
    wanted = {run.fold for run in model.runs}
    return {
        fold.number: {
            name: _part([corpus.utterances[i] for i in fold.parts()[name]])
            for name in ("dev", "test")
        }
        for fold in _folds(model, corpus)
        if fold.number in wanted
    }


def _part(utterances: list[Utterance]) -> Part:
    return Part(
        sessions=tuple(sorted({u.session for u in utterances if u.session})),
        speakers=tuple(sorted({u.speaker for u in utterances if u.speaker})),
        utterances=len(utterances),
    )


def card_of(model: TrainedModel, content: StudyContent, parts: HeldOut, export: Export) -> str:
    """The text of the card of a row (`row_content`)."""
    # Markdown: `plain_text` escapes what it shows.
    environment = Environment(  # nosec B701
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= {"text": plain_text, "quote": shlex.quote}
    template = files("mlt_ray.reports").joinpath("card.md.j2").read_text("utf-8")
    corpus = content.corpora[0] if content.corpora else None
    found = content.rows[0]
    scores = score_lines(found, content)
    values = {
        "front": front_matter(model, content, export),
        "title": title_of(model, content),
        "model": model,
        "spec": model.spec,
        "export": export,
        "content": content,
        "corpus": corpus and corpus_values(corpus),
        "parts": parts,
        "runs": runs_values(model),
        "heard": heard_text(model, corpus),
        "voices": voices_text(model, corpus),
        "scores": scores,
        "few": content.few if any(line["interval"] for line in scores) else "",
        "recalls": recall_lines(found),
        "least_recordings": LEAST_RECORDINGS,
        "ece": percent(found.calibration.error),
        "gaps": found.measured.gaps,
        "method": method_text(model.spec.model),
        "encoders": encoders_of(model.spec),
        "vectors": model.spec.features.vectors if reads_vectors(model) else "",
        "folds": describe(model.spec.folds, model.spec.features.standardise),
        "notes": content.table.notes,
        "licences": [text for name, text in LICENCES.items() if _needs(name, export)],
        "versions": versions(content),
    }
    return environment.from_string(template).render(values)


def title_of(model: TrainedModel, content: StudyContent) -> str:
    """The study and the row; of a run that was exported by its digest, also which one it is."""
    row = f"{content.record.study}/{content.rows[0].row.name}"
    [run, *others] = model.runs
    if others or model.name != run.digest:
        return row
    return f"{row}, run {run.digest} (fold {run.fold}, seed {run.seed})"


def method_text(spec: ModelSpec) -> str:
    """What a system is, in a sentence."""
    if spec.source:
        return f"{spec.system}, a model of the user's own, {spec.source}."
    return METHODS.get(spec.system, f"The system {spec.system} of mlt_ray.")


def front_matter(model: TrainedModel, content: StudyContent, export: Export) -> str:
    """The YAML between the two lines of dashes, for hubs and their searches."""
    measured = content.rows[0].measured
    reads = ["audio"] * model.reads_audio + ["text"] * model.reads_text
    metrics = {
        "accuracy": ("WA", measured.wa.mean),
        "recall": ("UA, mean recall of the classes", measured.ua.mean),
        "f1": ("macro F1", content.rows[0].runs["test_macro_f1"].mean()),
    }
    task = "audio-classification" if model.reads_audio else "text-classification"
    values: dict[str, Any] = {
        "license": export.licence or "unknown",
        "language": model.spec.features.language,
        "library_name": "mlt_ray",
        "pipeline_tag": task,
        "tags": ["speech-emotion-recognition", "emotion-recognition", "mlt_ray", *reads],
        "model-index": [
            {
                "name": title_of(model, content),
                "results": [
                    {
                        "task": {"type": task, "name": "Speech emotion recognition"},
                        "dataset": {
                            "name": content.table.corpus,
                            "type": content.table.corpus,
                            "split": "test parts of the folds",
                        },
                        "metrics": [
                            {
                                "type": kind,
                                "name": f"{name} (mean over runs, each on its own test part)",
                                "value": round(float(value), 4),
                            }
                            for kind, (name, value) in metrics.items()
                        ],
                    }
                ],
            }
        ],
    }
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True).rstrip()


def corpus_values(corpus: Corpus) -> dict[str, Any]:
    """What the card says of the corpus."""
    texts = {same_words_key(u.text) for u in corpus.utterances}
    return {
        "name": corpus.name,
        "fingerprint": corpus.fingerprint,
        "utterances": len(corpus.utterances),
        "minutes": round(sum(u.duration_s for u in corpus.utterances) / 60),
        "speakers": len({u.speaker for u in corpus.utterances if u.speaker}),
        "sessions": len({u.session for u in corpus.utterances if u.session}),
        "classes": sorted(Counter(u.emotion for u in corpus.utterances).items()),
        "texts": len(texts),
        "has_few_texts": len(texts) < FEW_TEXTS,
        "is_synthetic": is_demo(corpus),
        "is_iemocap": has_paper_counts(corpus),
    }


def runs_values(model: TrainedModel) -> dict[str, Any]:
    """How many runs there are, and of which folds and seeds; of one alone, which it is."""
    if len(model.runs) == 1:
        [run] = model.runs
        which = f"fold {run.fold}, seed {run.seed}"
        return {"num": 1, "planned": model.planned, "which": which}
    folds, seeds = ({getattr(run, name) for run in model.runs} for name in ("fold", "seed"))
    which = f"{_counted(len(folds), 'fold')} × {_counted(len(seeds), 'seed')}"
    if len(folds) * len(seeds) != len(model.runs):
        which = f"of {_counted(len(folds), 'fold')} and {_counted(len(seeds), 'seed')}"
    return {"num": len(model.runs), "planned": model.planned, "which": which}


def heard_text(model: TrainedModel, corpus: Corpus | None) -> str:
    """How many utterances of the corpus some run was trained on, as the rest of a sentence."""
    if corpus is None:
        return "its runs were trained on parts of it"
    heard, everything = _heard(model, corpus), len(corpus.utterances)
    if len(heard) == everything:
        return "each utterance of it was heard by some of its runs in training"
    return f"{len(heard)} of its {everything} utterances were heard by some of its runs in training"


def voices_text(model: TrainedModel, corpus: Corpus | None) -> str:
    """How many speakers some run was trained on; empty if the corpus does not name them."""
    found = [corpus.utterances[i].speaker for i in _heard(model, corpus)] if corpus else []
    speakers = set(filter(None, found))
    return _counted(len(speakers), "speaker") if speakers else ""


def _heard(model: TrainedModel, corpus: Corpus) -> set[int]:
    """The utterances that some run was trained on."""
    wanted = {run.fold for run in model.runs}
    folds = (fold for fold in _folds(model, corpus) if fold.number in wanted)
    return {i for fold in folds for i in fold.train}


def _folds(model: TrainedModel, corpus: Corpus) -> Sequence[Fold]:
    return make_folds(replace(corpus, classes=model.spec.classes), model.spec.folds)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def score_lines(found: RowContent, content: StudyContent) -> list[dict[str, str]]:
    """The table of scores: of dev and test the mean over runs; of test also pooled, in percent.

    The interval is that of `mlt_ray.reports.resampling`, of test predictions together.
    """
    _, group_of = groups_of(list(content.utterances.values()))
    counts = Counts.of(found.predictions, group_of)
    lines = []
    for score, name in (("wa", "WA"), ("ua", "UA"), ("macro_f1", "macro F1")):
        line = {
            "name": name,
            "dev": percent(found.runs[f"dev_{score}"].mean()),
            "test": percent(found.runs[f"test_{score}"].mean()),
            "pooled": "",
            "interval": "",
        }
        if score != "macro_f1":
            statistic = getattr(found.measured, score)
            drawn = interval(score, counts)
            line |= {
                "test": mean_text(statistic.mean, statistic.std_repeats),
                "pooled": percent(statistic.pooled),
                "interval": interval_text(drawn) if drawn else "",
            }
        lines.append(line)
    return lines


def recall_lines(found: RowContent) -> list[dict[str, str]]:
    """Recall of each class over all runs' test predictions, in percent, and how many there are."""
    num = found.confusion.sum(axis=1)
    return [
        {"name": name, "recall": percent(recall), "num": str(int(n))}
        for name, recall, n in zip(found.classes, found.recalls, num, strict=True)
    ]


def plain_text(value: object) -> str:
    """A name from data as Markdown shows it letter by letter, on one line."""
    text = " ".join(str(value).split())
    return "".join(f"\\{c}" if c in r"\`*_{}[]<>#|$~" else c for c in text)


def _needs(name: str, export: Export) -> bool:
    return any(line.partition("==")[0] == name for line in export.requirements)
