"""Inputs for GPU checks: a made-up corpus with its features, and every network of the studies.

Frames are random values of four levels, stored as two bits each. Each class has a band with more
of the highest level, so that a network can learn it. Lengths are distributed like IEMOCAP's. The
inputs are made and loaded without a corpus, audio, word vectors or encoders. States of a speech
encoder are columns of the log-mel frames.

A folder holds ``inputs.json`` (tables, words, specifications) and ``features.npz``.
"""

import copy
import hashlib
import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from mlt_ray.corpus.folds import make_folds
from mlt_ray.corpus.utterance import Corpus, Utterance
from mlt_ray.encoders.catalogue import RESEMBLYZER_WEIGHTS
from mlt_ray.encoders.folder import encoder_folder
from mlt_ray.errors import UserError
from mlt_ray.features.batching import FoldData
from mlt_ray.features.cache import Cache
from mlt_ray.features.extract import cache_digest, text_sha256
from mlt_ray.features.extras import INPUTS
from mlt_ray.labels import FOUR
from mlt_ray.models.bert.values import BertSpec
from mlt_ray.models.li.values import LiSpec
from mlt_ray.models.multigranularity.values import MultigranularitySpec
from mlt_ray.models.multilevel.values import MultilevelSpec
from mlt_ray.models.registry import is_network, parse_model
from mlt_ray.models.speech.values import SpeechSpec
from mlt_ray.models.xu.values import XuSpec
from mlt_ray.models.yoon.values import YoonSpec
from mlt_ray.parsing import parse
from mlt_ray.spec import (
    ExtraInput,
    FeatureSpec,
    FoldSpec,
    FramesSpec,
    ModelSpec,
    Run,
    RunSpec,
    TrainingSpec,
)
from mlt_ray.storage.files import write_json
from mlt_ray.storage.store import Store
from mlt_ray.studies.study import load_study

NUM_FOLDS: Final = 5
NUM_FOLDS: Final = 5
UTTERANCES: Final = 300
SEEDS: Final = 6
STUDIES: Final = ("table1", "table2", "table3", "beyond")
PAPER_TABLES: Final = ("table1", "table2", "table3")
ROW: Final = "highway network"
"""The row whose speed is measured in every way."""

VARIATIONS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "audio only": (ROW, {"inputs": "audio"}),
    "text only": (ROW, {"inputs": "text"}),
    "Multi-granularity model, frozen": ("Multi-granularity model", {"fine_tune": False}),
}
"""Rows that are in no study: name → another row's name, and other values of its model."""

MEAN_S, MEDIAN_S, SHORTEST_S, LONGEST_S = 4.5, 3.5, 0.6, 20.0
"""Durations of IEMOCAP's utterances, which are distributed about log-normally."""

WORDS_A_SECOND: Final = 2.7
VOCABULARY: Final = 900
WITHOUT_VECTOR: Final = 0.1
VECTOR_DIM: Final = 300

LEVELS: Final = np.array([-11.0, -8.5, -6.0, -3.5], np.float16)
CUE: Final = 0.2
"""Share of the values in the class's band that are set to the highest level."""

SMALL: Final = "small"
"""Name of the small text encoder that replaces that of any row."""

SMALL_EAR: Final = "small-ear"
"""Name of the small speech encoder that replaces that of any row."""

BERTS: Final[Mapping[str, Mapping[str, int]]] = {
    SMALL: {
        "vocab_size": 60,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 128,
    },
    "minilm": {"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536},
    "bert-base-uncased": {},
}
"""Configurations of BERT: their differences from ``bert-base-uncased``."""

WIDTHS: Final[Mapping[str, int]] = {
    SMALL: 32,
    SMALL_EAR: 24,
    "minilm": 384,
    "bert-base-uncased": 768,
    "resemblyzer": 512,
}
"""Length of an encoder's vector for a text, or for a recording (mean and deviation)."""

MADE_UP: Final = "made up"
"""What a specification has in place of the names that planning fills in."""

EARS: Final[Mapping[str, int]] = {SMALL_EAR: 12, "resemblyzer": 256}
"""Values of a state of each speech encoder."""

EAR_LAYERS: Final = 3
"""Layers of each of them, layer 0 included."""

PROSODY_WIDTH: Final = 35
PIECES_A_WORD: Final = 1.3
SMALL_FRAMES_PER_STEP: Final = 8
SMALL_LONGEST_S: Final = 8.0
SMALL_TRAINING: Final = {
    "learning_rate": 3e-4,
    "batch_size": 5,
    "max_epochs": 3,
    "patience": 3,
    "bucket_batches": 2,
}


@dataclass(frozen=True)
class Inputs:
    """The inputs of a folder, unpacked into a store.

    `rows`: name → runs of a network of the studies, at the paper's sizes, all folds of the first
    seed, then of the next. `small_rows`: the same with narrow layers, on a part of the corpus.
    """

    store: Store
    corpora: Mapping[str, Corpus]
    rows: Mapping[str, tuple[Run, ...]]
    small_rows: Mapping[str, tuple[Run, ...]]
    tables: Mapping[str, tuple[str, ...]]
    _room: "tempfile.TemporaryDirectory[str] | None" = None
    _folds: dict[Any, FoldData] = field(default_factory=dict)

    def fold(self, run: Run) -> FoldData:
        """The fold of the run; one object for all runs with the same fold and inputs."""
        spec = run.spec
        key = spec.corpus, run.fold, spec.folds, spec.features, spec.model.extras
        if key not in self._folds:
            if spec.model.text_encoder is not None:
                write_bert(self.store, spec.model.text_encoder)
            if spec.features.frames.encoder is not None:
                write_ear(self.store, spec.features.frames.encoder)
            corpus = self.corpora[spec.corpus]
            fold = make_folds(corpus, spec.folds)[run.fold - 1]
            self._folds[key] = FoldData.of_run(run, corpus, fold, self.store)
        return self._folds[key]


def distinct(specs: Mapping[str, RunSpec]) -> tuple[str, ...]:
    """Names of the rows, `ROW` first; of rows with the same runs only one."""
    found: dict[RunSpec, str] = {}
    for name in sorted(specs, key=lambda name: name != ROW):
        found.setdefault(specs[name], name)
    return tuple(found.values())


def cut(data: FoldData, utterances: int) -> FoldData:
    """The fold with fewer training utterances, whose lengths are distributed as before."""
    train = sorted(data.parts["train"], key=lambda i: data.num_steps[i])
    places = np.linspace(0, len(train) - 1, min(utterances, len(train))).round().astype(int)
    shorter = copy.copy(data)
    shorter.parts = {**data.parts, "train": tuple(sorted(train[n] for n in places))}
    return shorter


def prepare(folder: Path, utterances: int = UTTERANCES) -> None:
    """Write the inputs into `folder`. The files depend only on the number of utterances."""
    rng = np.random.default_rng(20)
    words = _words(rng)
    corpus = _corpus(max(utterances, 2 * NUM_FOLDS * len(FOUR)), list(words), rng)
    brief = _part(corpus)
    rows, tables = networks(corpus.fingerprint)
    small_rows = {name: small(spec, brief) for name, spec in rows.items()}
    specs = [*rows.values(), *small_rows.values()]
    caches: dict[str, dict[str, np.ndarray]] = {}
    arrays: dict[str, np.ndarray] = {}
    kinds = dict.fromkeys(spec.features.frames for spec in specs)
    for frames in kinds:
        if frames.encoder is None:
            name = f"frames-{_cache('frames', frames)}"
            levels = {u.audio_sha256: _levels(u, frames, rng) for u in corpus.utterances}
            caches[name] = levels
            arrays[name] = _packed(np.concatenate(list(levels.values())))
    extras: dict[ExtraInput, Corpus] = {}
    for spec in specs:  # those of the whole corpus come first, which has all of the brief one
        for extra in spec.model.extras:
            extras.setdefault(extra, corpus if spec.corpus == corpus.fingerprint else brief)
    for extra, held in extras.items():
        name = f"{extra.name}-{_cache(extra.name, extra.encoder)}"
        caches[name] = {INPUTS[extra.name].key(u): _extra(extra, u, rng) for u in held.utterances}
        arrays[name] = np.concatenate(list(caches[name].values()))
    with_vector = [w for w in words if rng.random() >= WITHOUT_VECTOR]
    arrays["vectors"] = rng.normal(0, 0.4, (len(with_vector), VECTOR_DIM)).astype(np.float16)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "features.npz", **arrays)
    values = {
        "corpora": [corpus.as_dict(), brief.as_dict()],
        "words": words,
        "vectors": with_vector,
        "tables": tables,
        "rows": {name: spec.as_dict() for name, spec in rows.items()},
        "small_rows": {name: spec.as_dict() for name, spec in small_rows.items()},
        "caches": {n: {k: len(a) for k, a in c.items()} for n, c in caches.items()},
        "states": {
            _cache("encoder_frames", frames): _width(frames) for frames in kinds if frames.encoder
        },
    }
    # Written last: a folder with this file is complete.
    write_json(folder / "inputs.json", values)


def load(folder: Path, seeds: int = SEEDS, room: Path | None = None) -> Inputs:
    """Load what `prepare` wrote; runs have the five folds and `seeds` seeds.

    Features are unpacked into `room`, unless it has them already. Without `room` they are unpacked
    into a temporary folder that is deleted together with the inputs. `UserError` if the folder
    contains no inputs.
    """
    path = folder / "inputs.json"
    if not path.is_file():
        raise UserError(
            f"{folder}: expected inputs of GPU checks, found no {path.name}; "
            f"write them with python -m tests.gpu prepare {folder}"
        )
    temporary = tempfile.TemporaryDirectory(prefix="mlt-ray-gpu-") if room is None else None
    store = Store(Path(temporary.name) if temporary else Path(room or ""))
    values = json.loads(path.read_text())
    corpora = [replace(Corpus.from_dict(table), classes=FOUR) for table in values["corpora"]]
    if not (store.root / "unpacked").exists():
        _unpack(values, np.load(folder / "features.npz"), corpora[0], store)
        (store.root / "unpacked").touch()
    return Inputs(
        store=store,
        corpora={corpus.fingerprint: corpus for corpus in corpora},
        rows=_runs(values["rows"], seeds),
        small_rows=_runs(values["small_rows"], seeds),
        tables={name: tuple(rows) for name, rows in values["tables"].items()},
        _room=temporary,
    )


def _runs(specs: Mapping[str, Any], seeds: int) -> dict[str, tuple[Run, ...]]:
    found = {}
    for name, values in specs.items():
        spec = RunSpec(
            corpus=values["corpus"],
            model=parse_model(values["model"], name),
            folds=parse(FoldSpec, values["folds"], name),
            features=parse(FeatureSpec, values["features"], name),
            training=parse(TrainingSpec, values["training"], name),
            recipe=values["recipe"],
        )
        found[name] = tuple(
            Run(spec=spec, fold=fold, seed=seed)
            for seed in range(1, seeds + 1)
            for fold in range(1, NUM_FOLDS + 1)
        )
    return found


def changed(run: Run, section: str, **values: Any) -> Run:
    """The run with other values in one section of its specification."""
    part = replace(getattr(run.spec, section), **values)
    return replace(run, spec=replace(run.spec, **{section: part}))


def small(spec: RunSpec, brief: Corpus) -> RunSpec:
    """The specification with narrow layers, small encoders and few steps, on the small corpus."""
    model, frames = _small_model(spec.model), spec.features.frames
    if frames.encoder is not None:
        frames = model.frames or replace(frames, encoder=f"{SMALL_EAR}@{SMALL_EAR}")
    return replace(
        spec,
        corpus=brief.fingerprint,
        features=replace(spec.features, frames=frames, frames_per_step=SMALL_FRAMES_PER_STEP),
        model=model,
        training=replace(spec.training, **SMALL_TRAINING),
    )


def _small_model(spec: ModelSpec) -> ModelSpec:
    """The model with narrow layers. A system that is not listed here keeps its own sizes."""
    match spec:
        case MultilevelSpec():
            return replace(
                spec,
                width=32,
                num_heads=2,
                feed_forward=64,
                phoneme_dim=16,
                phoneme_channels=24,
                mel_prenet_width=48,
            )
        case MultigranularitySpec():
            multilevel = _small_model(spec.multilevel)
            encoder = spec.encoder and f"{SMALL}@{SMALL}"
            speech = spec.speech_encoder and f"{SMALL_EAR}@{SMALL_EAR}"
            return replace(
                spec,
                multilevel=multilevel,
                projection=24,
                encoder=encoder,
                speech_encoder=speech,
            )
        case BertSpec():
            return replace(spec, encoder=f"{SMALL}@{SMALL}")
        case SpeechSpec():
            return replace(spec, speech_encoder=f"{SMALL_EAR}@{SMALL_EAR}")
        case YoonSpec():
            return replace(spec, width=24)
        case XuSpec():
            return replace(spec, dense_width=48, width=16, num_heads=4)
        case LiSpec():
            return replace(spec, channels=16, width=32, recurrent_width=24)
    return spec


def networks(fingerprint: str) -> tuple[dict[str, RunSpec], dict[str, list[str]]]:
    """Row's name → specification of all networks of the studies, and study → names of its rows."""
    specs: dict[str, RunSpec] = {}
    tables: dict[str, list[str]] = {}
    for study in STUDIES:
        for row in load_study(study).rows:
            if not is_network(row.model):
                continue
            model, frames = _with_encoders(row.model), row.features.frames
            if frames.encoder is not None:
                frames = replace(frames, encoder=f"{frames.encoder}@{frames.encoder}")
            specs[row.name] = RunSpec(
                corpus=fingerprint,
                folds=replace(row.folds, members=MADE_UP),
                features=replace(
                    row.features,
                    frames=model.frames or frames,
                    vectors=MADE_UP,
                    phonemizer=MADE_UP,
                ),
                model=model,
                training=row.training,
            )
            tables.setdefault(study, []).append(row.name)
    for name, (other, values) in VARIATIONS.items():
        specs[name] = replace(specs[other], model=replace(specs[other].model, **values))
    return specs, tables


def _with_encoders(spec: ModelSpec) -> ModelSpec:
    """The specification with encoders named as planning does, ``name@digest``, digest made up."""
    changes = {
        name: f"{value}@{value}"
        for name in ("encoder", "speech_encoder")
        if (value := getattr(spec, name, None)) is not None
    }
    return replace(spec, **changes)


def _words(rng: np.random.Generator) -> dict[str, list[str]]:
    """Made-up words with their phonemes, of one to twelve letters each."""
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    symbols = np.array([f"{letter.upper()}{n}" for letter in letters for n in range(3)])
    found: dict[str, list[str]] = {}
    while len(found) < VOCABULARY:
        size = int(np.clip(rng.poisson(4.5), 1, 12))
        word = "".join(rng.choice(letters, size))
        found[word] = rng.choice(symbols, max(1, round(size * 0.8))).tolist()
    return found


def _corpus(count: int, words: Sequence[str], rng: np.random.Generator) -> Corpus:
    """As many utterances in each of five sessions and four classes; two speakers per session."""
    spread = float(np.sqrt(2 * np.log(MEAN_S / MEDIAN_S)))
    normal = np.quantile(rng.standard_normal(100_000), (np.arange(count) + 0.5) / count)
    durations = np.clip(MEDIAN_S * np.exp(spread * normal), SHORTEST_S, LONGEST_S)
    rng.shuffle(durations)
    shares = 1 / np.arange(3, 3 + len(words))
    utterances = []
    for n, duration_s in enumerate(durations.tolist()):
        session, label = n % NUM_FOLDS + 1, n // NUM_FOLDS % len(FOUR)
        spoken = max(1, round(WORDS_A_SECOND * duration_s * rng.uniform(0.6, 1.4)))
        name = f"Ses{session:02}_{n:04}"
        utterances.append(
            Utterance(
                id=name,
                audio=Path(f"{name}.wav"),
                text=" ".join(rng.choice(words, spoken, p=shares / shares.sum())),
                emotion=FOUR[label],
                speaker=f"Ses{session:02}{'FM'[n // NUM_FOLDS // len(FOUR) % 2]}",
                session=f"Ses{session:02}",
                duration_s=round(duration_s, 3),
                audio_sha256=hashlib.sha256(name.encode()).hexdigest(),
            )
        )
    return Corpus(
        name="made up", classes=FOUR, utterances=tuple(sorted(utterances, key=lambda u: u.id))
    )


def _part(corpus: Corpus) -> Corpus:
    """Two utterances of each session and class, none longer than `SMALL_LONGEST_S`."""
    groups: dict[tuple[str | None, str], list[Utterance]] = {}
    for utterance in corpus.utterances:
        if utterance.duration_s <= SMALL_LONGEST_S:
            groups.setdefault((utterance.session, utterance.emotion), []).append(utterance)
    chosen = [u for group in groups.values() for u in group[:2]]
    found = tuple(sorted(chosen, key=lambda u: u.id))
    return Corpus(name="brief", classes=FOUR, utterances=found)


def _levels(utterance: Utterance, spec: FramesSpec, rng: np.random.Generator) -> np.ndarray:
    """(T, F) uint8 indices into `LEVELS`."""
    steps = max(1, round(1000 * utterance.duration_s / spec.hop_ms))
    levels = rng.integers(0, len(LEVELS), (steps, spec.num_bins), np.uint8)
    band = spec.num_bins // len(FOUR)
    label = FOUR.index(utterance.emotion)
    own = levels[:, label * band : (label + 1) * band]
    own[rng.random(own.shape, np.float32) < CUE] = len(LEVELS) - 1
    return levels


def _width(frames: FramesSpec) -> int:
    """Values of a frame of an encoder's states."""
    layers = EAR_LAYERS if frames.layer == "weighted" else 1
    return layers * EARS[(frames.encoder or "").partition("@")[0]]


def _packed(levels: np.ndarray) -> np.ndarray:
    """(2, ⌈N / 8⌉) uint8: the two bits of N values."""
    return np.stack([np.packbits(levels & 1), np.packbits(levels >> 1)])


def _unpacked(bits: np.ndarray, rows: int) -> np.ndarray:
    """(rows, F) float16 frames of what `_packed` returned."""
    low, high = (np.unpackbits(half) for half in bits)
    width = len(low) // rows
    return LEVELS[(low + 2 * high)[: rows * width]].reshape(rows, width)


def _cache(kind: str, settings: FramesSpec | str) -> str:
    """Digest in the name of the cache that `networks`' specifications read."""
    return cache_digest(kind, settings, FeatureSpec())


def _extra(extra: ExtraInput, utterance: Utterance, rng: np.random.Generator) -> np.ndarray:
    """One utterance's array of an extra input."""
    words = len(utterance.text.split())
    if extra.name == "alignment":
        edges = np.linspace(0, utterance.duration_s, words + 1)
        return np.stack([edges[:-1], edges[1:]], axis=1)
    if extra.name == "pieces":
        size = min(round(PIECES_A_WORD * words) + 2, BERTS[SMALL]["max_position_embeddings"])
        ids = rng.integers(4, BERTS[SMALL]["vocab_size"], size).astype(np.int32)
        ids[0], ids[-1] = 1, 2
        return ids
    width = PROSODY_WIDTH if extra.name == "prosody" else WIDTHS[extra.encoder.partition("@")[0]]
    vectors = rng.normal(0, 1, (EAR_LAYERS if extra.name == "speech_layers" else 1, width))
    vectors[:, FOUR.index(utterance.emotion)] += 0.5
    return vectors.astype(np.float16)


def _unpack(values: Any, arrays: Any, corpus: Corpus, store: Store) -> None:
    """Fill the caches of a store."""
    for name, places in values["caches"].items():
        data, ends = arrays[name], np.cumsum(list(places.values()))
        if name.startswith("frames-"):
            data = _unpacked(data, int(ends[-1]))
        elif data.dtype == np.float16:
            data = data.astype(np.float32)
        rows = dict(zip(places, np.split(data, ends[:-1]), strict=True))
        kind, _, digest = name.rpartition("-")
        Cache(store.features(kind, digest)).add(rows)
        if kind == "frames":
            _unpack_moments(digest, rows, store)
        if (kind, digest) == ("frames", _cache("frames", FramesSpec())):
            for states, width in values["states"].items():
                columns = np.linspace(0, FramesSpec().num_bins - 1, width).astype(int)
                picked = {key: frames[:, columns] for key, frames in rows.items()}
                Cache(store.features("frames", states)).add(picked)
                _unpack_moments(states, picked, store)
    _unpack_texts(values["words"], corpus.utterances, store)
    known = dict(zip(values["vectors"], arrays["vectors"].astype(np.float32)[:, None], strict=True))
    none = np.empty((0, VECTOR_DIM), np.float32)
    vectors = Cache(store.features("vectors", _cache("vectors", MADE_UP)))
    vectors.add({word: known.get(word, none) for word in values["words"]})


def _unpack_moments(digest: str, frames: Mapping[str, np.ndarray], store: Store) -> None:
    moments = {key: moments_of(array) for key, array in frames.items()}
    Cache(store.features("moments", digest)).add(moments)


def _unpack_texts(
    phonemes: Mapping[str, Sequence[str]], utterances: Iterable[Utterance], store: Store
) -> None:
    tokens = {}
    for text in {u.text for u in utterances}:
        pairs = [(word, phonemes[word]) for word in text.split()]
        tokens[text_sha256(text)] = np.frombuffer(json.dumps(pairs).encode(), np.uint8)
    Cache(store.features("tokens", _cache("tokens", MADE_UP))).add(tokens)


def moments_of(frames: np.ndarray) -> np.ndarray:
    """(2, F) float64: sums and sums of squares, as `mlt_ray.features.extract` keeps them."""
    wide = frames.astype(np.float64)
    return np.stack([wide.sum(axis=0), np.square(wide).sum(axis=0)])


def write_bert(store: Store, identity: str) -> None:
    """Write a BERT with random weights and without tokenizer into the store, unless it is there."""
    folder = encoder_folder(store, identity)
    if (folder / "config.json").exists():
        return
    import torch
    from transformers import AutoConfig, AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = AutoConfig.for_model("bert", **BERTS[identity.partition("@")[0]])
        model = AutoModel.from_config(config)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent))
    model.save_pretrained(temporary)
    temporary.rename(folder)


def write_ear(store: Store, identity: str) -> None:
    """Write a speech encoder with random weights into the store, unless it is there.

    The small one is a wav2vec 2.0, the other has Resemblyzer's LSTM.
    """
    folder = encoder_folder(store, identity)
    if folder.exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent))
    if identity.partition("@")[0] == SMALL_EAR:
        from transformers.utils import logging

        from tests.tiny_speech_encoder import write_speech_encoder

        logging.disable_progress_bar()
        write_speech_encoder(temporary)
    else:
        import torch

        with torch.random.fork_rng():
            torch.manual_seed(0)
            lstm = torch.nn.LSTM(40, EARS["resemblyzer"], EAR_LAYERS)
        weights = {f"lstm.{name}": weight for name, weight in lstm.state_dict().items()}
        torch.save({"model_state": weights}, temporary / RESEMBLYZER_WEIGHTS)
    temporary.rename(folder)
