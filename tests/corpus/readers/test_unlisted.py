"""Recordings that no line names are found, however the others are named."""

from pathlib import Path

from mlt_ray.corpus.readers.unlisted import unlisted


def test_a_path_with_dots_is_the_path_without(tmp_path: Path) -> None:
    root = tmp_path / "corpus"
    for name in ("corpus/w1/a.wav", "corpus/w2/x.wav", "corpus/w2/y.wav", "other/z.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    named = [root / "w1/../w2/x.wav", root / "w2/./y.wav", root / "../other/secret.wav"]
    assert unlisted(root, named) == ()
    assert unlisted(root, [*named, root / "w1/b.wav"]) == ("w1/a.wav",)
