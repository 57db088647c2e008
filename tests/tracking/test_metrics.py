"""What MLflow gets of a learning curve."""

from dataclasses import replace

from mlt_ray.tracking.metrics import curve_points
from tests.stored import EPOCHS


def test_every_score_of_an_epoch_is_a_point_of_its_curve():
    points = [(p.key, p.value, p.timestamp, p.step) for p in curve_points(EPOCHS[:1])]
    assert points == [
        ("train_loss", 1.0, 17, 1),
        ("dev_loss", 2.0, 17, 1),
        ("dev_wa", 0.3, 17, 1),
        ("dev_ua", 0.1 + 0.2, 17, 1),
        ("dev_macro_f1", 0.7, 17, 1),
    ]


def test_a_score_that_an_old_curve_lacks_has_no_point():
    points = curve_points([replace(EPOCHS[0], dev_macro_f1=None)])
    assert [p.key for p in points] == ["train_loss", "dev_loss", "dev_wa", "dev_ua"]
