"""The joint loss of speech synthesis and emotion: worked by hand, causal, and learnt."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlt_ray.batch import Batch, InputSizes, real
from mlt_ray.models.dropout import set_dropout_keys
from mlt_ray.models.multigranularity.values import MultigranularitySpec
from mlt_ray.models.multilevel.network import Multilevel
from mlt_ray.models.multilevel.synthesis import SpeechSynthesis
from mlt_ray.models.multilevel.values import MultilevelSpec
from mlt_ray.models.registry import build_model

MakeBatch = Callable[..., Batch]

ALONE = MultilevelSpec(
    width=14,
    num_heads=2,
    feed_forward=19,
    phoneme_dim=5,
    phoneme_channels=7,
    phoneme_kernel=3,
    prenet_kernel=3,
    mel_prenet_width=17,
)
JOINT = replace(ALONE, tts_weight=0.3)
FRAMES, WORDS = [13, 1, 7, 29, 5], [3, 7, 1, 2, 5]
TOLERANCE = {"rtol": 0, "atol": 1e-5}


def build(spec: MultilevelSpec, sizes: InputSizes) -> Multilevel:
    torch.manual_seed(5)
    model = build_model(spec, sizes).eval()
    assert isinstance(model, Multilevel)
    return model


def predicted(model: Multilevel, batch: Batch) -> tuple[Tensor, Tensor]:
    """(B, T, F) frames and (B, 1 + T) stop scores, read as training reads them."""
    seen: list[Tensor] = []
    assert model.synthesis is not None
    handle = model.synthesis.stop.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        model.loss(batch)
        handle.remove()
        return model.synthesis.frame(seen[0][:, :-1]), model.synthesis.stop(seen[0])[..., 0]


def test_the_loss_is_the_one_worked_by_hand() -> None:
    synthesis = SpeechSynthesis(width=2, frame_dim=2, stop_weight=5.0)
    with torch.no_grad():
        synthesis.frame.weight.copy_(torch.eye(2))
        synthesis.frame.bias.copy_(torch.tensor([0.0, 1.0]))
        synthesis.stop.weight.copy_(torch.tensor([[1.0, 0.0]]))
        synthesis.stop.bias.zero_()
    # The first utterance has two frames and so three positions, the second one frame.
    x = torch.tensor([[[1.0, 2.0], [3.0, 0.0], [-1.0, 9.0]], [[0.0, 1.0], [2.0, 5.0], [7.0, 7.0]]])
    frames = torch.tensor([[[1.0, 1.0], [2.0, 4.0]], [[0.0, 5.0], [8.0, 8.0]]])
    found = synthesis.losses(x, frames, torch.tensor([[True, True], [True, False]]))

    # Predicted (1, 3) for (1, 1), (3, 1) for (2, 4); and (0, 2) for (0, 5).
    first_frames = (0 + 4 + 1 + 9) / 4
    second_frames = (0 + 9) / 2
    # Scores 1, 3 must say no and -1 must say yes; 0 must say no and 2 yes.
    no, yes = (lambda s: math.log1p(math.exp(s))), (lambda s: 5 * math.log1p(math.exp(-s)))
    first_stops = (no(1) + no(3) + yes(-1)) / 3
    second_stops = (no(0) + yes(2)) / 2
    expected = [first_frames + first_stops, second_frames + second_stops]
    assert found.tolist() == pytest.approx(expected, rel=1e-6)


def test_the_loss_is_that_of_torch_for_each_utterance_alone() -> None:
    torch.manual_seed(3)
    lengths = torch.tensor([3, 1, 7])
    synthesis = SpeechSynthesis(width=5, frame_dim=11, stop_weight=6.5)
    x, frames = torch.randn(3, 8, 5), torch.randn(3, 7, 11)
    weighted = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(6.5))
    losses = []
    for n, length in enumerate(lengths.tolist()):
        frame_loss = F.mse_loss(synthesis.frame(x[n, :length]), frames[n, :length])
        stops = torch.zeros(length + 1)
        stops[-1] = 1
        losses.append(frame_loss + weighted(synthesis.stop(x[n, : length + 1])[:, 0], stops))
    found = synthesis.losses(x, frames, real(lengths, 7))
    torch.testing.assert_close(found, torch.stack(losses))


def test_the_joint_loss_is_cross_entropy_and_the_weighted_loss_of_synthesis(
    sizes: InputSizes, make_batch: MakeBatch
) -> None:
    batch = make_batch(FRAMES, WORDS)
    model = build(JOINT, sizes)
    frames, stops = predicted(model, batch)
    of_each = [
        F.mse_loss(frames[n, :t], batch.frames[n, :t])
        + F.binary_cross_entropy_with_logits(
            stops[n, : t + 1], F.one_hot(torch.tensor(t)).float(), pos_weight=torch.tensor(5.0)
        )
        for n, t in enumerate(FRAMES)
    ]
    expected = F.cross_entropy(model(batch), batch.labels) + 0.3 * torch.stack(of_each).mean()
    torch.testing.assert_close(model.loss(batch), expected)


def test_neither_padding_nor_what_lies_in_it_changes_the_loss(
    sizes: InputSizes, make_batch: MakeBatch
) -> None:
    model, batch = build(JOINT, sizes), make_batch(FRAMES, WORDS)
    padded = replace(
        batch,
        frames=F.pad(batch.frames, (0, 0, 0, 11)),
        words=F.pad(batch.words, (0, 3)),
        phonemes=F.pad(batch.phonemes, (0, 2, 0, 3)),
    )
    littered = replace(
        padded, frames=padded.frames.masked_fill(~padded.frame_mask[..., None], 37.0)
    )
    for other in (padded, littered):
        torch.testing.assert_close(model.loss(other), model.loss(batch), **TOLERANCE)


def test_the_loss_of_a_batch_is_the_mean_over_its_utterances(
    sizes: InputSizes, make_batch: MakeBatch
) -> None:
    model, batch = build(JOINT, sizes), make_batch(FRAMES, WORDS)
    alone = []
    for n, (t, w) in enumerate(zip(FRAMES, WORDS, strict=True)):
        one = replace(
            batch,
            utterances=batch.utterances[n : n + 1],
            labels=batch.labels[n : n + 1],
            frames=batch.frames[n : n + 1, :t],
            num_frames=batch.num_frames[n : n + 1],
            words=batch.words[n : n + 1, :w],
            num_words=batch.num_words[n : n + 1],
            phonemes=batch.phonemes[n : n + 1, :w],
        )
        alone.append(model.loss(one))
    torch.testing.assert_close(model.loss(batch), torch.stack(alone).mean(), **TOLERANCE)


@pytest.mark.parametrize("first_changed", [0, 1, 5, 12])
def test_later_frames_never_change_what_is_predicted_before_them(
    first_changed: int, sizes: InputSizes, make_batch: MakeBatch
) -> None:
    model, batch = build(JOINT, sizes), make_batch([13], [3])
    changed = batch.frames.clone()
    changed[:, first_changed:] += 1.7
    other = replace(batch, frames=changed)
    frames, stops = predicted(model, batch)
    other_frames, other_stops = predicted(model, other)
    # Frame t is predicted from the frames before t, and so is its stop token.
    known = first_changed + 1
    torch.testing.assert_close(other_frames[:, :known], frames[:, :known], **TOLERANCE)
    torch.testing.assert_close(other_stops[:, :known], stops[:, :known], **TOLERANCE)
    assert float((other_stops - stops)[:, known:].abs().min()) > 1e-5
    with torch.no_grad():
        assert not torch.allclose(model(other), model(batch), atol=1e-4)


def test_text_changes_every_prediction(sizes: InputSizes, make_batch: MakeBatch) -> None:
    model, batch = build(JOINT, sizes), make_batch([13], [3])
    other = make_batch([13], [3], seed=1)
    frames, _ = predicted(model, batch)
    reread, _ = predicted(model, replace(batch, words=other.words, phonemes=other.phonemes))
    assert float((frames - reread).abs().amax(dim=2).min()) > 1e-4


def test_a_gradient_reaches_every_parameter(sizes: InputSizes, make_batch: MakeBatch) -> None:
    model, batch = build(JOINT, sizes).train(), make_batch(FRAMES, WORDS)
    set_dropout_keys(model, batch.utterances, 0)
    model.loss(batch).backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def test_both_losses_fall_on_one_batch(sizes: InputSizes, make_batch: MakeBatch) -> None:
    quiet = replace(JOINT, dropout=0.0, prenet_dropout=0.0, mel_prenet_dropout=0.0)
    model, batch = build(quiet, sizes), make_batch([5, 2, 7, 3, 11], [3, 2, 5, 1, 4])

    def losses() -> tuple[float, float]:
        with torch.no_grad():
            emotion = F.cross_entropy(model(batch), batch.labels)
            return emotion.item(), (model.loss(batch).item() - emotion.item()) / 0.3

    before = losses()
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(150):
        optimiser.zero_grad()
        model.loss(batch).backward()
        optimiser.step()
    after = losses()
    assert after[0] < 0.1 * before[0]
    assert after[1] < 0.5 * before[1]


def test_without_a_weight_nothing_is_added(sizes: InputSizes, make_batch: MakeBatch) -> None:
    batch = make_batch(FRAMES, WORDS)
    alone, joint = build(ALONE, sizes), build(JOINT, sizes)
    assert alone.synthesis is None
    assert torch.equal(alone.loss(batch), F.cross_entropy(alone(batch), batch.labels))
    added = set(joint.state_dict()) - set(alone.state_dict())
    kinds = ("weight", "bias")
    assert added == {f"synthesis.{head}.{kind}" for head in ("frame", "stop") for kind in kinds}
    for name, value in alone.state_dict().items():
        assert torch.equal(joint.state_dict()[name], value)


@pytest.mark.parametrize(("num_frames", "num_words"), [(1, 1), (2843, 61)])
def test_the_shortest_and_the_longest_utterance_work(
    sizes: InputSizes, make_batch: MakeBatch, num_frames: int, num_words: int
) -> None:
    model = build(JOINT, sizes)
    model.loss(make_batch([num_frames], [num_words])).backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"inputs": "audio"}, "inputs: expected both where tts_weight is set, got audio"),
        ({"inputs": "text"}, "inputs: expected both where tts_weight is set, got text"),
        ({"deep_fusion_layers": 0}, "deep_fusion_layers: expected at least 1 where tts_weight"),
        ({"cross_modality_layers": 0}, "cross_modality_layers: expected at least 1 where"),
        ({"tts_weight": -0.1}, "tts_weight: expected a number from 0 to 1000000, got -0.1"),
        (
            {"tts_stop_weight": 0.0},
            "tts_stop_weight: expected a number above 0 and at most 1000000, got 0",
        ),
    ],
)
def test_what_cannot_predict_frames_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(JOINT, **values)  # type: ignore[arg-type]


def test_the_multi_granularity_model_has_no_joint_loss() -> None:
    with pytest.raises(ValueError, match=r"multilevel\.tts_weight: expected 0 .*got 0\.3"):
        MultigranularitySpec(multilevel=JOINT)
