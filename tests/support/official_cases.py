"""Random scoring cases, and the published package run on them.

`python -m tests.support.official_cases` regenerates data/official.npz, the published package's own numbers, so that
equality is tested where the package is not installed. It needs `pip install h3ds` (0.4.0).
"""

import importlib
import logging
import tempfile
import types
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh

DATA = Path(__file__).parent / "data" / "official.npz"
NAMES = ("right_eye", "left_eye", "nose_tip", "nose_base", "right_lips", "left_lips")
COUNT = 26
PLACE = np.array([3.0, -20.0, 40.0])


def grid_sphere(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vertices and faces of a sphere of latitudes and longitudes, crowded at its poles on z."""
    theta = np.pi * (np.arange(rows) + 1) / (rows + 1)
    phi = 2 * np.pi * np.arange(columns) / columns
    ring = np.stack(
        [
            np.outer(np.sin(theta), np.cos(phi)),
            np.outer(np.sin(theta), np.sin(phi)),
            np.outer(np.cos(theta), np.ones(columns)),
        ],
        axis=-1,
    )
    vertices = np.concatenate([ring.reshape(-1, 3), [[0, 0, 1], [0, 0, -1]]])
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b = index[:-1], np.roll(index[:-1], -1, axis=1)
    c, d = index[1:], np.roll(index[1:], -1, axis=1)
    quads = [np.stack([a, c, b], -1).reshape(-1, 3), np.stack([b, c, d], -1).reshape(-1, 3)]
    top, bottom = rows * columns, rows * columns + 1
    caps = [
        np.stack([np.full(columns, top), index[0], np.roll(index[0], -1)], -1),
        np.stack([np.full(columns, bottom), np.roll(index[-1], -1), index[-1]], -1),
    ]
    return vertices, np.concatenate([*quads, *caps])


def headlike(directions: np.ndarray) -> np.ndarray:
    """A lopsided head of about 100 mm radius with a nose towards -z, in mm, for unit directions."""
    x, y, _z = directions.T
    radius = 100 + 12 * y - 9 * x * y + 6 * np.sin(5 * x) * np.cos(4 * y)
    radius += 28 * np.exp(-(((directions - [0.05, 0.1, -0.99]) ** 2).sum(axis=1)) / 0.02)
    return directions * (radius * 1.0)[:, None] * [0.85, 1.15, 1.0]


@dataclass(frozen=True)
class Case:
    """One ground truth, one prediction, one question."""

    kind: str
    gt: trimesh.Trimesh
    landmarks: dict[str, int]
    regions: dict[str, np.ndarray]
    pred: trimesh.Trimesh
    pred_landmarks: dict[str, int] | None
    region: str | None


class Truth:
    """The least that an evaluator asks of a ground truth."""

    def __init__(self, mesh, landmarks, regions):
        self._mesh, self.landmarks, self._regions = mesh, landmarks, regions

    def mesh(self):
        return self._mesh

    def region(self, name):
        return self._regions[name]


def rotation(vector) -> np.ndarray:
    angle = np.linalg.norm(vector)
    x, y, z = np.asarray(vector) / angle
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k


def ground_truth(rows: int = 24, columns: int = 36):
    """Mesh, landmarks and regions."""
    directions, faces = grid_sphere(rows, columns)
    vertices = headlike(directions) + PLACE
    places = np.array(
        [
            [-0.3, -0.3, -0.9],
            [0.3, -0.3, -0.9],
            [0.05, 0.1, -1],
            [0, 0.3, -1],
            [-0.2, 0.5, -0.8],
            [0.2, 0.5, -0.8],
        ]
    )
    landmarks = {
        n: int(((directions - p) ** 2).sum(axis=1).argmin()) for n, p in zip(NAMES, places, strict=True)
    }
    tip = vertices[landmarks["nose_tip"]]
    far = np.linalg.norm(vertices - tip, axis=1)
    regions = {
        "face": np.flatnonzero(vertices[:, 2] < 40)[::-1],  # an order of its own, as files may have
        "face_sphere": np.flatnonzero(far < 95),
        "nose": np.flatnonzero(far < 40),
    }
    return trimesh.Trimesh(vertices, faces, process=False), landmarks, regions


KINDS = ("noisy", "turned", "far", "mirrored", "partial", "scaled", "dense", "sparse", "concave")


def case(seed: int) -> Case:
    """The case of a seed: kinds, regions and landmarks take turns, the rest is random."""
    rng = np.random.default_rng(seed)
    gt, landmarks, regions = ground_truth()
    kind = KINDS[seed % len(KINDS)]
    region = (None, "face_sphere", "nose", None, "face")[seed % 5]
    rows, columns = {"dense": (40, 60), "sparse": (9, 14)}.get(kind, (20, 30))
    directions, faces = grid_sphere(rows, columns)
    directions = directions @ rotation(rng.normal(size=3)).T
    vertices = (
        headlike(directions)
        + [3.0, -20.0, 40.0]
        + rng.normal(size=(len(directions), 3)) * rng.uniform(0.2, 3)
    )
    size = {"turned": 0.35, "far": 0.6}.get(kind, 0.05)
    vertices = (vertices - PLACE) @ rotation(rng.normal(size=3) * size).T + PLACE
    vertices = vertices + rng.normal(size=3) * (25 if kind == "far" else 3)
    if kind == "mirrored":
        vertices = vertices * [-1, 1, 1]
    if kind == "concave":
        vertices = vertices * [1, 1, -1] + [0, 0, 80]
    if kind == "scaled":
        vertices = vertices * rng.uniform(0.8, 1.3)
    if kind == "partial":
        keep = vertices[:, 2] < rng.uniform(0, 40)
        new = np.cumsum(keep) - 1
        vertices, directions, faces = vertices[keep], directions[keep], new[faces[keep[faces].all(axis=1)]]
    pred_landmarks = None
    if seed % 2:
        places = gt.vertices[[landmarks[n] for n in NAMES]] + rng.normal(size=(6, 3)) * 4
        nearest = (
            ((headlike(directions)[:, None] + [3.0, -20.0, 40.0] - places) ** 2).sum(axis=2).argmin(axis=0)
        )
        pred_landmarks = {n: int(i) for n, i in zip(NAMES, nearest, strict=True)}
    pred = trimesh.Trimesh(vertices, faces, process=False)
    return Case(kind, gt, landmarks, regions, pred, pred_landmarks, region)


def import_published() -> types.ModuleType:
    """The published package, with the alias that it needs on current NumPy, without its grip on logging."""
    logger_class = logging.getLoggerClass()
    try:
        module = importlib.import_module("h3ds.dataset")
    finally:
        logging.setLoggerClass(logger_class)
    if not hasattr(np, "int"):
        np.int = int  # type: ignore[attr-defined]
    return module


def write_root(
    root: Path, gt: trimesh.Trimesh, landmarks: dict[str, int], regions: dict[str, np.ndarray]
) -> str:
    """As much of the published layout as its evaluator reads; returns the scene's id."""
    scene = "00000000000000aa"
    folder = root / scene / "regions"
    folder.mkdir(parents=True)
    (root / "version.txt").write_text("0.0\n")
    (root / "config.toml").write_text(
        f'version = 0.0\nfile_id = ""\nfile_md5 = ""\n[scenes.{scene}]\ntags = []\nviews = 0\n'
        f"[scenes.{scene}.default_views_configs]\n"
    )
    lines = [f"v {x!r} {y!r} {z!r}" for x, y, z in np.asarray(gt.vertices).tolist()]
    lines += [f"f {a} {b} {c}" for a, b, c in (np.asarray(gt.faces) + 1).tolist()]
    (root / scene / "full_head.obj").write_text("\n".join(lines) + "\n")
    (root / scene / "landmarks.txt").write_text("\n".join(f"{n} {i}" for n, i in landmarks.items()))
    for name, indices in regions.items():
        (folder / f"{name}.txt").write_text("\n".join(map(str, indices.tolist())) + "\n")
    return scene


def published(root: Path, scene: str, pred: trimesh.Trimesh, landmarks, region):
    """Distances of the published package: ground truth to prediction, and back."""
    data = import_published().H3DS(path=str(root), config_path=str(root / "config.toml"))
    forward, backward, _, aligned = data.evaluate_scene(scene, pred.copy(), landmarks, region)
    return np.asarray(forward), np.asarray(backward), np.asarray(aligned.vertices)


def main() -> None:
    arrays = {}
    for seed in range(COUNT):
        it = case(seed)
        with tempfile.TemporaryDirectory() as folder:
            scene = write_root(Path(folder), it.gt, it.landmarks, it.regions)
            forward, backward, _ = published(Path(folder), scene, it.pred, it.pred_landmarks, it.region)
        arrays[f"gt_{seed}"], arrays[f"pred_{seed}"] = forward, backward[::5]
    DATA.parent.mkdir(exist_ok=True)
    np.savez_compressed(DATA, **arrays)


if __name__ == "__main__":
    main()
