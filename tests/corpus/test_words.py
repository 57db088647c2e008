import random
import sys
import unicodedata

import pytest

from mlt_ray.corpus.words import (
    EMPTY,
    PUNCTUATION,
    dropped_letters,
    is_tag,
    is_word,
    letters,
    tokenize,
)


def split(text):
    return tuple(text.split())


def test_tokens_are_those_of_g2p_en_where_its_readme_shows_them():
    money = split("i have two hundred fifty dollars in my pocket .")
    assert tokenize("I have $250 in my pocket.") == money
    pets = split("popular pets , for example cats and dogs")
    assert tokenize("popular pets, e.g. cats and dogs") == pets


def test_tokens_are_those_of_nltk():
    from nltk.tokenize import TweetTokenizer

    words = split("i don't well-known o'clock , . ? ! ... mother-in-law a 'cause")
    draw = random.Random(11)
    nltk_tokenize = TweetTokenizer().tokenize
    for _ in range(300):
        text = " ".join(draw.choices(words, k=draw.randint(1, 13)))
        expected = nltk_tokenize(text.replace(". .", "..").replace(". .", ".."))
        ours = tokenize(text)
        assert [t for t in ours if t[0].isalpha()] == [t for t in expected if t[0].isalpha()]
        assert ours.count("?") == expected.count("?")
        assert ours.count(",") == expected.count(",")


def test_marks_at_a_word_are_tokens_of_their_own():
    tokens = split("no ! what ? ! wait , i ... i can't -")
    assert tokenize("No! What?! Wait, I... I can't--") == tokens


def test_a_word_begun_again_is_two_words_and_a_compound_is_one():
    assert tokenize("I--I mean my ex-wife") == ("i", "-", "i", "mean", "my", "ex-wife")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[LAUGHTER] oh, no", ("[laughter]", "oh", ",", "no")),
        ("well[BREATHING]yes", ("well", "[breathing]", "yes")),
        ("[ Lip Smack ]", ("[lip_smack]",)),
        ("[LAUGHTER - GARBAGE]", ("[laughter_garbage]",)),
        ("[", (EMPTY,)),
        ("[3]", ("three",)),
    ],
)
def test_a_tag_is_one_token(text, expected):
    assert tokenize(text) == expected


@pytest.mark.parametrize("text", ["", " \n\t", "«»", "😀", "你好", '"', "'", "****"])
def test_a_text_without_anything_to_say_is_one_empty_token(text):
    assert tokenize(text) == (EMPTY,)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don’t “go”…", ("don't", "go", "...")),
        ("now—or never", ("now", "-", "or", "never")),
        ("café naïve", ("cafe", "naive")),
        ("one\ntwo\u00a0three", ("one", "two", "three")),
        ("and/or", ("and", "or")),
        ("ＡB", ("b",)),
    ],
)
def test_typography_is_translated(text, expected):
    assert tokenize(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1999", "nineteen ninety-nine"),
        ("the 21st", "the twenty-first"),
        ("3.5", "three point five"),
        ("£3", "three pounds"),
        ("$1.50", "one dollar , fifty cents"),
        ("my PS4", "my ps four"),
        ("$,5", ", five"),
        ("9" * 17, " ".join(["nine"] * 17)),
    ],
)
def test_numbers_are_spelled_out(text, expected):
    assert tokenize(text) == split(expected)


def test_every_string_gives_tokens():
    draw = random.Random(7)
    alphabet = [chr(c) for c in range(0x20, 0x250)] + list(
        "’“…—😀你\u0301\ud800\x00$£[]0123456789,."
    )
    for length in range(400):
        text = "".join(draw.choices(alphabet, k=length))
        tokens = tokenize(text)
        assert tokens
        assert all(t in PUNCTUATION or t == EMPTY or t[0] in "[" or t[0].isalpha() for t in tokens)
        assert all(unicodedata.normalize("NFD", t).isascii() for t in tokens)


@pytest.mark.parametrize("piece", ["a", "word ", "7", "1,", "$1,.", "1.", ". ", "- ", "[a ", "'"])
def test_very_long_texts_are_no_exception(piece):
    assert tokenize(piece * 5_000)


def test_the_default_limit_on_integers_is_in_force():
    # Without this limit, the test above would not reach the error that it checks.
    assert sys.get_int_max_str_digits() == 4300


def test_a_letter_is_dropped_where_the_tokens_lack_it():
    every = [chr(i) for i in range(0x30000) if chr(i).isalpha() and letters(chr(i))]
    lost = {c for c in every if not any(map(is_word, tokenize(c)))}
    assert {c for c in every if dropped_letters(c)} == lost
    assert {"é", "Z", "ñ"} < set(every) - lost
    assert {"ß", "ø", "我", "я", "ع", "한"} < lost


def test_letters_of_a_text_are_those_outside_its_tags():
    assert letters("[LAUGHTER] Don’t, 2 x!") == "Dontx"
    assert dropped_letters("Straße [LACHEN] 我很 ok") == "ß我很"


def test_every_token_is_a_word_or_punctuation_or_a_tag_or_empty():
    tokens = tokenize("Well, [LAUGHTER] don't -- ex-wife... 3!")
    assert [t for t in tokens if is_word(t)] == ["well", "don't", "ex-wife", "three"]
    assert [t for t in tokens if is_tag(t)] == ["[laughter]"]
    assert not is_word(EMPTY)


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("de", "„Straße“ – GRÖSSE, 3,5 Äpfel…", "straße - grösse , 3,5 äpfel ..."),
        ("pl", "Żółć? Szczęśliwy!", "żółć ? szczęśliwy !"),
        ("ru", "Я и/или [смех] ты…", "я и или [смех] ты ..."),
        ("zh", "我很生气。3个人，真的吗？", "我 很 生 气 . 3 个 人 , 真 的 吗 ?"),
        ("hi", "हिन्दी में।", "हिन्दी में ."),
        ("fa", "می‌خواهم، نه؟", "می‌خواهم , نه ?"),
        ("tr", "İstanbul ILIK", "istanbul ılık"),
        ("el", "ΘΥΜΩΜΈΝΟΣ", "θυμωμένος"),
        ("ca", "el col·legi", "el col·legi"),
        ("fr", "L’homme qu'il — «oui»", "l'homme qu'il - oui"),
        ("de", "3-mal am 1.2.2024 so\u00adfort [LAUGHTER]", "3-mal am 1.2.2024 sofort [laughter]"),
        ("vi", "\u0301 ´", EMPTY),
    ],
)
def test_other_languages_keep_their_letters_in_one_form(language, text, expected):
    for form in ("NFC", "NFD"):
        assert tokenize(unicodedata.normalize(form, text), language) == split(expected)


def test_every_string_gives_tokens_in_other_languages():
    draw = random.Random(5)
    every = [chr(c) for c in range(0x20, 0x3200) if chr(c).isprintable()]
    every += list("你\u0301\ud800\x00\u200c\u200d[]·-'.,?!") * 200
    for length in range(300):
        for token in tokenize("".join(draw.choices(every, k=length)), "de"):
            spoken = is_word(token)
            assert spoken or token in PUNCTUATION or token == EMPTY or is_tag(token)
            assert token == unicodedata.normalize("NFC", token)
            assert not spoken or token[-1] not in "'·-\u200c\u200d"


def test_no_letter_is_dropped_in_other_languages():
    text = "Straße я 我 한 ع"
    assert dropped_letters(text) == "ßя我한ع"
    assert dropped_letters(text, "de") == ""
    assert "".join(tokenize(text, "de")) == letters(text).lower()
