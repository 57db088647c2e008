"""Case: the store's disk becomes full while runs are computed."""

import contextlib
import errno
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.crashes.journal import journal
from tests.crashes.scene import (
    Finding,
    Scene,
    check_resumed,
    checkpoints,
    finished_files,
    middle,
    started,
)

SIZE, LARGER = "24m", "96m"
"""Size of the disk, before and after it is enlarged."""


def full_disk(scene: Scene) -> Finding:
    """Another program fills the store's disk; later the disk is enlarged."""
    finding = Finding(case="disk full", damage="the store's disk filled up, then enlarged")
    folder = scene.folder / "disk"
    refusal = mount(folder)
    if refusal:
        finding.skipped = f"a tmpfs cannot be mounted here: {refusal}"
        return finding
    try:
        store = scene.store("store", inside=folder)
        with journal(store) as kept:
            with started(*scene.command(store)) as process:
                middle(kept, process)
                untouched, under_way = finished_files(store), len(kept.computed)
                with filled(folder):
                    shown = finding.expect_exit(process, 2)
                held = checkpoints(kept, store)
            said = [line for line in shown.splitlines() if line.startswith("mlt-ray: ")]
            once = len(said) == 1 and "no space left on the disk while writing" in said[0]
            finding.expect(once, f"expected one line on the full disk, got: {shown}")
            failed = [line for line in shown.splitlines() if line.startswith("failed ")]
            finding.expect(not failed, f"runs failed: {failed}")
            # A run that ended just before the disk was full may have let another one begin.
            begun = len(kept.computed) - under_way
            finding.expect(begun <= 1, f"{begun} runs were begun after the disk was full")
            finding.damage = f"the disk filled up after {len(kept.finished)} runs, enlarged later"
            subprocess.run(["mount", "-o", f"remount,size={LARGER}", folder], check=True)
            with started(*scene.command(store)) as process:
                finding.expect_exit(process, 0)
            check_resumed(finding, store, held, untouched)
        finding.judge(kept, store, scene.undisturbed)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
    return finding


def mount(folder: Path) -> str:
    """Mount a small disk in memory; returns the reason if that fails, else an empty text."""
    folder.mkdir()
    try:
        command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "mlt-ray-crashes", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        return str(error)
    return done.stderr.strip()


@contextlib.contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Fill every byte that is free or becomes free, until the block ends."""
    ended = threading.Event()

    def fill() -> None:
        with (folder / "ballast").open("wb", buffering=0) as file:
            while not ended.is_set():
                try:
                    file.write(b"\0" * 4096)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    ended.wait(0.005)
            os.fsync(file.fileno())

    thread = threading.Thread(target=fill, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
