"""Speech encoders on a cluster: its workers embed recordings, each a part."""

import functools
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import ray
import torch
from numpy.typing import NDArray
from ray.exceptions import RayError, RayTaskError

from mlt_ray.corpus.audio import Samples, Sound
from mlt_ray.encoders.embedding import Embedder, Embedding, blocks, embed
from mlt_ray.encoders.opening import open_encoder
from mlt_ray.encoders.speech import SpeechEncoder
from mlt_ray.errors import UserError
from mlt_ray.machine import device_of
from mlt_ray.planning.resources import Resources, check_fits, share_of_trial
from mlt_ray.scheduling.board import BoardClient
from mlt_ray.scheduling.connection import cluster_nodes
from mlt_ray.scheduling.job import Job
from mlt_ray.scheduling.opening import open_store
from mlt_ray.storage.outage import outage_of
from mlt_ray.storage.store import Store

AHEAD: Final = 2
"""Blocks of recordings that are handed out for each worker: one under way, one to come."""

RETRIES: Final = 3
"""How often the worker of a block may die before the command gives up."""

LISTEN_S: Final = 1.0
"""Seconds between two looks whether workers wait for the store."""


def cluster_embedder(store: Store, resources: Resources) -> Embedder:
    """An `Embedder` on the cluster that this process is connected to.

    The driver reads the recordings, so that nobody else must see their files, and hands them out in
    blocks; workers read the encoder from the `store`. Arrays come back in order. A worker that dies
    is replaced. `resources` are those that `connection` yielded; a worker gets what a run gets.
    """
    name = f"embedding-{uuid.uuid4().hex[:8]}"
    alone = Resources(cpus_per_run=resources.cpus_per_run, gpus_per_run=resources.gpus_per_run)
    nodes = cluster_nodes()
    num_workers, share = check_fits(alone, nodes), share_of_trial(alone)
    board = BoardClient(name, {}, store.location)  # it tells workers where the store is
    job = Job(name=name, runs=(), owner=name, board=name, resources=alone)
    task = ray.remote(
        num_cpus=share["CPU"],
        num_gpus=share["GPU"],
        max_retries=RETRIES,
        max_calls=0,  # any number: a worker with a GPU would end after every block
    )(embed_block)

    def arrays_of(answer: Any) -> list[NDArray[Any]]:
        while not ray.wait([answer], timeout=LISTEN_S)[0]:
            board.relay(outage_of(store.location))
        return _result(answer)

    def embed_files(
        folder: Path, sounds: Sequence[Sound], embedding: Embedding
    ) -> Iterator[NDArray[Any]]:
        under_way: deque[Any] = deque()
        for block in blocks(sounds):
            if len(under_way) >= AHEAD * num_workers:
                yield from arrays_of(under_way.popleft())
            named = task.options(name=f"embedding of {len(block)} recordings, {board.name}")
            under_way.append(named.remote(job, folder.name, block, embedding))
        while under_way:
            yield from arrays_of(under_way.popleft())

    return embed_files


def _result(answer: Any) -> list[NDArray[Any]]:
    """What a worker gave; `UserError` for one that it raised, or if too many have died."""
    try:
        found: list[NDArray[Any]] = ray.get(answer)
    except RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise error.cause from error
        raise
    except RayError as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"speech encoder: expected workers of the cluster to compute its states, got: {reason} "
            f"({1 + RETRIES} times); raise --cpus-per-run, so that fewer share a machine's memory"
        ) from error
    return found


def embed_block(
    job: Job, digest: str, recordings: Sequence[Samples], embedding: Embedding
) -> list[NDArray[Any]]:
    """What a worker does with a block: the arrays of recordings, by an encoder of the store."""
    num_threads = max(1, int(job.resources.cpus_per_run))
    torch.set_num_threads(num_threads)
    return list(embed(_encoder(job, digest), recordings, embedding, num_threads))


@functools.lru_cache(maxsize=1)
def _encoder(job: Job, digest: str) -> SpeechEncoder:
    """The encoder, opened once in each worker."""
    return open_encoder(open_store(job).encoder(digest), device_of())
