"""Words of other languages as IPA symbols."""

import re

from mlt_ray.corpus.words import EMPTY, PUNCTUATION, tokenize
from mlt_ray.features.english import EnglishPhonemizer
from mlt_ray.features.ipa import IpaPhonemizer
from mlt_ray.features.phonemes import phonemizer_of
from mlt_ray.features.pronunciation import UNKNOWN_SYMBOL


def test_each_token_has_symbols_of_its_own() -> None:
    words = tokenize("Der Zug, [LAUGHTER] Zug [HUST]!", "de")
    assert IpaPhonemizer("de")(words) == (
        ("d", "ɛ", "ɾ"),
        ("ts", "ˈuː", "k"),
        (",",),
        ("[laughter]",),
        ("ts", "ˈuː", "k"),
        ("[tag]",),
        ("!",),
    )


def test_what_is_not_spoken_has_the_symbols_that_english_has() -> None:
    tokens = (*PUNCTUATION, EMPTY, "[laughter]", "[sneeze]")
    assert IpaPhonemizer("ru")(tokens) == EnglishPhonemizer()(tokens)
    assert IpaPhonemizer("ru")(["\u200d"]) == ((UNKNOWN_SYMBOL,),)


def test_the_engine_names_language_program_and_rules() -> None:
    found = {language: phonemizer_of(language).engine for language in ("en", "de", "pl", "en-gb")}
    assert len(set(found.values())) == len(found)
    assert re.fullmatch(r"espeak-ng-1\.\d+[.\d]*\+de\+rules-\d+", found["de"])
    assert isinstance(phonemizer_of("en"), EnglishPhonemizer)
    assert phonemizer_of("de") is phonemizer_of("de")
