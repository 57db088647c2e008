"""A model of one's own that would give wrong numbers is refused before anything is computed."""

from pathlib import Path

import pytest
import torch

from mlt_ray.errors import UserError
from mlt_ray.planning.own_models import try_model
from mlt_ray.studies.study import Row, load_study, parse_study

DOCUMENTED = Path(__file__).parents[2] / "docs/own_model"
TEXT = (DOCUMENTED / "mean_frames.py").read_text()


def row_of(folder: Path, text: str) -> Row:
    (folder / "mine.py").write_text(text)
    rows = [{"name": "one", "model": {"system": "mean_frames"}}]
    [row] = parse_study("mine", {"models": ["mine.py"], "rows": rows}, folder=folder).rows
    return row


@pytest.mark.parametrize("num_classes", [2, 4, 7])
def test_the_documented_model_keeps_to_the_contract(num_classes: int) -> None:
    state = torch.get_rng_state()
    try_model(load_study(str(DOCUMENTED / "beside_highway.yaml")).rows[0], num_classes)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", ["audio only", "highway network", "concatenation"])
def test_our_systems_keep_to_it(name: str) -> None:
    [row] = [row for row in load_study("demo").rows if row.name == name]
    try_model(row, 4)


MEAN = "mean = (batch.frames * real).sum(dim=1) / real.sum(dim=1)"
HIDDEN = "self.hidden(mean)"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (MEAN, "mean = batch.frames.mean(dim=1)", "padding changes the logits by up to "),
        (MEAN, "mean = batch.frames[:, -1]", "padding changes the logits by up to "),
        (
            HIDDEN,
            "self.hidden(mean - mean.mean(dim=0))",
            "other utterances of the batch changes the logits by up to ",
        ),
        (HIDDEN, "self.hidden(mean) + torch.rand(())", "a second call changes the logits by up"),
        (HIDDEN, "self.hidden(mean) / 0", "expected finite logits, got [["),
        ("return self.classes", "return 0 * mean[:, :1] + self.classes", None),
        (
            "return self.classes(",
            "with torch.no_grad():\n            return self.classes(",
            "expected a loss of shape () that depends on weights, got shape () without a gradient",
        ),
        (
            "self.hidden = nn.Linear(sizes.frame_dim, spec.width)",
            "self.hidden = nn.Linear(sizes.frame_dim, spec.width).requires_grad_(False)",
            "can_be_packed is True, but hidden.weight is not trained",
        ),
    ],
)
def test_a_model_that_breaks_the_contract_is_refused(
    tmp_path: Path, old: str, new: str, message: str | None
) -> None:
    assert old in TEXT
    row = row_of(tmp_path, TEXT.replace(old, new))
    if message is None:
        try_model(row, 4)
        return
    with pytest.raises(UserError) as raised:
        try_model(row, 4)
    assert str(raised.value).startswith(f"{row.model.source}: {message}")


def test_an_error_in_the_file_is_told_with_its_line(tmp_path: Path) -> None:
    row = row_of(tmp_path, TEXT.replace("batch.frame_mask", "batch.framemask"))
    with pytest.raises(UserError, match=r"mine.py:35: AttributeError: 'Batch' object has no"):
        try_model(row, 4)
