"""A study in German: planned, its features computed, its batches read from the store."""

import csv
from pathlib import Path

import pytest
import soundfile as sf
import torch

from mlt_ray.corpus.synthetic.speech import Prosody, say
from mlt_ray.labels import FOUR, NAMED
from mlt_ray.planning.plan import make_plan
from mlt_ray.planning.workspace import Places, Workspace
from mlt_ray.storage.store import Store
from mlt_ray.studies.study import parse_study
from mlt_ray.training.from_store import fold_data

TEXTS = ("Lass das, du Zwerg!", "Schön, dass du kommst.", "Das Stück Papier.", "Ich muss gehen.")


@pytest.fixture
def german(tmp_path: Path) -> Path:
    """A corpus of five speakers, each with one text a class, spoken by espeak's German voices."""
    folder = tmp_path / "german"
    folder.mkdir()
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["path", "text", "emotion", "speaker", "session"])
        for speaker in "12345":
            for emotion, text in zip(FOUR, TEXTS, strict=True):
                waveform, _ = say(text, f"de+m{speaker}", Prosody())
                sf.write(folder / f"{speaker}{emotion}.wav", waveform, 16_000)
                lines.writerow([f"{speaker}{emotion}.wav", text, emotion, speaker, speaker])
    return folder


def test_a_row_in_german_reads_german_words_and_sounds(german: Path, tmp_path: Path) -> None:
    vectors = tmp_path / "de.vec"
    vectors.write_text("3 2\nschön 1 2 \nstück 3 4 \nich 5 6 \n", "utf-8")
    places = Places(corpus=german, store=Store(tmp_path / "store"), glove=vectors)
    workspace = Workspace.open(places, [NAMED["four"]])
    frames = {"num_bins": 20}
    rows = [
        {"name": language, "features": {"language": language, "frames": frames}}
        for language in ("de", "en")
    ]
    study = parse_study("mine", {"base": {"model": {"system": "multilevel"}}, "rows": rows})
    named = workspace.name_contents(study)
    workspace.fill_cache(named.rows, lambda what, done, total: None)
    assert workspace.fill_cache(named.rows, lambda what, done, total: None) == 0
    found = {}
    for row in make_plan(named, workspace.corpus).rows:
        data = fold_data(row.runs[0], workspace.store)
        batch = data.batch(data.parts["train"])
        assert batch.num_words.max() == 6
        assert torch.equal(batch.words > 0, batch.phonemes.any(dim=-1))
        found[row.name] = data
    assert found["de"].sizes.word_vectors.tolist() == [[5, 6], [1, 2], [3, 4]]
    assert found["en"].sizes.word_vectors.tolist() == [[5, 6]]
    assert {"ʃ", "ˈøː", "ts", "ç"} <= set(found["de"].fitted.phonemes)
    assert {"SH", "Z", "M", "."} <= set(found["en"].fitted.phonemes)
    assert not set(found["de"].fitted.phonemes) & {"SH", "Z", "M"}
