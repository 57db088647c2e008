"""What a prediction says of a recording, and its values for JSON."""

import json

import numpy as np

from mlt_ray.inference.clips import clip_of
from mlt_ray.inference.prediction import GIVEN, Prediction, Window

CLASSES = ("calm", "cross", "glad")
WINDOW = Window(start_s=0.0, end_s=1.5, text="so", label="glad", probabilities={"glad": 1.0})


def predicted(*shares: float) -> Prediction:
    clip = clip_of(np.sin(np.arange(1600, dtype=np.float32)), "so", name="a.wav")
    return Prediction.of(clip, GIVEN, np.array(shares), CLASSES)


def test_the_label_is_the_most_probable_class() -> None:
    found = predicted(0.25, 0.125, 0.625)
    assert found == Prediction(
        audio="a.wav",
        text="so",
        text_source="given",
        label="glad",
        probabilities={"calm": 0.25, "cross": 0.125, "glad": 0.625},
    )


def test_of_equal_probabilities_the_first_class_counts() -> None:
    assert predicted(0.25, 0.375, 0.375).label == "cross"


def test_windows_are_among_the_values_for_json_only_where_there_are_some() -> None:
    found = predicted(0.25, 0.125, 0.625)
    plain = {
        "audio": "a.wav",
        "text": "so",
        "text_source": "given",
        "label": "glad",
        "probabilities": {"calm": 0.25, "cross": 0.125, "glad": 0.625},
    }
    assert found.as_dict() == plain
    window = {
        "start_s": 0.0,
        "end_s": 1.5,
        "text": "so",
        "label": "glad",
        "probabilities": {"glad": 1.0},
    }
    whole = Prediction(**{**vars(found), "windows": (WINDOW,)})
    assert json.loads(json.dumps(whole.as_dict())) == {**plain, "windows": [window]}
