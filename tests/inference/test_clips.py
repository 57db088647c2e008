"""What is predicted: recordings from everywhere, each with the text that it has."""

import io
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mlt_ray.corpus.audio import read_audio
from mlt_ray.errors import UserError
from mlt_ray.inference.clips import Clip, clip_of, find_clips, heard, with_text, with_texts
from mlt_ray.inference.prediction import GIVEN, NONE
from tests.encoders.noise import noise


def write(path: Path, num_samples: int = 1601) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, noise(num_samples, seed=1), 16_000)
    return path


def names(clips: list[Clip], root: Path) -> list[str]:
    return [str(Path(clip.id).relative_to(root)) for clip in clips]


def test_files_keep_the_names_and_the_order_of_the_arguments(tmp_path: Path) -> None:
    places = [str(write(tmp_path / name)) for name in ("b.wav", "a.flac", "c.ogg")]
    clips = find_clips(places)
    assert [clip.id for clip in clips] == places
    assert all(clip.text_source == NONE and not clip.has_text for clip in clips)
    assert [clip.duration_s for clip in clips] == [1601 / 16_000] * 3
    np.testing.assert_array_equal(heard(clips[0]).audio, read_audio(tmp_path / "b.wav"))


def test_a_folder_gives_its_recordings_in_natural_order(tmp_path: Path) -> None:
    for name in ("b/10.wav", "b/9.FLAC", "a.mp3", ".hidden/x.wav", "b/.y.wav"):
        write(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no sound")
    assert names(find_clips([str(tmp_path)]), tmp_path) == ["a.mp3", "b/9.FLAC", "b/10.wav"]


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected recordings such as .*, found none"):
        find_clips([str(tmp_path)])


def test_a_manifest_names_recordings_beside_it_with_texts_and_speakers(tmp_path: Path) -> None:
    write(tmp_path / "there/a.wav")
    table = tmp_path / "there/list.csv"
    table.write_text('speaker,path,emotion,text\nann,a.wav,sad,"oh, well"\n,/x/b.wav,,\n')
    first, second = find_clips([str(table)])
    assert (first.id, first.text, first.speaker) == (
        str(tmp_path / "there/a.wav"), "oh, well", "ann",
    )  # fmt: skip
    assert first.text_source == GIVEN
    assert (second.id, second.text, second.text_source) == ("/x/b.wav", "", GIVEN)


def test_a_manifest_without_texts_gives_none(tmp_path: Path) -> None:
    table = tmp_path / "list.csv"
    table.write_text("path\na.wav\n")
    [clip] = find_clips([str(table)])
    assert not clip.has_text


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("file\na.wav\n", "expected columns path, got file"),
        ("path\n", "expected a line for each recording, got none"),
        ("path,text\n,hm\n", "expected a path in each line"),
    ],
)
def test_a_manifest_of_another_kind_is_refused(tmp_path: Path, content: str, line: str) -> None:
    (tmp_path / "list.csv").write_text(content)
    with pytest.raises(UserError, match=line):
        find_clips([str(tmp_path / "list.csv")])


def test_standard_input_is_a_recording(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac")
    [clip] = find_clips(["-"], io.BytesIO(path.read_bytes()))
    assert clip.id == "-"
    np.testing.assert_array_equal(clip.audio, read_audio(path))


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "standard input: expected a recording, got nothing"),
        (b"hello" * 99, "standard input: expected audio .* Format not recognised"),
    ],
)
def test_standard_input_without_sound_is_refused(content: bytes, line: str) -> None:
    with pytest.raises(UserError, match=line):
        find_clips(["-"], io.BytesIO(content))


def test_endless_standard_input_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlt_ray.inference.clips.MOST_BYTES", 1 << 21)
    with open("/dev/zero", "rb") as zeros, pytest.raises(UserError, match="at most 2 MiB"):
        find_clips(["-"], zeros)


def test_a_named_pipe_is_read_once(tmp_path: Path) -> None:
    content, pipe = write(tmp_path / "a.wav").read_bytes(), tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(content,))
    writer.start()
    [clip] = find_clips([str(pipe)])
    writer.join()
    np.testing.assert_array_equal(clip.audio, read_audio(tmp_path / "a.wav"))


def test_what_a_program_has_becomes_a_clip(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav")
    samples = read_audio(path)
    for sound in (path, samples, path.read_bytes(), io.BytesIO(path.read_bytes())):
        clip = clip_of(sound, "so", speaker="ann")
        np.testing.assert_array_equal(clip.audio, samples)
        assert (clip.text, clip.text_source, clip.speaker) == ("so", GIVEN, "ann")
    assert clip_of(path).id == str(path)
    assert not clip_of(samples).has_text
    assert clip_of(samples, "").has_text


def test_samples_of_several_channels_or_of_silence_are_refused() -> None:
    with pytest.raises(UserError, match=r"body: expected mono samples .* 2 dimensions"):
        clip_of(np.zeros((2, 99), np.float32), name="body")
    with pytest.raises(UserError, match="body: expected speech"):
        clip_of(np.zeros(99, np.float32), name="body")


def clips_of(*ids: str) -> list[Clip]:
    return [Clip(id=name, audio=Path(name)) for name in ids]


def texts(folder: Path, *rows: str) -> Path:
    (folder / "texts.csv").write_text("\n".join(("key,text", *rows)))
    return folder / "texts.csv"


def test_a_key_is_a_name_with_or_without_its_ending_or_a_path(tmp_path: Path) -> None:
    clips = clips_of("x/a.wav", "x/b.c.wav", "./d.wav", "x/e.wav", "y/e.wav", "f.wav")
    file = texts(tmp_path, "a,A", "b.c.wav,B", "./d.wav,D", "x/e,XE", "y/e.wav,YE")
    found, notes = with_texts(clips, file)
    assert [clip.text for clip in found] == ["A", "B", "D", "XE", "YE", ""]
    assert [clip.has_text for clip in found] == [True] * 5 + [False]
    assert notes == []


def test_the_longest_key_counts(tmp_path: Path) -> None:
    found, _ = with_texts(clips_of("x/a.wav", "y/a.wav"), texts(tmp_path, "a,short", "y/a,long"))
    assert [clip.text for clip in found] == ["short", "long"]


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        (["a,one", "a,two"], "expected one text of a, got two"),
        (["b,one"], "expected keys such as a.wav, got b"),
        (["a,one"], "expected keys of one recording each, got a of x/a and y/a; write paths"),
    ],
)
def test_texts_that_do_not_fit_are_refused(tmp_path: Path, rows: list[str], line: str) -> None:
    with pytest.raises(UserError, match=line):
        with_texts(clips_of("x/a.wav", "y/a.wav"), texts(tmp_path, *rows))


def test_keys_of_no_recording_are_told(tmp_path: Path) -> None:
    file = texts(tmp_path, "a,A", "b,B", "c,C")
    _, notes = with_texts(clips_of("a.wav"), file)
    assert notes == [f"{file}: 2 keys are of no recording, such as b"]


def test_one_text_is_for_one_recording() -> None:
    [clip] = with_text(clips_of("a.wav"), "")
    assert (clip.text, clip.text_source) == ("", GIVEN)
    with pytest.raises(UserError, match="--text: expected one recording, got 2"):
        with_text(clips_of("a.wav", "b.wav"), "so")
