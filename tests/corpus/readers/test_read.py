"""A corpus is read by the first reader that recognises its path."""

import re

import pytest

from mlt_ray.corpus.readers import read
from mlt_ray.corpus.readers.read import READERS, Reader, read_corpus
from mlt_ray.corpus.utterance import Corpus
from mlt_ray.errors import UserError


@pytest.fixture
def manifest(noise):
    """Writes a manifest of one utterance, called mine, into a folder."""

    def write(folder):
        noise(folder / "mine.wav", seed=1)
        lines = "path,text,emotion,speaker\nmine.wav,Hm.,sad,s1\n"
        (folder / "manifest.csv").write_text(lines)

    return write


def ids(corpus):
    return [u.id for u in corpus.utterances]


def test_sessions_go_before_a_manifest_and_a_manifest_before_sessions_below(iemocap, manifest):
    iemocap.add("Ses01F_impro01_F000", "neu")
    manifest(iemocap.root)
    manifest(iemocap.root.parent)
    assert ids(read_corpus(iemocap.root)) == ["Ses01F_impro01_F000"]
    assert ids(read_corpus(iemocap.root / "manifest.csv")) == ["mine"]
    assert ids(read_corpus(iemocap.root.parent)) == ["mine"]


def test_a_new_kind_of_corpus_is_one_row(tmp_path, monkeypatch):
    def read_wonder(path, progress, elsewhere):
        return Corpus(name="wonder", utterances=())

    row = Reader(lambda path: (path / "wonder.json").is_file(), read_wonder)
    monkeypatch.setattr(read, "READERS", (*READERS, row))
    with pytest.raises(UserError, match="got none"):
        read_corpus(tmp_path)
    (tmp_path / "wonder.json").touch()
    assert read_corpus(tmp_path).name == "wonder"


@pytest.mark.parametrize("number", range(len(READERS)))
def test_a_reader_recognises_neither_an_empty_folder_nor_a_file_nor_nothing(tmp_path, number):
    (tmp_path / "file.csv").touch()
    for name in (".", "file.csv", "nowhere"):
        assert not READERS[number].recognises(tmp_path / name)


@pytest.mark.parametrize("place", [".", "..", "Session1"])
def test_the_folder_above_and_a_session_are_accepted(iemocap, place):
    iemocap.add("Ses01F_impro01_F000", "neu")
    assert len(read_corpus(iemocap.root / place)) == 1


def test_two_copies_below_are_refused(iemocap):
    iemocap.add("Ses01F_impro01_F000", "neu")
    (iemocap.root.parent / "copy" / "Session1" / "dialog" / "EmoEvaluation").mkdir(parents=True)
    with pytest.raises(UserError, match="got IEMOCAP_full_release, copy"):
        read_corpus(iemocap.root.parent)


def test_a_folder_of_neither_kind_says_what_was_looked_for(tmp_path):
    message = f"{tmp_path}: expected manifest.csv"
    with pytest.raises(UserError, match=re.escape(message)):
        read_corpus(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        read_corpus(tmp_path / "nowhere")


def test_progress_is_called_after_every_file(whole_iemocap):
    calls = []
    read_corpus(whole_iemocap.root, lambda done, total: calls.append((done, total)))
    assert calls == [(i, 60) for i in range(1, 61)]
