"""The tables and text files of corpora: manifests, IEMOCAP's, EmoBox's, MELD's, lists of clips."""

import csv
import io
import json
import shutil

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from mlt_ray.corpus.alignment import read_wdseg
from mlt_ray.corpus.readers.elsewhere import HERE, Elsewhere
from mlt_ray.corpus.readers.emobox import read_emobox
from mlt_ray.corpus.readers.iemocap import read_iemocap
from mlt_ray.corpus.readers.manifest import read_manifest
from mlt_ray.corpus.readers.meld import read_meld
from mlt_ray.corpus.readers.table import read_table
from mlt_ray.corpus.synthetic.lines import read_texts
from mlt_ray.corpus.texts import decode, natural_key, same_words_key
from mlt_ray.corpus.unread import is_unread
from mlt_ray.corpus.words import tokenize
from mlt_ray.inference.clips import find_clips, with_texts
from tests.fuzz.mutated import TEXTS, contents, encoded, texts, values
from tests.fuzz.outcome import in_time, told_or_read

MANIFEST = """path,text,emotion,speaker,session,split,alignment
a.wav,"Well, ""yes"".",angry,anna,1,train,
b.wav,Olé.,sad,ben,2,test,b.wdseg
"""
MANIFESTS = (MANIFEST, MANIFEST.replace(",", ";"), MANIFEST.replace(",", "\t"))
TEXTS_CSV = "key,text\na,Well.\nfolder/b,No.\n"
CLIPS = "path,text,speaker\na.wav,Well.,anna\nb.wav,No.,ben\n"
LINES = 'session,speaker,emotion,text\n1,Ses01F,sad,"No, no."\n1,Ses01M,angry,Yes\n'
WDSEG = (
    "\t SFrm  EFrm    SegAScr Word\n\t    0    30     -9000 <s>\n\t   31    49    -100 WELL(2)\n"
)
LABEL = (
    "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
    "[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]\n"
    "C-E2:\tNeutral;\t()\n\n"
    "[9.2901 - 9.9]\tSes01F_impro01_M000\tang\t[2.5000, 2.5000, 2.5000]\n"
)
TRANSCRIPT = (
    "Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.\n"
    "Ses01F_impro01_M000 [009.2901-009.9]: No!\n"
)
ENTRY = {"key": "a", "dataset": "x", "wav": "downloads/a.wav", "type": "raw", "emo": "angry"}
MELD = (
    "\ufeffSr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season\n"
    '1,"also I was the point person, right",Chandler,neutral,neutral,0,0,8\n'
    "2,You must’ve had your hands full.,The Interviewer,joy,neutral,0,1,8\n"
)


def write_noise(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(seed).uniform(-0.5, 0.5, 160), 16_000)


@pytest.fixture(scope="module")
def corpus(folder):
    write_noise(folder / "a.wav", 1)
    write_noise(folder / "b.wav", 2)
    (folder / "b.wdseg").write_text(WDSEG)
    return folder


@pytest.fixture(scope="module")
def iemocap(folder):
    root = folder / "IEMOCAP"
    for kind in ("EmoEvaluation", "transcriptions"):
        (root / "Session1" / "dialog" / kind).mkdir(parents=True)
    for seed, name in enumerate(("F000", "M000")):
        wav = root / "Session1/sentences/wav/Ses01F_impro01" / f"Ses01F_impro01_{name}.wav"
        write_noise(wav, seed)
    return root


@given(content=st.one_of(encoded(*MANIFESTS), contents(MANIFEST.encode(), b"PK\x03\x04")))
def test_a_manifest_of_any_content(content, corpus):
    (corpus / "manifest.csv").write_bytes(content)
    found = told_or_read(read_manifest, corpus)
    if found is not None:
        assert all(len(str(problem).splitlines()) == 1 for problem in found.problems)
        assert len(found.fingerprint) == 16


@given(content=st.one_of(encoded(TEXTS_CSV, CLIPS, LINES), contents(TEXTS_CSV.encode())))
def test_a_table_of_any_content(content, folder):
    path = folder / "table.csv"
    path.write_bytes(content)
    for columns in (("key", "text"), ("path",), ("session", "text")):
        told_or_read(read_table, path, columns, ("speaker",))
    told_or_read(read_texts, path)
    told_or_read(find_clips, [str(path)])
    clips = find_clips(["folder/b.wav"])
    told_or_read(with_texts, clips, path)


@given(
    labels=st.one_of(encoded(LABEL), contents(LABEL.encode())),
    transcripts=st.one_of(encoded(TRANSCRIPT), contents(TRANSCRIPT.encode())),
)
def test_labels_and_transcripts_of_iemocap_of_any_content(labels, transcripts, iemocap):
    dialog = iemocap / "Session1" / "dialog"
    (dialog / "EmoEvaluation" / "Ses01F_impro01.txt").write_bytes(labels)
    (dialog / "transcriptions" / "Ses01F_impro01.txt").write_bytes(transcripts)
    found = told_or_read(read_iemocap, iemocap)
    # Each recording is an utterance, has a problem, or is counted as one without a label.
    lost = {"Ses01F_impro01_F000", "Ses01F_impro01_M000"} - {u.id for u in found.utterances}
    told = " ".join([*map(str, found.problems), *found.unlisted])
    assert all(name in told for name in lost)


@given(content=st.one_of(encoded(WDSEG), contents(WDSEG.encode())))
def test_an_alignment_of_any_content(content, folder):
    path = folder / "any.wdseg"
    path.write_bytes(content)
    try:
        with in_time():
            found = read_wdseg(path)
    except ValueError as error:
        assert str(error).startswith("any.wdseg, line ")
    else:
        assert all(time.start_s < time.end_s for time in found)


@given(
    entries=st.one_of(
        st.lists(values(ENTRY), max_size=2).map(lambda rows: "\n".join(map(json.dumps, rows))),
        texts(json.dumps(ENTRY), "[" * 100_000),
    ),
    labels=st.one_of(
        values({"angry": "Anger", "sad": "Sadness"}).map(json.dumps), texts('{"angry": "Anger"}')
    ),
)
def test_lists_of_emobox_of_any_content(entries, labels, folder):
    root = folder / "emobox"
    shutil.rmtree(root, ignore_errors=True)
    (root / "fold_1").mkdir(parents=True)
    write_noise(root / "a.wav")
    line = json.dumps(ENTRY)
    for name, content in (
        ("mine.jsonl", entries),
        ("fold_1/mine_train_fold_1.jsonl", entries),
        ("fold_1/mine_test_fold_1.jsonl", line),
        ("label_map.json", labels),
    ):
        (root / name).write_bytes(content.encode("utf-8", "replace"))
    told_or_read(read_emobox, root, None, HERE)


@given(content=st.one_of(encoded(MELD), contents(MELD.encode())))
def test_lists_of_meld_of_any_content(content, folder):
    root = folder / "meld"
    write_noise(root / "recordings" / "train_splits" / "dia0_utt0.wav")
    write_noise(root / "recordings" / "dev_splits" / "dia0_utt1.wav")
    for part in ("train", "dev", "test"):
        kept = content if part == "train" else MELD.encode()
        (root / f"{part}_sent_emo.csv").write_bytes(kept)
    told_or_read(read_meld, root, None, Elsewhere(audio=root / "recordings"))


@given(st.one_of(contents(MANIFEST.encode(), TRANSCRIPT.encode("utf-16")), encoded(MANIFEST)))
def test_any_bytes_are_a_text(data):
    found = decode(data)
    assert isinstance(found.text, str)
    assert found.is_sure or found.guess


@given(
    st.one_of(
        st.text(), TEXTS, texts("Well, $5.,3 [LAUGHTER] don't 1,000 ²"), st.text(min_size=300)
    )
)
def test_any_text_has_words(text):
    with in_time():
        for language in ("en-us", "de", "tr"):
            assert tokenize(text, language)
            assert is_unread(text, language) in (True, False)
        same_words_key(text)
        natural_key(text)


@given(
    st.lists(
        st.tuples(*[st.text(st.characters(codec="utf-8", exclude_characters="\0"))] * 2),
        max_size=5,
    ),
    st.sampled_from((",", ";", "\t", "|")),
    st.sampled_from(("utf-8", "utf-8-sig", "utf-16")),
)
def test_a_table_that_is_written_is_read(tmp_path_factory, rows, separator, encoding):
    path = tmp_path_factory.getbasetemp() / "written.csv"
    file = io.StringIO()
    writer = csv.writer(file, delimiter=separator, quoting=csv.QUOTE_ALL)
    writer.writerows((("key", "text"), *rows))
    path.write_bytes(file.getvalue().encode(encoding))
    found, notes = read_table(path, ("key", "text"))
    kept = [row for row in rows if any(row)]
    assert found == [{"key": key.strip(), "text": text.strip()} for key, text in kept]
    assert len(notes) == (separator != ",") + (encoding == "utf-16")
