"""Where a command finds what it needs, and what it finds there."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mlt_ray.corpus.labelling import absent_text, check_labels, select
from mlt_ray.corpus.readers.elsewhere import HERE, Elsewhere
from mlt_ray.corpus.readers.read import read_corpus
from mlt_ray.corpus.recordings import Progress
from mlt_ray.corpus.unread import MOST_UNREAD, too_many_unread, unread_text
from mlt_ray.corpus.utterance import Corpus
from mlt_ray.errors import UserError
from mlt_ray.features.cache import FeatureProgress
from mlt_ray.labels import Labels
from mlt_ray.machine import usable_memory
from mlt_ray.planning.contents import Pretrained, name_contents
from mlt_ray.planning.memory.needs import Need, check_memory
from mlt_ray.planning.plan import spec_of
from mlt_ray.planning.prepare import fill_cache
from mlt_ray.planning.resources import (
    LOCAL,
    Node,
    Resources,
    check_fits,
    cpus_here,
    gpus_here,
    ray_address,
)
from mlt_ray.planning.states import StatesLeft, states_left
from mlt_ray.planning.vocabulary import Vocabulary
from mlt_ray.spec import NO_TF32, RunSpec, TrainingSpec
from mlt_ray.storage.store import Store
from mlt_ray.studies.study import Row, Study

if TYPE_CHECKING:
    from mlt_ray.encoders.embedding import Embedder


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where a command finds corpus, store, pre-trained files and machines.

    `unread_texts`: train systems that read words although they cannot read most texts of the
    corpus (`mlt_ray.corpus.unread`).
    """

    corpus: Path
    store: Store
    elsewhere: Elsewhere = HERE
    glove: Path | None = None
    encoder: str | None = None
    speech_encoder: str | None = None
    unread_texts: bool = False
    tracking_uri: str | None = None
    address: str | None = None
    resources: Resources = field(default_factory=Resources)

    @property
    def is_local(self) -> bool:
        """True if this machine computes by itself, and no cluster."""
        return ray_address(self.address) == LOCAL

    def resources_here(self) -> Resources:
        """The resources, with GPUs filled in if this machine computes by itself.

        What a cluster has is not known before it is joined.
        """
        if not self.is_local or self.resources.gpus_per_run is not None:
            return self.resources
        return self.resources.with_gpus(gpus_here())

    def check_machine(self) -> None:
        """`UserError` if this machine computes by itself and has too little for a run."""
        if self.is_local:
            check_fits(self.resources, [self.node_here()])

    def node_here(self) -> Node:
        """This machine, with its GPUs if the resources ask for some."""
        asked = self.resources
        uses_gpu = asked.gpus_per_run or asked.gpus_per_worker or asked.cuda_graphs
        return Node(cpus_here(), gpus_here() if uses_gpu else 0, usable_memory())

    def check_precision(self, trainings: Iterable[TrainingSpec]) -> None:
        """`UserError` if this machine computes by itself and lacks the precision of one."""
        wants_gpu = any(training.precision == "tf32" for training in trainings)
        if wants_gpu and self.is_local and not gpus_here():
            raise UserError(NO_TF32)


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """Places, opened: the corpus, and what computes its features."""

    places: Places
    corpus: Corpus
    pretrained: Pretrained

    @classmethod
    def open(
        cls, places: Places, labels: Iterable[Labels], progress: Progress | None = None
    ) -> "Workspace":
        """Read the corpus and find the pre-trained files; `UserError` if one cannot be used.

        That is so if the utterances that `labels` count are not fit to train on. `progress` is
        called after each recording.
        """
        corpus = read_corpus(places.corpus, progress, places.elsewhere)
        for counted in labels:
            check_labels(corpus, counted)
            if absent := absent_text(corpus, counted):
                raise UserError(f"corpus {corpus.name}: {absent}")
            check_usable(select(corpus, counted), places.corpus)
        pretrained = Pretrained.load(
            places.glove, places.encoder, places.speech_encoder, places.store
        )
        return cls(places=places, corpus=corpus, pretrained=pretrained)

    @property
    def store(self) -> Store:
        """Where results and features are."""
        return self.places.store

    def name_contents(self, study: Study, asked: Collection[str] | None = None) -> Study:
        """`planning.contents.name_contents` with this corpus and these pre-trained files.

        Also raises `UserError` if a row that is asked for reads texts and the corpus has none, if
        it reads English words and too many texts are in letters that it cannot read, and if a model
        of one's own does not keep to what it must (`planning.own_models`).
        """
        rows = [row for row in study.rows if asked is None or row.name in asked]
        for labels in dict.fromkeys(row.labels for row in rows):
            counted = select(self.corpus, labels)
            reading = [row for row in rows if row.labels == labels]
            check_texts(counted, reading, self.places.unread_texts)
        for row in rows:
            if row.model.source:
                # Not at the top: it imports torch.
                from mlt_ray.planning.own_models import try_model

                self.check_memory([self.need(row.name, row.labels, spec_of(row, self.corpus), 1)])
                try_model(row, len(select(self.corpus, row.labels).classes))
        return name_contents(study, self.corpus, self.pretrained, asked)

    def need(self, name: str, labels: Labels, spec: RunSpec, num_runs: int) -> Need:
        """The memory that so many runs of a row take; not known where it shall not be checked."""
        if not self.places.resources.memory_check:
            return Need(name, spec, None, num_runs)
        # Not at the top: it imports torch.
        from mlt_ray.planning.memory.estimate import memory_of

        corpus = select(self.corpus, labels)
        workers = self.places.resources.workers
        return Need(name, spec, memory_of(spec, corpus, self.pretrained, workers), num_runs)

    def check_memory(self, needs: Iterable[Need]) -> None:
        """`UserError` if this machine computes by itself and has too little memory for runs."""
        if self.places.is_local:
            resources, node = self.places.resources_here(), self.places.node_here()
            check_memory(needs, resources, [node], "this machine has")

    def text_notes(self, rows: Iterable[Row]) -> tuple[str, ...]:
        """What in the texts makes rows that read words worse than they could be, a line each."""
        ways = dict.fromkeys((r.labels, r.features.language) for r in rows if r.model.reads_words)
        notes = []
        for labels, language in ways:
            corpus = select(self.corpus, labels)
            phonemizer = self.pretrained.phonemizer_of(language)
            words = Vocabulary.of(corpus, language, self.pretrained.vectors, phonemizer)
            notes += [unread_text(corpus, language), words.note]
        return tuple(dict.fromkeys(filter(None, notes)))

    def fill_cache(
        self,
        rows: Sequence[Row],
        progress: FeatureProgress,
        embed: "Embedder | None" = None,
    ) -> int:
        """`planning.prepare.fill_cache` with this corpus and these pre-trained files."""
        self.places.check_precision(row.training for row in rows)
        return fill_cache(self.corpus, rows, self.store, self.pretrained, progress, embed)

    def states_left(self, rows: Sequence[Row]) -> tuple[StatesLeft, ...]:
        """`planning.states.states_left` with this corpus and these pre-trained files."""
        return states_left(self.corpus, rows, self.store, self.pretrained)


def check_texts(corpus: Corpus, rows: Iterable[Row], unread_texts: bool) -> None:
    """`UserError` if a row reads texts that what counts of a corpus has not, or not as it can.

    With `unread_texts`, rows may read words although most texts are in letters that they do not
    read.
    """
    reading = [row for row in rows if row.model.reads_words or row.model.text_encoder]
    if reading and not any(u.text.strip() for u in corpus.utterances):
        raise UserError(
            f"corpus {corpus.name}: expected texts where a row reads them, as "
            f"{_named(reading)} would, found none; add them to the corpus (--texts for "
            "EmoBox's), or train rows of audio alone"
        )
    english = [row for row in reading if row.model.reads_words and row.features.is_english]
    if english and too_many_unread(corpus) and not unread_texts:
        raise UserError(
            f"corpus {corpus.name}: {unread_text(corpus)}, expected at most "
            f"{MOST_UNREAD:.0%} where a row reads words, as {_named(english)} would; "
            "set features.language, transcribe them in letters from a to z, train other "
            "rows, or give --unread-texts"
        )


def _named(rows: Iterable[Row]) -> str:
    return ", ".join(row.name for row in rows)


def check_usable(corpus: Corpus, path: Path) -> None:
    """`UserError` where something in the corpus would silently change numbers."""
    fatal = [p for p in corpus.problems if p.fatal]
    if fatal:
        more = f" (and {len(fatal) - 1} more)" if len(fatal) > 1 else ""
        raise UserError(f"{fatal[0]}{more}; mlt-ray corpus check --all {path} lists all of them")
    if not corpus.utterances:
        raise UserError(f"{path}: expected utterances, found none; see mlt-ray corpus check {path}")
