"""Workers of a real Ray embed recordings as this process does, whatever dies meanwhile."""

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mlt_ray.encoders import embedding
from mlt_ray.encoders.catalogue import SPEECH
from mlt_ray.encoders.embedding import Embedding, embed_files
from mlt_ray.encoders.folder import encoder_folder, find_encoder
from mlt_ray.errors import UserError
from mlt_ray.planning.resources import Resources
from mlt_ray.scheduling.connection import connection
from mlt_ray.scheduling.embedding import cluster_embedder
from mlt_ray.storage.store import Store
from tests.descendants import descendants_titled
from tests.tiny_speech_encoder import write_speech_encoder

pytestmark = pytest.mark.slow

LENGTHS = [1601 + 401 * n for n in range(23)]


@pytest.fixture(scope="module")
def ray_here() -> Iterator[Resources]:
    with connection("local", Resources()) as resources:
        yield resources


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def folder(store: Store, tmp_path: Path) -> Path:
    """The folder, in the store, of an encoder; its own is gone."""
    heard = write_speech_encoder(tmp_path / "heard")
    encoder = find_encoder(str(heard), SPEECH)
    copied = encoder_folder(store, encoder.identity)
    encoder.copy_to(copied)
    (heard / "config.json").unlink()
    return copied


@pytest.fixture
def recordings(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{n}.wav" for n in range(len(LENGTHS))]
    for n, (path, length) in enumerate(zip(paths, LENGTHS, strict=True)):
        noise = np.random.default_rng(n).normal(size=length) * 0.1
        soundfile.write(path, noise, 16_000)
    return paths


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "BLOCK", 3)


def same(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("layer", [None, "weighted", 1])
def test_the_cluster_embeds_what_this_process_embeds(
    layer: str | int | None,
    ray_here: Resources,
    store: Store,
    folder: Path,
    recordings: list[Path],
) -> None:
    asked = Embedding(layer=layer)
    found = list(cluster_embedder(store, ray_here)(folder, recordings, asked))
    same(found, list(embed_files(folder, recordings, asked)))


def test_a_worker_that_dies_costs_no_recording(
    ray_here: Resources, store: Store, folder: Path, recordings: list[Path]
) -> None:
    for path in recordings[:9]:  # long enough to be met at work
        soundfile.write(path, np.random.default_rng(3).normal(size=240_000) * 0.1, 16_000)
    arrays = cluster_embedder(store, ray_here)(folder, recordings, Embedding())
    killed: list[int] = []

    def kill() -> None:
        """End the first workers that are seen at it, in the middle of their blocks."""
        until = time.monotonic() + 60
        while not killed and time.monotonic() < until:
            for process in descendants_titled("ray::embedding of"):
                process.kill()
                killed.append(process.pid)
            time.sleep(0.01)

    killer = threading.Thread(target=kill)
    killer.start()
    found = list(arrays)
    killer.join()
    assert killed
    same(found, list(embed_files(folder, recordings, Embedding())))


def test_a_recording_that_cannot_be_read_is_the_user_s_line(
    ray_here: Resources, store: Store, folder: Path, recordings: list[Path]
) -> None:
    recordings[7].write_text("no audio")
    with pytest.raises(UserError, match=r"7\.wav: expected audio"):
        list(cluster_embedder(store, ray_here)(folder, recordings, Embedding()))


def test_an_error_of_a_worker_that_is_the_user_s_is_one_line_here(
    ray_here: Resources, store: Store, folder: Path, recordings: list[Path]
) -> None:
    with pytest.raises(UserError, match=r"^layer: expected a number from -3 to 2 .* got 9$"):
        list(cluster_embedder(store, ray_here)(folder, recordings, Embedding(layer=9)))
