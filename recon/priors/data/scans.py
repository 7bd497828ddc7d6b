"""Raw scans as training data: meshes with six landmarks, brought to the canonical frame, as surface points.

```
<root>/anna.ply  anna_landmarks.txt                 any mesh with its landmarks beside it
<root>/<scene>/full_head.obj  landmarks.txt         the H3DS layout
```

A line of a landmark file is `name vertex_index`, with H3DS's names. Scans may be open and need not be
watertight: nothing but their surface and its normals is used.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import trimesh
from jaxtyping import Float, Float16

from recon.errors import MeshError, PriorError, SceneError
from recon.geometry.frames import LANDMARKS_MM, UNIT_CENTRE_MM, UNIT_RADIUS_MM, CanonicalFrame, similarity
from recon.geometry.obj import load_in_order, read_obj
from recon.geometry.surface import Surface
from recon.priors.data.dataset import HeadPoints
from recon.scene.scene import read_landmarks

SUFFIXES = (".ply", ".obj")
HELD_OUT = 10
"""One scan in this number is held out."""
LEAST_LANDMARKS = 4
"""Smallest number of landmarks of a scan."""


def canonical_from_landmarks(landmarks: Mapping[str, Float[np.ndarray, "3"]]) -> Float[np.ndarray, "4 4"]:
    """The similarity that takes a head's landmarks closest to those of the mean head (Umeyama 1991).

    Args:
        landmarks: Position by H3DS name, mm; others are passed over.

    Raises:
        PriorError: There are fewer than four, or they coincide.
    """
    names = [name for name in LANDMARKS_MM if name in landmarks]
    if len(names) < LEAST_LANDMARKS:
        raise PriorError(
            f"expected at least {LEAST_LANDMARKS} of the landmarks {', '.join(LANDMARKS_MM)}; "
            f"got {', '.join(landmarks) or 'none'}"
        )
    source = np.array([landmarks[name] for name in names], np.float64)
    target = np.array([LANDMARKS_MM[name] for name in names])
    try:
        return similarity(source, target)
    except ValueError as error:
        raise PriorError(f"the landmarks {', '.join(names)} all lie at the same place") from error


class ScanFolder:
    """Scans of a folder and its subfolders, each a shard of its own.

    Args:
        root: Folder.
        held_out: Whether to take the scans that are held out for validation, a tenth by name, or the others.
        points: Number of surface points drawn on each.
        seed: Seed of the draw.

    Raises:
        PriorError: There are no scans, or one has no landmarks.
    """

    def __init__(self, root: str | Path, *, held_out: bool, points: int = 100_000, seed: int = 0) -> None:
        root = Path(root)
        paths = scans_below(root)
        if len(paths) < 2:
            raise PriorError(
                f"{root} holds {len(paths)} scans; expected at least 2 meshes ({', '.join(SUFFIXES)}) with "
                "<stem>_landmarks.txt or landmarks.txt beside each, or samples with <split>/manifest.json"
            )
        for path in paths:
            landmark_file(path)
        # By hash, so that more scans leave the others where they are as far as can be.
        ordered = sorted(paths, key=lambda path: hashlib.sha256(_name(root, path).encode()).digest())
        unseen = set(ordered[: max(1, len(ordered) // HELD_OUT)])
        self.paths = [path for path in paths if (path in unseen) == held_out]
        self.names: Sequence[str] = [_name(root, path) for path in self.paths]
        self.shards: Sequence[Sequence[int]] = [range(n, n + 1) for n in range(len(self.paths))]
        self.canonical = CanonicalFrame(UNIT_CENTRE_MM, UNIT_RADIUS_MM, LANDMARKS_MM)
        self.has_distances, self.lattice_mm = False, None
        self.points, self.seed = points, seed

    def load(self, shard: int) -> HeadPoints:
        """Surface points of one scan, with the normals of its triangles."""
        path = self.paths[shard]
        points, normals = scan_points(path, self.points, self.seed)
        return HeadPoints(points[None], normals[None])

    def lattice(self, shard: int) -> Float16[np.ndarray, "heads x y z"]:
        """Refuses, since scans have no lattices of distances."""
        raise PriorError(f"{self.paths[shard]} is a raw scan: it has no lattice of distances")


def scans_below(root: Path) -> list[Path]:
    """Meshes of a folder and its subfolders, sorted; hidden ones are passed over."""
    return sorted(
        path
        for path in root.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def landmark_file(path: Path) -> Path:
    """Finds the file with the landmarks of a scan.

    Raises:
        PriorError: There is none.
    """
    own, shared = path.with_name(f"{path.stem}_landmarks.txt"), path.with_name("landmarks.txt")
    for candidate in (own, shared):
        if candidate.is_file():
            return candidate
    raise PriorError(
        f"{path} has no landmarks: expected {own.name} or {shared.name} beside it, with lines "
        f"'name vertex_index' for {', '.join(LANDMARKS_MM)}"
    )


def read_scan(path: Path) -> tuple[trimesh.Trimesh, Float[np.ndarray, "4 4"]]:
    """A scan as it is, and the similarity that takes it to the canonical frame, mm.

    Raises:
        PriorError: Mesh or landmarks cannot be read, or do not fit each other.
    """
    try:
        mesh = read_obj(path).mesh() if path.suffix.lower() == ".obj" else _read_ply(path)
        indices = read_landmarks(landmark_file(path))
    except (MeshError, SceneError) as error:
        raise PriorError(f"the scan {path} cannot be used: {error}") from error
    vertices = np.asarray(mesh.vertices, np.float64)
    missing = {name: index for name, index in indices.items() if index >= len(vertices)}
    if missing:
        raise PriorError(f"{landmark_file(path)} names vertices that {path} does not have: {missing}")
    try:
        matrix = canonical_from_landmarks({name: vertices[index] for name, index in indices.items()})
    except PriorError as error:
        raise PriorError(f"{landmark_file(path)}: {error}") from error
    return mesh, matrix


def scan_points(path: Path, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points and normals (count, 3) on a scan inside the canonical ball, canonical unit space.

    Raises:
        PriorError: The scan cannot be read, or most of it lies outside of the ball.
    """
    mesh, matrix = read_scan(path)
    moved = np.asarray(mesh.vertices, np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
    unit = (moved - UNIT_CENTRE_MM) / UNIT_RADIUS_MM
    surface = Surface(trimesh.Trimesh(unit, mesh.faces, process=False))
    own_seed = int.from_bytes(hashlib.sha256(f"{path.name} {seed}".encode()).digest()[:8], "big")
    points, faces = surface.sample(4 * count, seed=own_seed)
    inside = np.flatnonzero(np.linalg.norm(points, axis=1) < 1)
    if len(inside) < count:
        raise PriorError(
            f"{path}: {100 * (1 - len(inside) / len(points)):.0f} % of its surface lies further than "
            f"{UNIT_RADIUS_MM:g} mm from the middle of the head; are its landmarks right, and is it a head?"
        )
    chosen = np.random.default_rng(own_seed).permutation(inside)[:count]
    return points[chosen].astype(np.float32), surface.normals[faces[chosen]].astype(np.float32)


def _read_ply(path: Path) -> trimesh.Trimesh:
    mesh = load_in_order(path)
    if not isinstance(mesh, trimesh.Trimesh) or not len(mesh.faces):
        raise MeshError(f"{path} holds no triangles; a point cloud cannot be used")
    return mesh


def _name(root: Path, path: Path) -> str:
    return path.relative_to(root).with_suffix("").as_posix()
