"""Subjects of a benchmark: SynthHeads-10, made where they are missing; H3DS; or any root in its layout."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import recon
from recon.errors import ConfigError
from recon.scene.h3ds.layout import MESH_FILE, Paths, read_version, scenes_with_mesh
from recon.scene.h3ds.tables import scene_ids, tables
from recon.synth.datasets.batch import SceneSettings, make_scenes
from recon.synth.datasets.named import named_recipes
from recon.synth.model.head_model import load_head_model

SYNTHHEADS = "SynthHeads-10"
_MANIFEST = Path(recon.__file__).parent / "assets" / "synthheads10_manifest.json"
_PUBLISHED = json.loads(_MANIFEST.read_text(encoding="utf-8"))["scenes"]
_NAMES = list(_PUBLISHED)


@dataclass(frozen=True)
class Subjects:
    """Who is reconstructed.

    Attributes:
        data: what tables call the data.
        release: H3DS release (`config_v1`, `config_v2`) that it is; None for other data.
        folders: scene folders by name, absolute.
        differing: of SynthHeads-10, files that are not the published ones; None where that cannot be told.
    """

    data: str
    release: str | None
    folders: dict[str, Path]
    differing: list[str] | None = None

    @property
    def notes(self) -> list[str]:
        """What tables say of the data beside its name."""
        if self.data != SYNTHHEADS:
            return []
        if self.differing is None:
            return [
                "Whether these subjects are the published ones cannot be told: there is no manifest of them."
            ]
        if not self.differing:
            return ["All files of these subjects are the published ones, to the last byte."]
        return [
            f"{len(self.differing)} files of these subjects differ from the published ones: {_named(self.differing)}."
        ]


def h3ds(root: str | None, tag: str | None, wanted: int | Sequence[str] | None) -> Subjects:
    """Scenes of a copy of H3DS.

    Args:
        root: the copy.
        tag: those that carry it; None for all.
        wanted: the first so many, or these names; None for all.

    Raises:
        ConfigError: there is no copy, its release is not known, or it lacks scenes.
        SceneError: no scene carries the tag.
    """
    if not root:
        raise ConfigError("data=h3ds: say where your copy of H3DS lies, h3ds_root=FOLDER or $H3DS_ROOT")
    folder = Path(root).expanduser().resolve()
    version = read_version(folder)
    release = next((name for name, table in tables().items() if table["version"] == version), None)
    if release is None:
        raise ConfigError(
            f"h3ds_root={root}: version.txt there must name a release "
            f"({', '.join(table['version'] for table in tables().values())}), it says {version!r}"
        )
    names = _chosen(scene_ids(tag, release), wanted, f"H3DS {release}")
    missing = [name for name in names if not Paths(folder / name).mesh.is_file()]
    if missing:
        raise ConfigError(
            f"{folder} lacks {_named(missing)} (no {MESH_FILE}): name those you have, subjects=[...]"
        )
    label = f"H3DS {release.removeprefix('config_')}" + (f", tag {tag}" if tag else "")
    return Subjects(label, release, {name: folder / name for name in names})


def folder(
    root: Path, wanted: int | Sequence[str] | None, workers: int, say: Callable[[str], None]
) -> Subjects:
    """SynthHeads-10 in a folder, the missing ones made; or the scenes of a folder that holds others.

    Args:
        root: an H3DS root; it need not exist for SynthHeads-10.
        wanted: the first so many, or these names; None for all.
        workers: people made at a time; with 0 none are, and those that are missing stay so.
        say: told of every scene made.

    Raises:
        ConfigError: a scene is missing that cannot be made, or what making them takes is not installed.
    """
    root = root.expanduser().resolve()
    there = scenes_with_mesh(root)
    others = [name for name in there if name not in _NAMES]
    known = there if others else _NAMES
    names = _chosen(known, wanted, str(root) if others else SYNTHHEADS)
    missing = [name for name in names if name not in there]
    if missing and workers:
        _make(root, missing, workers, say)
    folders = {name: root / name for name in names}
    if others:
        return Subjects(root.name, None, folders)
    return Subjects(SYNTHHEADS, None, folders, _differing(root, names))


def _make(root: Path, names: list[str], workers: int, say: Callable[[str], None]) -> None:
    command = f"headrecon-make-scenes split=synthheads10 out={root}"
    try:
        load_head_model()
    except ConfigError as error:
        raise ConfigError(
            f"data={root} lacks {_named(names)} of {SYNTHHEADS}, and they cannot be made here: {error}. "
            f"Or make them elsewhere with `{command}` and copy the folder"
        ) from error
    recipes = [recipe for recipe in named_recipes() if recipe["name"] in names]
    say(f"{root} lacks {_named(names)}: making them, as `{command}` does")
    for scene in make_scenes(root, recipes, SceneSettings(), workers=workers):
        say(f"[{scene.done}/{scene.total}] made {root / scene.name}")


def _differing(root: Path, names: Sequence[str]) -> list[str] | None:
    """Files of subjects that are not the published ones, by the manifest that `make_scenes` keeps."""
    if not (root / "manifest.json").is_file():
        return None
    made = json.loads((root / "manifest.json").read_text(encoding="utf-8"))["scenes"]
    if any(made.get(name, {}).get("key") != _PUBLISHED[name]["key"] for name in names):
        return None
    return [
        f"{name}/{file}"
        for name in names
        for file, digest in _PUBLISHED[name]["files"].items()
        if made[name]["files"].get(file) != digest
    ]


def _chosen(known: Sequence[str], wanted: int | Sequence[str] | None, where: str) -> list[str]:
    if wanted is None:
        return list(known)
    if isinstance(wanted, int):
        if not 1 <= wanted <= len(known):
            raise ConfigError(f"subjects={wanted}: {where} has {len(known)}, ask for 1 to {len(known)}")
        return list(known[:wanted])
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        raise ConfigError(f"subjects={list(wanted)}: {where} has {', '.join(known)}")
    return list(wanted)


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
