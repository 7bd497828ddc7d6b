"""The commands that are attacked, each small, with a comparison of what they leave behind."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from tests.support import ellipsoid, runs
from tests.support import sample_folders as toys

CHANGING = (
    "train_s", "mesh_s", "wall_s", "peak_rss_mb", "timeline", "timeline_parts", "command", "bytes", "sha256",
)  # fmt: skip
"""Names of what differs from run to run: times, memory, and what a prior tells of its command."""
FOLDER = "<folder>"
"""What stands for the folder of outputs where its path is written in them."""


@dataclass(frozen=True)
class Subject:
    """A command that is attacked.

    Attributes:
        name: Its name.
        start: Runs it, given the folder of its outputs.
        resume: Goes on with what is in the folder, given that.
        product: File without which `resume` cannot go on, and `start` begins anew.
    """

    name: str
    start: Callable[[Path], object]
    resume: Callable[[Path], object]
    product: str

    def again(self, folder: Path) -> Callable[[], object]:
        """What a user does after the strike."""
        return lambda: (self.resume if (folder / self.product).is_file() else self.start)(folder)


def _main(module: str, arguments: Sequence[object]) -> None:
    """Runs a command's main function as if it had been typed; it is imported before the fork."""
    sys.argv[:] = [module, *map(str, arguments)]
    sys.modules[f"recon.commands.{module}"].main()


def reconstruction(data: Path, method: Sequence[str] = runs.TINY) -> Subject:
    """A reconstruction of an ellipsoid in eight steps, with mesh and report."""
    scene = data / "scene"
    if not scene.exists():
        ellipsoid.write_idr_scene(scene, 5)
    options = [f"scene={scene}", "views=[0,1,2,3]", *method, "render.heldout=1"]
    return Subject(
        "reconstruction",
        lambda folder: _main("train", [*options, f"hydra.run.dir={folder}"]),
        lambda folder: _main("train", [f"resume={folder}"]),
        "checkpoints/last.ckpt",
    )


def pretraining_options(data: Path) -> list[str]:
    """Options of the training of a small DeepSDF prior on balls, which are made in a folder."""
    samples = data / "samples"
    if not samples.exists():
        toys.write_samples(samples, "train", 8)
        toys.write_samples(samples, "val", 2, seed=9)
    return [
        f"data={samples}", "prior=deepsdf", "size.network.latent_size=4", "size.network.width=16",
        "size.network.depth=1", "size.network.mean_mm=24", "size.network.grids_mm=[[24,4],[48,4]]", "size.nodes=512",
        "size.heads=4", "size.points=64", "size.steps=8", "validation.every=0", "validation.final_heads=2",
        "validation.points=300", "validation.resolution=48", "trainer.accelerator=cpu", "trainer.log_every=1",
        "trainer.checkpoint_every=3", "picture_px=24",
    ]  # fmt: skip


def pretraining(data: Path) -> Subject:
    """The training of a small DeepSDF prior on balls."""
    options = pretraining_options(data)
    return Subject(
        "pretraining",
        lambda folder: _main("pretrain", [*options, f"hydra.run.dir={folder}"]),
        lambda folder: _main("pretrain", [f"resume={folder}"]),
        "checkpoints/last.ckpt",
    )


def left_behind(folder: Path) -> list[str]:
    """Files that no finished command leaves: temporary ones, locks, claims."""
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if (path.name.startswith(".") and path.name != ".hydra") or ".tmp" in path.name
    )


def fingerprint(folder: Path) -> dict[str, Any]:
    """What a finished command left: bytes of its files; of tables and checkpoints all that is no time."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if not path.is_file() or path.suffix == ".log" or ".hydra" in path.parts:
            continue
        if path.suffix == ".ckpt":
            content = torch.load(path, weights_only=True)
            found[name] = {
                key: content[key]
                for key in ("global_step", "state_dict", "optimizer_states", "lr_schedulers")
            }
        elif path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                tensors = {key: file.get_tensor(key) for key in file.keys()}
                about = json.loads(file.metadata().get("about", "{}"))
            found[name] = {**tensors, "about": _without_times(about)}
        elif path.suffix == ".json":
            found[name] = _without_times(json.loads(path.read_text().replace(str(folder), FOLDER)))
        elif path.suffix == ".csv":
            rows = csv.DictReader(io.StringIO(path.read_text()))
            found[name] = [_without_times(row) for row in rows]
        elif path.suffix == ".yaml":
            found[name] = path.read_text().replace(str(folder), FOLDER)
        else:
            found[name] = path.read_bytes()
    return found


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(each) for key, each in value.items() if key not in CHANGING}
    if isinstance(value, list):
        return [_without_times(each) for each in value]
    return value


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Names of the files in which two fingerprints differ."""
    names = sorted(one.keys() | other.keys())
    return [
        name
        for name in names
        if name not in one or name not in other or not runs.same(one[name], other[name])
    ]
