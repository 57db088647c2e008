"""The demo corpus has its class shares, its flaws and emotion in the voices."""

import hashlib
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from mlt_ray.corpus.labelling import select
from mlt_ray.corpus.readers.iemocap import read_iemocap
from mlt_ray.corpus.synthetic.demo import CLASS_SHARES, demo_lines, write_demo
from mlt_ray.errors import UserError
from mlt_ray.labels import FOUR, NAMED

NUM_UTTERANCES = 50


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("demo") / "corpus"
    write_demo(root, utterances=NUM_UTTERANCES)
    return root


def tree_digest(root: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def test_the_same_seed_gives_the_same_bytes(demo: Path, tmp_path: Path) -> None:
    write_demo(tmp_path / "again", utterances=NUM_UTTERANCES)
    assert tree_digest(demo) == tree_digest(tmp_path / "again")
    assert demo_lines(seed=0, utterances=20) != demo_lines(seed=1, utterances=20)


def test_classes_have_their_shares_in_every_session() -> None:
    lines = demo_lines(seed=0, utterances=600)
    counts = Counter((line.session, line.emotion) for line in lines)
    assert counts == {
        (session, emotion): round(share * 120)
        for session in range(1, 6)
        for emotion, share in CLASS_SHARES.items()
    }


@pytest.mark.parametrize("utterances", [20, 21, 60, 601, 5531])
def test_there_are_as_many_lines_as_were_asked_for(utterances: int) -> None:
    lines = demo_lines(seed=0, utterances=utterances)
    assert len(lines) == utterances
    assert {(x.session, x.emotion) for x in lines} == {(s, e) for s in range(1, 6) for e in FOUR}
    assert len({line.speaker for line in lines}) == 10


def test_it_is_read_as_iemocap_in_spite_of_its_flaws(demo: Path) -> None:
    corpus = select(read_iemocap(demo), NAMED["four"])
    assert len(corpus) == NUM_UTTERANCES
    assert not [problem for problem in corpus.problems if problem.fatal]
    assert Counter(u.emotion for u in corpus.utterances) == {
        emotion: NUM_UTTERANCES * share for emotion, share in CLASS_SHARES.items()
    }
    assert {u.speaker for u in corpus.utterances} == {
        f"Ses0{session}{letter}" for session in range(1, 6) for letter in "FM"
    }
    assert [u.session for u in corpus.utterances if u.alignment is None] == ["3"]


def test_it_has_stray_files_of_macos(demo: Path) -> None:
    names = {path.name[:2] for path in demo.rglob(".*")}
    assert names == {"._", ".D"}


def test_a_few_utterances_have_tags_and_a_few_no_words() -> None:
    texts = [line.text for line in demo_lines(seed=0, utterances=600)]
    wordless = [text for text in texts if not re.sub(r"\[\w+\]", "", text).strip()]
    tagged = [text for text in texts if "[LAUGHTER]" in text or "[BREATHING]" in text]
    assert len(wordless) == 6
    assert 6 <= len(tagged) <= 40


def test_no_tag_is_a_word_of_an_alignment(demo: Path) -> None:
    words = " ".join(path.read_text() for path in demo.rglob("*.wdseg"))
    assert "LAUGHTER" not in words
    assert "BREATHING" not in words


def test_templates_leave_no_slot_open() -> None:
    for line in demo_lines(seed=5, utterances=600):
        assert re.fullmatch(r"[A-Z\[][A-Za-z,\[\] ]+[.?\]]( \[[A-Z]+\])?|", line.text), line.text


def test_angry_voices_are_louder_than_sad_ones(demo: Path) -> None:
    levels: dict[str, list[float]] = {emotion: [] for emotion in FOUR}
    for utterance in select(read_iemocap(demo), NAMED["four"]).utterances:
        levels[utterance.emotion].append(float(np.std(sf.read(utterance.audio)[0])))
    medians = {emotion: np.median(values) for emotion, values in levels.items()}
    assert medians["angry"] > medians["neutral"] > medians["sad"]


def test_too_few_utterances_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least 20 utterances, got 19"):
        write_demo(tmp_path / "out", utterances=19)
