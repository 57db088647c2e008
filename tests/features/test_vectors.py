import hashlib
import pickle

import numpy as np
import pytest

from mlt_ray.errors import UserError
from mlt_ray.features.vectors import components, load_vectors

PUBLISHED_THE = [0.418, 0.24968, -0.41242, 0.1217, 0.34527, -0.044457, -0.49688]
"""The first numbers in the line of "the" of Stanford's glove.6B.50d.txt."""


@pytest.fixture(scope="module")
def glove():
    return load_vectors(None)


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_the_package_holds_stanfords_vectors(glove):
    assert (glove.name, glove.dim) == ("glove.6B", 50)
    vector = glove.lookup(["the"])["the"]
    assert (vector.shape, vector.dtype) == ((50,), np.float32)
    np.testing.assert_allclose(vector[:7], PUBLISHED_THE, rtol=1e-6)


def test_king_is_to_man_as_queen_is_to_woman(glove):
    words = "queen princess prince castle throne woman girl toad politics"
    found = glove.lookup(f"{words} king man".split())
    goal = found["king"] - found["man"] + found["woman"]
    others = [word for word in words.split() if word != "woman"]
    assert max(others, key=lambda word: cosine(found[word], goal)) == "queen"


def test_frog_is_near_toad_and_angry_near_upset(glove):
    found = glove.lookup(["frog", "toad", "upset", "angry", "politics"])
    assert cosine(found["frog"], found["toad"]) > cosine(found["frog"], found["politics"]) + 0.4
    assert cosine(found["angry"], found["upset"]) > cosine(found["angry"], found["toad"]) + 0.4


def test_punctuation_has_vectors(glove):
    assert set(glove.lookup([".", ",", "?", "!", "-", "..."])) == {".", ",", "?", "!", "-", "..."}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("can't", ("ca", "n't")),
        ("won't", ("wo", "n't")),
        ("it's", ("it", "'s")),
        ("i'll", ("i", "'ll")),
        ("we've", ("we", "'ve")),
        ("they're", ("they", "'re")),
        ("i'm", ("i", "'m")),
        ("he'd", ("he", "'d")),
        ("gonna", ("gon", "na")),
        ("mother-in-law's", ("mother", "in", "law", "'s")),
    ],
)
def test_a_word_without_a_vector_is_the_mean_of_its_parts(glove, word, expected):
    assert components(word) == expected
    found = glove.lookup(expected)
    mean = np.mean([found[part] for part in expected], axis=0)
    has_its_own = word == "gonna"
    assert np.allclose(glove.lookup([word])[word], mean, atol=1e-6) != has_its_own


@pytest.mark.parametrize("word", ["word", "'s", "n't", "-", "...", ",", "<empty>"])
def test_what_cannot_be_taken_apart_has_no_parts(word):
    assert components(word) == ()


def test_a_tag_stands_for_its_word(glove):
    found = glove.lookup(["[laughter]", "laughter"])
    np.testing.assert_array_equal(found["[laughter]"], found["laughter"])


def test_unknown_words_are_left_out(glove):
    assert glove.lookup(["qwxzqwxz", "<empty>", ""]) == {}
    assert glove.lookup([]) == {}


def test_text_of_glove_is_read_as_written(tmp_path):
    path = write(tmp_path / "tiny.3d.txt", "yes 1 -2.5 3e-1\nno 4 5 6\nca 1 1 1\nn't 3 3 4\n")
    vectors = load_vectors(path)
    assert (vectors.name, vectors.dim) == ("tiny.3d", 3)
    found = vectors.lookup(["no", "yes", "can't", "maybe"])
    assert {word: vector.tolist() for word, vector in found.items()} == {
        "no": [4.0, 5.0, 6.0],
        "yes": [1.0, -2.5, pytest.approx(0.3)],
        "can't": [2.0, 2.0, 2.5],
    }


def test_words_with_spaces_are_not_taken_for_their_first_word(tmp_path):
    path = write(tmp_path / "a.txt", "the 1 2 3\nat name@domain.com 7 7 7\n. . . 8 8 8\nat 4 5 6\n")
    found = load_vectors(str(path)).lookup(["at", "."])
    assert {word: vector.tolist() for word, vector in found.items()} == {"at": [4.0, 5.0, 6.0]}


def test_a_header_is_skipped(tmp_path):
    path = write(tmp_path / "a.txt", "2 3\nyes 1 2 3 \nno 4 5 6 \n")
    vectors = load_vectors(path)
    assert vectors.dim == 3
    assert vectors.lookup(["no", "2"])["no"].tolist() == [4.0, 5.0, 6.0]


def test_the_first_of_equal_words_counts(tmp_path):
    text = load_vectors(write(tmp_path / "a.txt", "yes 1 2\nyes 3 4\n\n"))
    assert text.lookup(["yes"])["yes"].tolist() == [1.0, 2.0]
    np.save(tmp_path / "b.npy", np.array([[1, 2], [3, 4]], np.float16))
    write(tmp_path / "b.txt", "yes\nyes\n")
    assert load_vectors(tmp_path / "b.npy").lookup(["yes"])["yes"].tolist() == [1.0, 2.0]


def test_an_array_is_read_by_the_order_of_its_words(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(15, dtype=np.float64).reshape(5, 3))
    write(tmp_path / "a.txt", "one\ntwo\nthr\u0085ee\nfour\nfive\n")
    vectors = load_vectors(tmp_path / "a.npy")
    assert (vectors.name, vectors.dim) == ("a", 3)
    found = vectors.lookup(["four"])["four"]
    assert (found.dtype, found.tolist()) == (np.float32, [9.0, 10.0, 11.0])


def test_the_digest_follows_the_content_and_not_the_place(tmp_path):
    for name, text in {"a": "yes 1 2\n", "b": "yes 1 2\n", "c": "yes 1 3\n"}.items():
        write(tmp_path / f"{name}.txt", text)
    a, b, c = (load_vectors(tmp_path / f"{name}.txt").sha256 for name in "abc")
    assert a == b != c
    inner = hashlib.sha256(b"yes 1 2\n").digest()
    assert a == hashlib.sha256(inner).hexdigest()


def test_vectors_travel_to_workers(glove):
    copy = pickle.loads(pickle.dumps(glove))
    assert copy == glove
    np.testing.assert_array_equal(copy.lookup(["yes"])["yes"], glove.lookup(["yes"])["yes"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("yes 1 2 3\nno 4 5\n", r"a\.txt:2: expected a word and 3 numbers, got 3 fields"),
        ("2 3\nyes 1 2 3\nno 4 5", r"a\.txt:3: expected a word and 3 numbers"),
        ("yes 1 2 3\nno 4 x 6\n", r"a\.txt:2: .*no number"),
        ("yes 1 2 3\nno 4 nan 6\n", r"a\.txt:2: .*not finite"),
        ("", r"a\.txt:1: expected a word and its numbers"),
        ("Dear reader, this is prose\n", r"a\.txt:1: expected a word and its numbers"),
        ("2 3\nprose again\n", r"a\.txt:2: expected a word and its numbers"),
    ],
)
def test_a_damaged_text_is_named_with_its_line(tmp_path, text, message):
    path = write(tmp_path / "a.txt", text)
    with pytest.raises(UserError, match=message) as caught:
        load_vectors(path).lookup(["no"])
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_the_users_mistake(tmp_path):
    with pytest.raises(UserError, match=r"a\.txt: no such file"):
        load_vectors(tmp_path / "a.txt")


@pytest.mark.parametrize(
    ("array", "words", "message"),
    [
        (np.zeros((3, 2), np.float32), None, r"expected its words in a\.txt"),
        (np.zeros((3, 2), np.float32), "a\nb\n", r"expected 3 words.* got 2"),
        (np.zeros(3, np.float32), "a\nb\nc\n", r"shape \(3,\)"),
        (np.zeros((3, 2), np.int64), "a\nb\nc\n", r"int64"),
        (np.full((1, 2), np.nan), "no\n", r"row 0 \(no\).* NaN"),
    ],
)
def test_a_damaged_array_is_the_users_mistake(tmp_path, array, words, message):
    np.save(tmp_path / "a.npy", array)
    if words is not None:
        write(tmp_path / "a.txt", words)
    with pytest.raises(UserError, match=message):
        load_vectors(tmp_path / "a.npy").lookup(["no"])


def test_an_array_cut_short_is_the_users_mistake(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((300, 2)))
    whole = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(whole[:150])
    write(tmp_path / "a.txt", "a\n" * 300)
    with pytest.raises(UserError, match=r"a\.npy: expected a NumPy array"):
        load_vectors(tmp_path / "a.npy")
