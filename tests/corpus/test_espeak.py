"""espeak-ng gives sound, an event for each word that it reaches, and the phonemes of words."""

import ctypes
from concurrent.futures import ThreadPoolExecutor

import espeakng_loader
import numpy as np
import pytest

from mlt_ray.corpus.espeak import (
    ESPEAK_RATE_HZ,
    Language,
    check_language,
    languages,
    phonemes,
    speak,
)
from mlt_ray.errors import UserError

TEXT = "Green birds sing."


def test_events_name_the_first_character_of_each_word_in_the_order_of_time() -> None:
    samples, events = speak(TEXT, "en-us", rate_wpm=165, pitch=50, pitch_range=50)
    assert samples.dtype == np.int16
    assert [event.character for event in events] == [0, 6, 12]
    times_ms = [event.time_ms for event in events]
    assert times_ms == sorted(times_ms)
    assert times_ms[-1] < 1000 * len(samples) / ESPEAK_RATE_HZ


def test_a_higher_rate_is_faster() -> None:
    slow, fast = (
        speak(TEXT, "en-us", rate_wpm=rate, pitch=50, pitch_range=50)[0] for rate in (120, 240)
    )
    assert len(slow) > 1.5 * len(fast)


SPOKEN = {
    ("de", "wütend"): "v ˈyː t ə n t",
    ("de", "Zug"): "ts ˈuː k",
    ("de", "straße"): "ʃ t ɾ ˈɑː s ə",
    ("de", "traurig"): "t ɾ ˈaʊ r ɪ ç",
    ("pl", "szczęśliwy"): "ʃ tʃ ɛ ɲ ɕ l ˈi v ɨ",
    ("pl", "żółć"): "ʒ ˈu w tɕ",
    ("pl", "przepraszam"): "p ʃ ɛ p r ˈa ʃ a m",
    ("ru", "злой"): "z ɭ ˈo j",
    ("ru", "привет"): "p rʲ i vʲ ˈe t",
    ("cmn", "我"): "w ˈo2",
    ("hi", "हिन्दी"): "h ˈɪ n d i",
    ("tr", "ılık"): "ɯ ɫ ˈɯ k",
}
"""What ``espeak-ng -q --ipa --sep=_ -v LANGUAGE WORD`` of Debian's espeak-ng 1.51 prints."""


@pytest.mark.parametrize(("language", "word"), SPOKEN)
def test_words_sound_as_the_program_espeak_ng_says(language: str, word: str) -> None:
    assert phonemes([word], language) == (tuple(SPOKEN[language, word].split()),)


def test_a_text_sounds_the_same_alone_after_others_and_in_threads() -> None:
    words = [f"{a}{b}{c}" for a in ("sch", "z", "über") for b in "aeiou" for c in ("ngen", "t", "")]
    together = phonemes(words, "de")
    assert phonemes(words[::-1], "de") == together[::-1]
    with ThreadPoolExecutor(4) as pool:
        alone = list(pool.map(lambda word: phonemes([word], "de")[0], words))
    assert tuple(alone) == together


def test_names_of_other_languages_are_no_symbols_and_silence_has_none() -> None:
    assert phonemes(["cool", "", "!", "drei, vier"], "de") == (
        ("k", "ˈuː", "l"),
        (),
        (),
        (*phonemes(["drei"], "de")[0], *phonemes(["vier"], "de")[0]),
    )


def test_languages_are_known_by_code() -> None:
    assert languages()["de"] == Language("German", "gmw/de")
    assert languages()["zh"] == languages()["cmn"]
    assert languages()["pt"].name == "Portuguese (Portugal)"
    assert phonemes(["我"], "zh") == phonemes(["我"], "cmn")
    check_language("pl", "anywhere")
    with pytest.raises(UserError) as error:
        check_language("deu", "mine.row.features.language")
    assert str(error.value) == (
        "mine.row.features.language: expected a language that espeak-ng speaks, such as de, pl, "
        "ru or zh, got 'deu'; mlt-ray corpus languages lists all"
    )


def test_every_language_has_sounds(capfd: pytest.CaptureFixture[str]) -> None:
    assert len(languages()) > 100
    assert not [code for code in languages() if not any(phonemes(["1", "a", "а"], code))]
    assert "Can't read dictionary" not in capfd.readouterr().err


def test_a_language_has_the_voice_that_the_library_chooses() -> None:
    """By ``espeak_ListVoices``, whose voices have a byte and a string for each language."""
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    library.espeak_Initialize(2, 1000, espeakng_loader.get_data_path().encode(), 0x8000)
    pointer = ctypes.POINTER(ctypes.c_char_p)
    library.espeak_ListVoices.restype = ctypes.POINTER(pointer)
    voices, number, first = library.espeak_ListVoices(None), 0, dict[str, tuple[int, str]]()
    while voices[number]:
        address = ctypes.cast(voices[number], ctypes.POINTER(ctypes.c_void_p))[1]
        while entry := ctypes.string_at(address or 0):
            found = entry[0], voices[number][2].decode()
            code = entry[1:].decode()
            first[code] = min(first.get(code, found), found, key=lambda pair: pair[0])
            address = (address or 0) + len(entry) + 1
        number += 1
    ours = {code: language.voice for code, language in languages().items()}
    theirs = {code: voice for code, (_, voice) in first.items()}
    assert ours.items() <= theirs.items()
    assert theirs.keys() - ours.keys() == {"fo", "kaa", "xex"}
