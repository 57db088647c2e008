"""A model of one's own in a pack: the numbers that it has alone, or a line that says why not."""

from pathlib import Path

import pytest

from mlt_ray.errors import UserError
from mlt_ray.models.own import load_systems
from mlt_ray.models.registry import parse_model
from mlt_ray.spec import ModelSpec
from tests.training.packs.test_trainer import WHO
from tests.training.runs import MakeData, assert_close, finish, run_of

TEXT = (Path(__file__).parents[3] / "docs/own_model/mean_frames.py").read_text()
HIDDEN = "self.hidden = nn.Linear(sizes.frame_dim, spec.width)"
USED = "self.hidden(mean)"

LAYERS = {
    "as documented": (HIDDEN, USED),
    "no bias": (HIDDEN.replace("width)", "width, bias=False)"), USED),
    "strides": (
        "self.hidden = nn.Conv1d(1, spec.width, 3, stride=2, padding=1)",
        "self.hidden(mean[:, None]).mean(dim=2)",
    ),
    "a convolution without padding": (
        "from mlt_ray.models import Conv1d; self.hidden = Conv1d(1, spec.width, 3)",
        "self.hidden(mean[:, None]).mean(dim=2)",
    ),
    "groups": (
        "self.hidden = nn.Conv1d(sizes.frame_dim, 65, 3, padding='same', groups=5)",
        "self.hidden(mean[..., None])[:, :32, 0]",
    ),
    "a norm without weights": (
        f"{HIDDEN}\n        self.norm = nn.LayerNorm(spec.width, elementwise_affine=False)",
        "self.norm(self.hidden(mean))",
    ),
    "a norm over two axes": (
        f"{HIDDEN}\n        self.norm = nn.LayerNorm((4, spec.width // 4))",
        "self.norm(self.hidden(mean).unflatten(1, (4, -1))).flatten(1)",
    ),
    "attention": (
        f"{HIDDEN}\n        self.attention = nn.MultiheadAttention(spec.width, 2)",
        "self.attention(*3 * [self.hidden(mean)[None]])[0][0]",
    ),
}


def model_of(folder: Path, layer: str, use: str) -> ModelSpec:
    text = TEXT.replace(HIDDEN, layer).replace(USED, use)
    assert layer in text
    assert use in text
    (folder / "mine.py").write_text(text)
    systems = load_systems(["mine.py"], folder, "mine.models")
    return parse_model({"system": "mean_frames", "width": 32}, "model", systems)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
def test_a_pack_gives_what_the_runs_give_alone(data: MakeData, tmp_path: Path, name: str) -> None:
    model = model_of(tmp_path, *LAYERS[name])
    runs = [run_of(fold, seed, model=model, learning_rate=1e-2) for fold, seed in WHO]
    for packed, run in zip(finish(runs, data), runs, strict=True):
        [alone] = finish([run], data)
        assert_close(packed, alone)


@pytest.mark.parametrize(
    ("layer", "use", "message"),
    [
        (
            "self.hidden = nn.GRU(sizes.frame_dim, spec.width, batch_first=True)",
            "self.hidden(mean[:, None])[0][:, 0]",
            "can_be_packed is True, but hidden is a GRU; let can_be_packed return False",
        ),
        (
            f"{HIDDEN}.requires_grad_(False)",
            USED,
            "can_be_packed is True, but hidden.weight is not trained; make it a buffer; let",
        ),
    ],
)
def test_what_no_pack_can_hold_is_refused(
    data: MakeData, tmp_path: Path, layer: str, use: str, message: str
) -> None:
    model = model_of(tmp_path, layer, use)
    runs = [run_of(fold, seed, model=model) for fold, seed in WHO]
    with pytest.raises(UserError) as raised:
        finish(runs, data)
    assert str(raised.value).startswith(f"{model.source}: {message}")
    finish(runs[:1], data)
