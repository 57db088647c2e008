"""Corpora that cannot be read or trained on."""

import io
import struct
from typing import Final

import numpy as np
import soundfile

from tests.bad_input.case import Case, Content

CHECK: Final = "corpus check @here/mine"
RUN: Final = "run table3 --corpus @here/mine --store @here/new --dry-run --set folds.by=speaker"


def wav(num_samples: int = 8000, rate_hz: int = 16_000, subtype: str = "PCM_16") -> bytes:
    stream = io.BytesIO()
    noise = np.random.default_rng(num_samples).normal(size=num_samples) * 0.1
    soundfile.write(stream, noise, rate_hz, format="WAV", subtype=subtype)
    return stream.getvalue()


FINE: Final = wav()
NO_RATE: Final = FINE[:24] + struct.pack("<I", 0) + FINE[28:]
"""A header that says 0 Hz."""


def manifest(*lines: str, header: str = "path,text,emotion,speaker") -> str:
    return "\n".join((header, *lines, ""))


ONE: Final = "a.wav,so,angry,x"


def files(table: Content | None, **sounds: bytes) -> dict[str, Content]:
    found: dict[str, Content] = {f"mine/{name}.wav": sound for name, sound in sounds.items()}
    return found if table is None else {**found, "mine/manifest.csv": table}


_SAID: Final[dict[str, tuple[dict[str, Content], str]]] = {
    "a folder without anything": ({"mine/x.txt": ""}, "mine: "),
    "recordings without a manifest": (files(None, a=FINE), "mine: "),
    "a file": ({"mine": "x"}, "mine: "),
    "an empty manifest": (files(""), "manifest.csv"),
    "columns that are missing": (files(manifest("a.wav,x", header="path,text")), "emotion"),
    "a column twice": (
        files(manifest(f"{ONE},y", header="path,text,emotion,speaker,speaker"), a=FINE),
        "manifest.csv",
    ),
    "a manifest of bytes": (files(b"\x00\xff\x01"), "manifest.csv"),
    "a manifest that is a recording": (files(FINE), "manifest.csv"),
    "a manifest that is a folder": ({"mine/manifest.csv/x": ""}, "manifest.csv: expected a file"),
}
"""What `corpus check` refuses to examine."""

_BROKEN: Final[dict[str, bytes]] = {
    "no byte": b"",
    "a text": b"hello",
    "a header alone": FINE[:44],
    "half a header": FINE[:20],
    "0 Hz": NO_RATE,
    "no samples": wav(0),
    "a page": b"<html>404</html>",
}
"""Recordings that a run refuses; the other twelve are fine."""


def with_broken(sound: bytes) -> dict[str, Content]:
    emotions = ("angry", "happy", "neutral", "sad")
    names = [f"f{n}" for n in range(12)]
    lines = [f"{name}.wav,so,{emotions[n % 4]},s{n // 4}" for n, name in enumerate(names)]
    good = {name: wav(8000 + n) for n, name in enumerate(names)}
    return files(manifest(*lines, ONE), a=sound, **good)


CASES: Final = (
    {name: Case(command=CHECK, says=says, files=content) for name, (content, says) in _SAID.items()}
    | {
        f"a recording of {what}": Case(command=RUN, says="a.wav", files=with_broken(sound))
        for what, sound in _BROKEN.items()
    }
    | {
        "a recording that is missing": Case(command=RUN, says="a.wav", files=files(manifest(ONE))),
        "a path that leaves the corpus": Case(
            command=RUN, says="none.wav", files=files(manifest("../none.wav,so,angry,x"))
        ),
        "nothing that counts": Case(
            command=RUN, says="corpus mine", files=files(manifest("a.wav,so,bored,x"), a=FINE)
        ),
        "a path twice": Case(
            command=RUN, says="id a stands there 2 times", files=files(manifest(ONE, ONE), a=FINE)
        ),
        "a manifest of a header": Case(command=RUN, says="mine", files=files(manifest())),
        "a line without a path": Case(
            command=RUN, says="manifest.csv", files=files(manifest(",so,angry,x"), a=FINE)
        ),
        "a corpus that is not there": Case(command=RUN, says="mine: "),
        "a store as corpus": Case(
            command="run table3 --corpus @store --store @here/new --dry-run", says="store: "
        ),
        "the texts of synthesize are missing": Case(
            command="corpus synthesize @here/none.csv @here/new", says="none.csv"
        ),
        "the texts of synthesize lack a column": Case(
            command="corpus synthesize @here/t.csv @here/new",
            says="t.csv",
            files={"t.csv": "session,text\n1,so\n"},
        ),
        "the texts of synthesize are bytes": Case(
            command="corpus synthesize @here/t.csv @here/new",
            says="t.csv",
            files={"t.csv": b"\xff\x00"},
        ),
        "synthesize into a folder with content": Case(
            command="corpus synthesize @here/t.csv @corpus",
            says="expected a new or empty folder, got one with content",
            files={"t.csv": "session,speaker,emotion,text\n1,F,angry,so\n"},
        ),
        "a demo into a file": Case(
            command="corpus demo @here/x", says="x: expected a", files={"x": ""}
        ),
    }
)
