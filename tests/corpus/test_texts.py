"""Which encoding a text is read in, and what is said where that is a guess."""

import pytest

from mlt_ray.corpus.texts import decode, normalise_word, same_words_key, spoken_words

WESTERN = {
    "French": "Où est-ce? Créée, déçue. C’est très bien… n’est-ce pas – « noël »",
    "Finnish": "Työääni kuuluu, äyhäö ja sää on hyvä. Tämä on nyt täällä, päivää.",
    "German": "Größe, Straße, über, „ja“ und Öl für Äpfel",
    "Spanish": "¿Qué? ¡No! Mañana será otro día, señor",
    "English": "It’s fine — it’s… “good”, a naïve café",
}

OTHERS = {
    "gb2312": "我很生气。今天天气很好",
    "big5": "我很生氣，為什麼",
    "shift_jis": "私は怒っています。なぜ",
    "euc_kr": "나는 화가 났다",
    "cp1251": "Я очень зол, почему ты так",
    "cp1253": "Είμαι πολύ θυμωμένος",
    "cp1255": "אני כועס מאוד",
    "cp1256": "أنا غاضب جدا",
}


def manifest(text):
    rows = [f'audio/{i}.wav,"{text}",sad,s{i}' for i in range(20)]
    return "\n".join(["path,text,emotion,speaker", *rows])


@pytest.mark.parametrize("text", [*WESTERN.values(), *OTHERS.values()])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_utf_8_is_no_guess(text, encoding):
    assert decode(manifest(text).encode(encoding)) == (manifest(text), "", True)


@pytest.mark.parametrize("language", WESTERN)
def test_a_western_text_that_is_not_utf_8_is_read_and_said(language):
    text = manifest(WESTERN[language])
    found = decode(text.encode("cp1252"))
    assert (found.text, found.is_sure) == (text, True)
    assert "Windows-1252 reads '" in found.guess
    assert "save it as UTF-8" in found.guess


@pytest.mark.parametrize("encoding", OTHERS)
def test_other_letters_in_another_encoding_are_not_taken_for_western_ones(encoding):
    found = decode(manifest(OTHERS[encoding]).encode(encoding))
    assert not found.is_sure
    assert found.guess.startswith("expected UTF-8, got another encoding; Windows-1252 would read '")
    assert found.guess.endswith("; save it as UTF-8")
    # A Chinese text in an English file.
    mixed = "It’s fine. " * 20 + OTHERS["gb2312"]
    assert not decode(mixed.encode("gb18030")).is_sure


def test_the_guess_shows_words_not_lines():
    assert "reads 'Olé.'; if" in decode("audio/a.wav,Olé.,sad,s1".encode("latin-1")).guess


def test_vowel_signs_belong_to_their_word():
    assert spoken_words("हिन्दी की, का!") == ["हिन्दी", "की", "का"]
    assert same_words_key("की") != same_words_key("का")
    assert normalise_word("की।") == "की"
    assert spoken_words("don´t we've") == ["don", "t", "weve"]
