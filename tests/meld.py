"""Writes a small corpus in MELD's layout, for tests."""

import csv
from pathlib import Path
from typing import Final

import numpy as np
import soundfile as sf

EMOTIONS: Final = ("anger", "joy", "neutral", "sadness", "surprise")
FOLDERS: Final = {
    "train": "train_splits",
    "dev": "dev_splits_complete",
    "test": "output_repeated_splits_test",
}
_COLUMNS: Final = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID"


def write_meld(root: Path) -> Path:
    """Two dialogs a part with one utterance of each emotion; texts with Windows-1252's quotes."""
    rng = np.random.default_rng(0)
    for part, folder in FOLDERS.items():
        (root / folder).mkdir(parents=True)
        with (root / f"{part}_sent_emo.csv").open("w", encoding="utf-8", newline="") as file:
            file.write(f"{_COLUMNS}\n")
            rows = csv.writer(file)
            for dialog in range(2):
                for n, emotion in enumerate(EMOTIONS):
                    text = f"Don\x92t, {part} {dialog}!"
                    rows.writerow([n, text, "Joey", emotion, "neutral", dialog, n])
                    audio = root / folder / f"dia{dialog}_utt{n}.wav"
                    sf.write(audio, rng.uniform(-0.5, 0.5, 1600), 16_000)
    # As the release has them: litter of another name, which is no utterance's.
    (root / FOLDERS["test"] / "final_videos_testdia0_utt0.wav").touch()
    return root
