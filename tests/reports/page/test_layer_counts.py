"""Table 2 as a picture: only where rows differ in nothing but numbers of layers."""

import pytest

from mlt_ray.reports.page.figures import Pooled
from mlt_ray.reports.page.layer_counts import layer_counts_of
from mlt_ray.storage.record import RowRecord

COUNTS = ((1, 1, 1), (1, 1, 2), (2, 2, 1), (2, 2, 2))


def rows(*counts: tuple[int, ...], **training: list[float]) -> list[RowRecord]:
    names = ("text_encoder_layers", "cross_modality_layers", "deep_fusion_layers")
    return [
        RowRecord(
            name="-".join(map(str, numbers)),
            spec={
                "model": {"system": "multilevel", **dict(zip(names, numbers, strict=False))},
                "training": {key: values[n] for key, values in training.items()},
            },
            runs=(),
        )
        for n, numbers in enumerate(counts)
    ]


def drawn(given: list[RowRecord]):
    return layer_counts_of(given, [Pooled(name=r.name, score=0.7, published=0.71) for r in given])


def test_numbers_that_go_together_are_one_and_the_other_makes_lines() -> None:
    [axes] = drawn(rows(*COUNTS)).axes
    assert axes.get_xlabel() == "text encoder layers and cross modality layers"
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels[::2] == ["1 deep fusion layers", "2 deep fusion layers"]


@pytest.mark.parametrize(
    "given",
    [
        rows(*COUNTS[:2]),
        rows(*COUNTS, learning_rate=[1, 1, 1, 2]),
        rows(*COUNTS, (1, 1, 1)),
        rows((1, 1, 1), (1, 2, 2), (2, 1, 3)),
        rows((1, 1, 1), (1, 1), (2, 2, 2)),
    ],
    ids=["two rows", "another setting", "the same twice", "three numbers", "one lacks a number"],
)
def test_other_rows_are_not_drawn(given: list[RowRecord]) -> None:
    assert drawn(given) is None
