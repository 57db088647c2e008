"""The benchmarks on tiny inputs: what they count and write. No time is asserted."""

import importlib
import io
import json
import math
import resource
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from mlt_ray.corpus.readers.manifest import read_manifest
from mlt_ray.corpus.readers.read import read_corpus
from mlt_ray.encoders.embedding import Embedding
from mlt_ray.encoders.opening import open_encoder
from mlt_ray.labels import NAMED
from mlt_ray.models.multilevel.values import MultilevelSpec
from mlt_ray.models.registry import build_model
from mlt_ray.planning.plan import PlannedRow
from mlt_ray.spec import FeatureSpec, Run, RunSpec, TrainingSpec
from mlt_ray.storage.files import write_json
from mlt_ray.storage.store import Store
from tests.benchmarks import embedding, packs, training
from tests.benchmarks.figures import Column, peak_memory_mib, print_table, write_figures
from tests.benchmarks.inputs import Inputs, fold_of, thinned, write_manifest
from tests.benchmarks.packs import (
    Place,
    count_operations,
    measure_pack,
    measure_peak,
    with_frames_per_step,
)
from tests.benchmarks.plain_loop import PlainMultilevel, collate, samples_of, train_plainly
from tests.benchmarks.rows import measure
from tests.tiny_speech_encoder import write_speech_encoder

FOLDER = Path(__file__).parent
SCRIPTS = (
    *("rows", "training", "step", "scale", "overhead", "extraction", "embedding", "traffic"),
    *("page", "corpora"),
)
CPU = torch.device("cpu")
MODEL = MultilevelSpec(
    width=6,
    num_heads=2,
    feed_forward=7,
    phoneme_dim=3,
    phoneme_channels=5,
    phoneme_kernel=3,
    prenet_kernel=3,
    mel_prenet_width=11,
)
TRAINED, BATCH, EPOCHS = 24, 5, 2


@pytest.fixture
def run(raw: Any, tmp_path: Path) -> Run:
    """A run on a corpus of forty utterances whose table and features are in the store."""
    raw.write(tmp_path)
    write_json(Store(tmp_path).corpus(raw.corpus.fingerprint), raw.corpus.as_dict())
    short = TrainingSpec(batch_size=BATCH, max_epochs=EPOCHS, learning_rate=1e-3)
    spec = RunSpec(corpus=raw.corpus.fingerprint, model=MODEL, training=short)
    return Run(spec=replace(spec, features=FeatureSpec()), fold=1, seed=1)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(store=str(tmp_path), device="cpu", threads=1)


@pytest.mark.parametrize("name", [p.stem for p in FOLDER.glob("*.py") if "test_" not in p.name])
def test_every_module_imports(name: str) -> None:
    assert importlib.import_module(f"tests.benchmarks.{name}").__doc__


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_benchmark_is_a_command_that_writes_json(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        importlib.import_module(f"tests.benchmarks.{name}").main(["--help"])
    assert end.value.code == 0
    assert "--json" in capsys.readouterr().out


def test_a_table_leaves_out_columns_without_figures_and_keeps_brackets() -> None:
    columns = [Column(key="row", heading="row"), Column(key="s", heading="seconds", form="{:.1f}")]
    columns.append(Column(key="none", heading="nothing"))
    console = Console(file=io.StringIO(), width=60)
    print_table("Title", columns, [{"row": "[a]", "s": 1.26}, {"row": "b"}], console)
    printed = console.file.getvalue()
    assert "[a]" in printed
    assert "1.3" in printed
    assert "nothing" not in printed


def test_figures_are_written_with_the_machine(tmp_path: Path) -> None:
    path = tmp_path / "new" / "figures.json"
    write_figures(path, "some", {"rows": [{"row": "a", "s": 1.5}]})
    values = json.loads(path.read_text())
    assert values["benchmark"] == "some"
    assert values["rows"] == [{"row": "a", "s": 1.5}]
    assert values["machine"]["torch"] == torch.__version__


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux tells it")
def test_peak_memory_lies_between_what_is_held_now_and_what_the_system_counts() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    now = pages * resource.getpagesize() / 2**20
    # The kernel updates both numbers late, by a few pages per thread.
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    assert 0.95 * now <= peak_memory_mib() <= 1.05 * most


def test_a_sample_keeps_every_class_of_every_session(raw: Any) -> None:
    sample = thinned(raw.corpus, 20)
    assert set(Counter((u.session, u.emotion) for u in sample.utterances).values()) == {1}
    assert len(sample) == 20
    assert thinned(raw.corpus, 20) == sample
    assert thinned(raw.corpus, 1000).utterances == raw.corpus.utterances


def test_a_manifest_describes_the_same_utterances(tmp_path: Path) -> None:
    from mlt_ray.corpus.synthetic.demo import write_demo

    write_demo(tmp_path / "demo", utterances=20)
    corpus = read_corpus(tmp_path / "demo")
    write_manifest(corpus, tmp_path / "again")
    again = read_manifest(tmp_path / "again")
    assert not again.problems
    values = [(u.id, u.audio_sha256, u.text, u.emotion, u.session) for u in corpus.utterances]
    found = [(u.id, u.audio_sha256, u.text, u.emotion, u.session) for u in again.utterances]
    assert found == values


def test_a_row_is_measured_over_one_epoch_and_scaled_to_all(run: Run, place: Place) -> None:
    figures = measure(run, place)
    assert figures["utterances"] == TRAINED
    assert figures["steps"] == math.ceil(TRAINED / BATCH)
    assert figures["epochs"] == EPOCHS
    assert figures["run_s"] == EPOCHS * figures["epoch_cpu_s"]
    assert figures["train_s"] > 0
    assert figures["dev_s"] > 0
    half = measure(run, replace(place, utterances=20))
    assert half["utterances"] == TRAINED / 2
    assert half["run_s"] == EPOCHS * half["epoch_cpu_s"] * 2


def test_a_pack_counts_the_steps_of_all_its_runs(run: Run, place: Place) -> None:
    figures = measure_pack([run, replace(run, seed=2)], 3, place)
    assert figures["steps"] == 2 * 3 * math.ceil(TRAINED / BATCH)
    assert figures["utterances_per_s"] / figures["steps_per_s"] == pytest.approx(TRAINED / 5)


def test_a_pack_that_does_not_fit_gives_way_to_a_smaller_one(
    run: Run, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fits_three(function: Any, runs: list[Run], *values: Any) -> dict[str, Any]:
        asked.append(len(runs))
        if len(runs) > 3:
            raise torch.OutOfMemoryError
        return {"pack": len(runs)}

    monkeypatch.setattr(packs, "apart", fits_three)
    assert packs.measure_largest_pack([run] * 15, (15, 5, 3, 1), place) == {"pack": 3}
    assert asked == [15, 5, 3]


def test_all_rows_are_scaled_to_the_corpus_and_to_all_runs(
    run: Run, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tuple(replace(run, seed=seed) for seed in (1, 2, 3, 4, 5, 6))
    labels = NAMED["four"]
    row = PlannedRow(name="row", published=None, labels=labels, changes=(), runs=runs, asked=runs)
    inputs = Inputs(place.corpus(run), Store(place.store), (row,))
    monkeypatch.setattr(training, "open_inputs", lambda *_, **__: inputs)
    monkeypatch.setattr(training, "PACKS", (1, 3))
    monkeypatch.setattr(packs, "apart", lambda function, *values: function(*values))
    options = training.arguments(["--device", "cpu", "--sample", "20", "--epochs", "7"])
    [figures] = training.all_rows(Path(), inputs.store, options)
    assert figures["pack"] == 3
    # Twice the utterances, two packs of three; the study ends before the seventh epoch.
    assert figures["epoch_s"] == pytest.approx(4 * figures["epochs_s"])
    assert figures["epochs"] == EPOCHS
    assert figures["time_s"] == pytest.approx(EPOCHS * figures["epoch_s"])


def test_longer_utterances_cost_more_operations(run: Run, place: Place) -> None:
    whole, averaged = (
        count_operations(with_frames_per_step(run, n), place)["flop_per_step"] for n in (1, 2)
    )
    assert whole > averaged > 0


def test_the_peak_is_a_speed(place: Place) -> None:
    assert measure_peak(place)["flop_per_s"] > 1e8


def test_the_plain_model_has_this_projects_sizes(run: Run, place: Place) -> None:
    data = fold_of(run, place.corpus(run), Store(place.store))
    models = [PlainMultilevel(MODEL, data.sizes), build_model(MODEL, data.sizes)]
    counts = [sum(p.numel() for p in m.parameters() if p.requires_grad) for m in models]
    assert counts[0] == counts[1]


def test_padding_does_not_change_the_plain_models_logits(run: Run, place: Place) -> None:
    data = fold_of(run, place.corpus(run), Store(place.store))
    model = PlainMultilevel(MODEL, data.sizes).eval()
    samples = sorted(samples_of(data)["dev"], key=lambda s: len(s.frames))
    alone, together = model(collate(samples[:1])), model(collate(samples))
    torch.testing.assert_close(alone[0], together[0])


def test_the_plain_loop_trains_all_its_epochs(run: Run, place: Place) -> None:
    data = fold_of(run, place.corpus(run), Store(place.store))
    figures = train_plainly(run, data, CPU)
    assert figures["steps"] == EPOCHS * math.ceil(TRAINED / BATCH)
    assert 0 <= figures["test_wa"] <= 1


def test_every_way_of_embedding_gives_the_same_arrays(tmp_path: Path) -> None:
    encoder = open_encoder(write_speech_encoder(tmp_path / "tiny"), CPU)
    paths = embedding.write_noises(tmp_path, 7)
    expected = list(embedding.by_threads(encoder, paths, Embedding(), 1))
    assert len(expected) == 7
    for found in (
        embedding.by_threads(encoder, paths, Embedding(), 2),
        embedding.in_batches(encoder, paths, Embedding()),
    ):
        np.testing.assert_allclose(list(found), expected, rtol=0, atol=1e-4)


def test_minutes_for_iemocap_follow_from_the_rate() -> None:
    figures = embedding.figures_of("way", wall_s=4.0, audio_s=200.0, one_s=10.0)
    assert (figures["audio_s_per_s"], figures["ratio"]) == (50.0, 2.5)
    assert figures["iemocap_min"] == pytest.approx(5531 * 4.55 / 50 / 60)


def test_the_plot_is_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    speeds = [{"what": "plain loop", "steps_per_s": 2.0}]
    speeds += [{"what": "pack", "pack": n, "steps_per_s": 2.0 * n} for n in (1, 3)]
    calls = [{"what": "plain", "wall_s": 3.0}, {"what": "no Ray"}]
    training.plot({"speeds": speeds, "calls": calls}, tmp_path / "plot.svg")
    assert "<svg" in (tmp_path / "plot.svg").read_text()
