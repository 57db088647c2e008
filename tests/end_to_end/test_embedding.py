"""A cluster's workers compute the states of a speech encoder, for commands that a user types."""

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen

import numpy as np
import pytest
import soundfile
from ray.cluster_utils import Cluster

from mlt_ray.corpus.readers.read import read_corpus
from mlt_ray.encoders.embedding import Embedding, embed_files
from mlt_ray.features.cache import Cache
from tests.crashes.journal import wait_until
from tests.crashes.nodes import MEMORY, cluster
from tests.crashes.scene import started
from tests.descendants import descendants_titled
from tests.end_to_end.conftest import mlt_ray
from tests.tiny_speech_encoder import write_speech_encoder

pytestmark = pytest.mark.slow

UTTERANCES, FEW = 400, 40
SPEAKERS = 5
BASE = """
title: "What a tiny Whisper hears"
seeds: [1]
base:
  labels: all
  folds: {by: speaker}
  features: {pad_to_30s: true}  # a tiny encoder is slow enough then to be interrupted
  model: {system: speech}
  training: {max_epochs: 1, learning_rate: 1e-3}
"""
STUDY = f"{BASE}rows:\n  - name: speech\n"
SPACE = f"""{BASE}space:
  features.pad_to_30s: {{choice: [true, false]}}
search: {{sampler: grid, trials: 2, folds: [1], best: 1}}
"""


@pytest.fixture(scope="module")
def nodes() -> Iterator[Cluster]:
    """A cluster whose driver's node computes nothing; each of two others has room for a worker."""
    with cluster() as started_cluster:
        for _ in range(2):
            started_cluster.add_node(num_cpus=1, object_store_memory=MEMORY)
        yield started_cluster


@pytest.fixture(scope="module")
def places(nodes: Cluster, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options of every command."""
    encoder = write_speech_encoder(tmp_path_factory.mktemp("encoder") / "tiny", "whisper")
    return ["--speech-encoder", str(encoder), "--address", nodes.address]


def write_noises(folder: Path, count: int) -> Path:
    """A corpus of short noises, each another one; returns `folder`."""
    folder.mkdir()
    lines = ["path,text,emotion,speaker"]
    for n in range(count):
        noise = 0.1 * np.random.default_rng(n).normal(size=1601 + n)
        soundfile.write(folder / f"{n}.wav", noise, 16_000)
        lines.append(f"{n}.wav,,{('calm', 'angry')[n % 2]},{n // 2 % SPEAKERS}")
    (folder / "manifest.csv").write_text("\n".join(lines))
    return folder


def nodes_at_work() -> set[int]:
    """Ids of the processes that the nodes are whose workers embed recordings now."""
    return {process.ppid() for process in descendants_titled("ray::embedding of")}


def test_ctrl_c_costs_nothing_that_was_computed_and_each_node_does_a_part(
    places: list[str], tmp_path: Path
) -> None:
    corpus = write_noises(tmp_path / "noises", UTTERANCES)
    study, store = tmp_path / "heard.yaml", tmp_path / "store"
    study.write_text(STUDY)
    command = ["run", study, *places, "--corpus", corpus, "--store", store, "--folds", "1"]
    seen: set[int] = set()

    def is_stored(process: Popen[str]) -> bool:
        assert process.poll() is None, process.communicate()
        seen.update(nodes_at_work())
        return any(store.glob("features/speech_layers-*/*.json"))

    with started(*command) as process:
        wait_until(lambda: is_stored(process), "a segment", every_s=0.1)
        process.send_signal(signal.SIGINT)
        shown, errors = process.communicate(timeout=100)
    assert process.returncode == 130, shown + errors
    assert "Traceback" not in errors
    assert f"mean and deviation of {UTTERANCES} recordings" in shown
    assert len(seen) >= 2
    [folder] = store.glob("features/speech_layers-*")
    stored = {path: path.read_bytes() for path in folder.iterdir()}
    kept = len(Cache(folder))
    assert 0 < kept < UTTERANCES
    assert f" {kept}/{UTTERANCES} " in shown

    done = mlt_ray(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    left = UTTERANCES - kept
    assert f"mean and deviation of {left} recordings" in done.stdout
    assert re.search(rf"^features: .*\b{left} speech_layers", done.stdout, re.MULTILINE)
    assert stored.items() <= {path: path.read_bytes() for path in folder.iterdir()}.items()

    cache = Cache(folder)
    utterances = read_corpus(corpus).utterances[::7]
    [encoder] = (store / "encoders").iterdir()
    alone = embed_files(encoder, [u.audio for u in utterances], Embedding(pad_to_30s=True))
    for utterance, expected in zip(utterances, alone, strict=True):
        np.testing.assert_array_equal(cache[utterance.audio_sha256], expected)


def test_a_search_whose_configurations_hear_differently_comes_to_its_end(
    places: list[str], tmp_path: Path
) -> None:
    corpus = write_noises(tmp_path / "noises", FEW)
    space, store = tmp_path / "heard.yaml", tmp_path / "store"
    space.write_text(SPACE)
    done = mlt_ray("search", space, *places, "--corpus", corpus, "--store", store)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((store / "reports/heard/search.json").read_text())["configurations"]
    assert [c["state"] for c in found] == ["complete", "complete"]
    caches = list(store.glob("features/speech_layers-*"))
    assert [len(Cache(folder)) for folder in caches] == [FEW, FEW]
