"""A speech encoder as part of a network: what is trained, kept and resumed."""

import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load
from torch import Tensor

from mlt_ray.corpus.utterance import Corpus
from mlt_ray.errors import RunStopped, UserError
from mlt_ray.features.batching import FoldData
from mlt_ray.models.dropout import Dropout
from mlt_ray.models.speech.tail import Tail
from mlt_ray.models.speech.values import SpeechSpec
from mlt_ray.parsing import parse
from mlt_ray.spec import Run
from mlt_ray.storage.store import Store
from mlt_ray.training.checkpoint import Checkpoint
from mlt_ray.training.finish import FinishedRun
from mlt_ray.training.from_store import fold_data
from mlt_ray.training.group import Group
from mlt_ray.training.learner import Learner, kept_state, load_kept_state
from mlt_ray.training.loop import train
from tests.noise_corpus import filled, noise_corpus, study
from tests.tiny_encoder import change_config
from tests.tiny_speech_encoder import write_speech_encoder
from tests.training.processes import run_together
from tests.training.runs import CPU, assert_close

pytestmark = pytest.mark.slow

KINDS = ("wav2vec2", "hubert", "wavlm", "data2vec-audio", "whisper")
WAYS: dict[str, dict[str, Any]] = {
    "all": {"fine_tune": "all"},
    "last_n": {"fine_tune": "last_n", "last_n": 1},
    "lora": {"fine_tune": "lora", "lora_rank": 3},
}
every_pair = pytest.mark.parametrize(
    ("kind", "how"),
    [
        *((kind, "last_n") for kind in KINDS),
        *((kind, "lora") for kind in ("wav2vec2", "wavlm", "whisper")),
        *((kind, "all") for kind in ("hubert", "wavlm")),
    ],
)
"""Every family in one way, and every way in families that differ in it."""

TRAINING = {
    "learning_rate": 3e-3,
    "encoder_learning_rate": 1e-3,
    "warmup_steps": 3,
    "batch_seconds": 0.8,
    "bucket_batches": 2,
    "batch_size": 4,
    "max_epochs": 3,
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return noise_corpus(tmp_path_factory.mktemp("audio"))


@pytest.fixture
def prepared(corpus: Corpus, tmp_path: Path) -> Callable[..., tuple[Run, FoldData]]:
    """Makes a run and its data, from a store that has all it reads."""

    def make(kind: str = "wav2vec2", how: str = "last_n", **training: Any) -> tuple[Run, FoldData]:
        heard = tmp_path / f"heard-{kind}"
        if not heard.exists():
            write_speech_encoder(heard, kind, norm="layer")
            if kind != "whisper":
                change_config(heard, hidden_dropout=0.2, activation_dropout=0.1)
        model = {"system": "speech", "speech_encoder": str(heard), "dropout": 0.1, **WAYS[how]}
        row = study(model=model, training={**TRAINING, **training})
        store = Store(tmp_path / "store")
        run = filled(row, corpus, store, heard)
        return run, fold_data(run, store)

    return make


def trained(run: Run, data: FoldData, **options: Any) -> Any:
    return train([run], [data], device=CPU, **options)[0]


def losses(found: FinishedRun) -> list[float]:
    return [epoch.train_loss for epoch in found.report.curve]


def weights_in(found: FinishedRun) -> dict[str, Tensor]:
    return load(found.weights)


@every_pair
def test_a_run_that_is_interrupted_goes_on_as_if_it_never_stopped(
    kind: str, how: str, prepared: Callable[..., tuple[Run, FoldData]], tmp_path: Path
) -> None:
    run, data = prepared(kind, how)
    whole = trained(run, data)
    file = tmp_path / "checkpoint.pt"
    stopped = trained(run, data, checkpoints=[Checkpoint(file)], stop=lambda run: True)
    assert isinstance(stopped, RunStopped)
    resumed = trained(run, data, checkpoints=[Checkpoint(file)])
    assert resumed.report.scores == whole.report.scores
    assert [e.train_loss for e in resumed.report.curve] == [
        e.train_loss for e in whole.report.curve
    ]
    for name, weight in weights_in(whole).items():
        assert torch.equal(weight, weights_in(resumed)[name])


@every_pair
def test_what_is_not_trained_stays_and_is_not_kept(
    kind: str, how: str, prepared: Callable[..., tuple[Run, FoldData]]
) -> None:
    run, data = prepared(kind, how)
    learner = Learner(run, data, CPU)
    before = {name: value.clone() for name, value in learner.model.state_dict().items()}
    for indices in learner.order():
        assert indices is not None
        learner.step(indices)
    after = learner.model.state_dict()
    frozen = {name for name, p in learner.model.named_parameters() if not p.requires_grad}
    assert bool(frozen) == (how == "lora" or kind == "wavlm")  # whose positions are by distance
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    moved = {name for name in after if not torch.equal(before[name], after[name])}
    assert any(name.startswith("tail.") for name in moved)
    assert set(kept_state(learner.model)) == set(after) - frozen
    # Another learner, whose encoder comes from its folder, computes the same with what was kept.
    other = Learner(replace(run, seed=run.seed + 1), data, CPU)
    load_kept_state(other.model, kept_state(learner.model))
    assert torch.equal(other.logits("dev"), learner.logits("dev"))


def test_adapters_alone_are_a_small_file(
    prepared: Callable[..., tuple[Run, FoldData]],
) -> None:
    sizes = {how: len(trained(*prepared("wav2vec2", how)).weights) for how in ("all", "lora")}
    named = weights_in(trained(*prepared("wav2vec2", "lora")))
    adapters = [name for name in named if name.startswith("tail.")]
    assert adapters
    assert all(".lora_" in name for name in adapters)
    assert sizes["lora"] < 0.8 * sizes["all"]


def test_kept_weights_of_another_network_are_refused(
    prepared: Callable[..., tuple[Run, FoldData]],
) -> None:
    model = Learner(*prepared("wav2vec2", "lora"), CPU).model
    kept = kept_state(model)
    kept.pop("classifier.bias")
    with pytest.raises(ValueError, match="expected the kept weights of Speech"):
        load_kept_state(model, kept)


@pytest.mark.parametrize("how", WAYS)
def test_recomputing_gives_the_same_run_to_the_bit(
    how: str, prepared: Callable[..., tuple[Run, FoldData]]
) -> None:
    run, data = prepared("hubert", how)
    assert any(isinstance(m, Dropout) and m.p for m in Learner(run, data, CPU).model.modules())
    kept, again = trained(run, data), trained(run, data, recomputes=True)
    assert losses(kept) == losses(again)
    for name, weight in weights_in(kept).items():
        assert torch.equal(weight, weights_in(again)[name])


def test_batches_hold_seconds_of_audio_instead_of_utterances(
    prepared: Callable[..., tuple[Run, FoldData]],
) -> None:
    run, data = prepared("wav2vec2", "last_n", batch_seconds=1.1)
    learner = Learner(run, data, CPU)
    batches = [indices for indices in learner.order() if indices is not None]
    assert len(batches) == learner.num_batches
    assert sorted(n for b in batches for n in b.tolist()) == sorted(data.parts["train"])
    states_per_s = 16_000 / (5 * 4 * 3)
    for batch in batches:
        padded_s = len(batch) * data.num_steps[batch].max() / states_per_s
        assert padded_s <= 1.1 or len(batch) == 1
    assert max(map(len, batches)) > 1
    assert not run.spec.can_be_packed


@pytest.mark.parametrize(
    ("model", "line"),
    [
        ({"fine_tune": "last_n", "last_n": 3}, "last_n: expected at most the 2 blocks of"),
        (
            {"fine_tune": "last_n", "last_n": 1, "speech_layer": 1},
            "speech_layer: expected a layer behind 1, the last that is frozen, got 1",
        ),
    ],
)
def test_blocks_that_the_encoder_lacks_are_refused(
    model: dict[str, Any], line: str, tmp_path: Path
) -> None:
    heard = write_speech_encoder(tmp_path / "heard")
    with pytest.raises(UserError, match=line):
        Tail(parse(SpeechSpec, {"speech_encoder": "heard", **model}, "model"), heard)


def work(rank: int, size: int, run: Run, store: Path, folder: Path) -> None:
    """One of the processes that train a run together."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=size
    )
    try:
        found = trained(run, fold_data(run, Store(store)), group=Group.joined())
        (folder / f"{rank}.pickle").write_bytes(pickle.dumps(found))
        dist.barrier()
        # Without Python's clean-up, in which a thread of torch's now and then aborts the process.
        os._exit(0)
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize("how", ["last_n", "lora"])
def test_processes_together_train_an_encoder_as_one_does_alone(
    how: str, prepared: Callable[..., tuple[Run, FoldData]], tmp_path: Path
) -> None:
    run, data = prepared("wav2vec2", how)
    alone = trained(run, data)
    run_together(work, (2, run, tmp_path / "store", tmp_path), 2)
    for rank in range(2):
        assert_close(pickle.loads((tmp_path / f"{rank}.pickle").read_bytes()), alone)
