"""A made-up explanation of an utterance, with everything that one can have."""

import numpy as np

from mlt_ray.inference.explanation.values import (
    Explanation,
    Nearest,
    Neighbour,
    OverTime,
    Provenance,
    SpanChanges,
    WordAttention,
)
from mlt_ray.labels import FOUR

SPOKEN = 'Kids said "no" & <left>'
WORDS = ("kids", "said", "no", "left")
PHONEMES = (("K", "IH1", "D", "Z"), ("S", "EH1", "D"), ("N", "OW1"), ("L", "EH1", "F", "T"))
NUM_RUNS, SECONDS, STEP_S = 3, 2.3, 0.012


def explanation() -> Explanation:
    """An utterance of 2.3 seconds and four words, by three runs."""
    drawn = np.random.default_rng(7)
    times = np.arange(round(SECONDS * 16_000)) / 16_000
    samples = 0.4 * np.sin(2 * np.pi * 220 * times) * np.abs(np.sin(2 * np.pi * times))
    steps = np.arange(round(SECONDS / STEP_S))
    centres = (np.arange(4) + 0.5) * len(steps) / 4
    weights = np.exp(-np.square((steps[:, None] - centres) / 30))
    edges = np.append(np.arange(0, SECONDS, 0.5), SECONDS)
    over_time = drawn.dirichlet(np.ones(4), (NUM_RUNS, len(edges) - 1))
    return Explanation(
        clip="<b>clip</b>.wav",
        samples=samples.astype(np.float32),
        text=SPOKEN,
        text_source="given",
        words=WORDS,
        phonemes=PHONEMES,
        classes=FOUR,
        probabilities=over_time[:, -1],
        provenance=Provenance(
            model="made/up & <row>",
            system="multilevel",
            runs=("0123456789abcdef", "123456789abcdef0", "23456789abcdef01"),
            corpus="made up",
            fingerprint="c0ffee",
        ),
        attention=WordAttention(
            weights=weights / weights.sum(axis=1, keepdims=True),
            first_s=0.0125,
            step_s=STEP_S,
            phoneme_shares=tuple(drawn.dirichlet(np.ones(len(word))) for word in PHONEMES),
        ),
        over_time=OverTime(times_s=edges[1:], probabilities=over_time),
        changes=drawn.normal(0, 0.1, (NUM_RUNS, 4)),
        spans=SpanChanges(
            spans_s=np.stack([edges[:-1], edges[1:]], axis=1),
            changes=drawn.normal(0, 0.1, (NUM_RUNS, len(edges) - 1)),
            by="frames",
        ),
        nearest=Nearest(
            run="fold 2, seed 1",
            num_utterances=72,
            neighbours=(
                Neighbour(id="u<1>", label="sad", speaker="s1", text=SPOKEN, similarity=0.91234),
                Neighbour(id="u2", label="angry", speaker="s3", text="go", similarity=-0.5),
            ),
        ),
    )
