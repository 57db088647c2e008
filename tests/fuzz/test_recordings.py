"""Recordings of any bytes, from a file, a stream or a request."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from mlt_ray.corpus.audio import decode_named, length_s
from mlt_ray.corpus.recordings import read_recordings, read_speech
from mlt_ray.corpus.utterance import Utterance
from mlt_ray.inference.clips import clip_of, read_stream
from mlt_ray.tracking.served import _clips
from tests.fuzz.mutated import JUNK, contents
from tests.fuzz.outcome import in_time, told_or_read

KINDS = (
    ("WAV", "PCM_16"),
    ("WAV", "FLOAT"),
    ("WAVEX", "PCM_24"),
    ("FLAC", "PCM_16"),
    ("OGG", "VORBIS"),
    ("MP3", "MPEG_LAYER_III"),
    ("AIFF", "PCM_16"),
    ("W64", "PCM_16"),
    ("AU", "ULAW"),
    ("CAF", "PCM_16"),
)


def encoded(kind: str, subtype: str, channels: int = 1) -> bytes:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (2400, channels))
    file = io.BytesIO()
    soundfile.write(file, samples, 16_000, format=kind, subtype=subtype)
    return file.getvalue()


VALID = [*(encoded(*kind) for kind in KINDS), encoded("WAV", "PCM_16", channels=2)]
BYTES = st.one_of(contents(*VALID), contents(*VALID), st.binary(max_size=200))


@given(content=BYTES)
def test_the_bytes_of_a_request(content):
    told_or_read(read_speech, io.BytesIO(content), "here")
    told_or_read(decode_named, io.BytesIO(content), "here")


@given(content=BYTES)
def test_a_file_of_any_bytes(content, folder):
    path = folder / "a.wav"
    path.write_bytes(content)
    told_or_read(length_s, path)
    told_or_read(clip_of, path)
    draft = Utterance(
        id="a", audio=path, text="", emotion="sad", speaker="s", duration_s=0.0, audio_sha256=""
    )
    with in_time():
        found, problems = read_recordings([draft])
    assert len(found) + len(problems) == 1
    assert all(len(str(problem).splitlines()) == 1 for problem in problems)
    # What a corpus takes, a prediction takes.
    if found:
        read_speech(path, "here")
        assert found[0].duration_s > 0


@given(name=st.text(max_size=300))
def test_a_recording_of_any_name(name, folder):
    draft = Utterance(
        id="a",
        audio=folder / name,
        text="",
        emotion="sad",
        speaker="s",
        duration_s=0.0,
        audio_sha256="",
    )
    with in_time():
        found, problems = read_recordings([replace(draft, audio=Path(folder, name))])
    assert not found
    assert len(problems) == 1


@given(content=BYTES)
def test_a_stream_of_any_bytes(content):
    told_or_read(read_stream, io.BytesIO(content), "stream")


@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "audio": st.one_of(BYTES, JUNK),
                "text": st.one_of(st.none(), JUNK),
                "speaker": JUNK,
            },
        ),
        max_size=3,
    )
)
def test_the_rows_of_a_request(rows):
    told_or_read(_clips, rows)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_changed_is_read_before(kind):
    assert len(read_speech(io.BytesIO(encoded(*kind)), "here"))
