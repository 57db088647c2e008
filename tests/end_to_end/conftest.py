"""Whole commands on a small corpus, as a user types them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlt_ray.corpus.synthetic.demo import write_demo
from tests.shared import made_once

# Two rows, two epochs: what is tested is the orchestration, not the scores.
STUDY = """
title: "Two small rows"
seeds: [1, 2]
base:
  features: {frames_per_step: 16}
  model:
    system: multilevel
    width: 16
    num_heads: 2
    feed_forward: 32
    phoneme_dim: 8
    phoneme_channels: 8
    prenet_layers: 1
    mel_prenet_width: 16
  training: {learning_rate: 1e-3, batch_size: 16, max_epochs: 3}
rows:
  - name: audio only
    model: {inputs: audio}
  - name: highway network
    published: {wa: [0.730, 0.003], ua: [0.741, 0.001]}
    model: {text: highway}
"""

COMMAND = Path(sys.executable).parent / "mlt-ray"


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """A demo corpus of 100 utterances."""
    made = made_once(
        tmp_path_factory, "corpora", lambda room: write_demo(room / "small", utterances=100)
    )
    return made / "small"


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """A study file named small."""
    path = tmp_path_factory.mktemp("studies") / "small.yaml"
    path.write_text(STUDY)
    return path


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory, corpus, study):
    """A store in which the whole study was computed at once; to be read alone."""

    def compute(room):
        done = mlt_ray("run", study, "--corpus", corpus, "--store", room / "undisturbed")
        assert done.returncode == 0, done.stderr + done.stdout

    return made_once(tmp_path_factory, "stores", compute) / "undisturbed"


def mlt_ray(*arguments, **options):
    """Run the command to its end."""
    return subprocess.run(
        [COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=400,
        env=environment(),
        check=False,
        **options,
    )


def start_mlt_ray(*arguments):
    """Start the command in a session of its own and leave it running."""
    return subprocess.Popen(
        [COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
    )


def members(session):
    """Processes of a session."""
    listed = subprocess.run(
        ["ps", "-o", "pid=", "-s", str(session)], capture_output=True, text=True, check=False
    )
    return [int(pid) for pid in listed.stdout.split()]


def environment():
    """The environment without what would lead to another cluster or server."""
    hidden = ("RAY_ADDRESS", "MLFLOW_TRACKING_URI")
    return {k: v for k, v in os.environ.items() if k not in hidden}


def reports(store):
    """Bytes of every finished run's report, by digest."""
    return {p.parent.name: p.read_bytes() for p in (store / "runs").glob("*/report.json")}


def tables(store, study="small"):
    """The tables.json that the command wrote."""
    return json.loads((store / "reports" / study / "tables.json").read_text())
