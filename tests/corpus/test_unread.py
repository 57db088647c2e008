import pytest

from mlt_ray.corpus.unread import is_unread, too_many_unread, unread_text


@pytest.mark.parametrize(
    "text", ["我很生气。", "我有3个", "OK 我很生气", "Я очень зол", "أنا غاضب جدا", "ＨＩ"]
)
def test_a_text_in_other_letters_is_unread(text):
    assert is_unread(text)


def test_in_its_own_language_no_text_is_unread(in_memory):
    corpus = in_memory([("u", "sad", "s", "1", "Я очень зол", "a")])
    assert too_many_unread(corpus)
    assert not is_unread("Я очень зол", "ru")
    assert not too_many_unread(corpus, "ru")
    assert unread_text(corpus, "ru") == ""


@pytest.mark.parametrize(
    "text", ["", "[LAUGHTER]", "...", "42", "Größe", "smørrebrød", "Olé", "hi 我"]
)
def test_a_text_without_letters_or_with_most_of_them_is_not(text):
    assert not is_unread(text)


@pytest.mark.parametrize(("num_chinese", "too_many"), [(0, False), (1, False), (2, True)])
def test_one_text_in_twenty_may_be_unread(in_memory, num_chinese, too_many):
    texts = ["我很生气。"] * num_chinese + ["Hm."] * (20 - num_chinese)
    rows = [(f"u{i:02d}", "sad", "s", "1", text, str(i)) for i, text in enumerate(texts)]
    corpus = in_memory(rows)
    assert too_many_unread(corpus) == too_many
    if num_chinese == 2:
        expected = "2 of 20 texts (10.0%) are in letters that training does not read, such as "
        assert unread_text(corpus) == f"{expected}'我很生气。' (u00)"
    assert bool(unread_text(corpus)) == bool(num_chinese)
