"""Heads that are balls: their distances are known everywhere, and two numbers describe them."""

import json

import numpy as np
import trimesh

CENTRE, RADIUS = np.array([0.0, -25.0, -5.0]), 330.0
BOX_LOW, BOX_HIGH = np.array([-222.0, -252.0, -144.0]), np.array([222.0, 180.0, 150.0])
LANDMARKS = ("right_eye", "left_eye", "nose_tip", "nose_base", "right_lips", "left_lips")


def balls(count, seed=0):
    """Centre (mm) and radius of each."""
    rng = np.random.default_rng(seed)
    return [(np.array([0.0, rng.uniform(-20, 20), 20.0]), rng.uniform(90, 120)) for _ in range(count)]


def distance(ball, points):
    return np.linalg.norm(points - ball[0], axis=-1) - ball[1]


def write_samples(root, split, count, *, per_shard=2, lattice_mm=12.0, seed=0, surface=600, points=800):
    rng = np.random.default_rng([seed, 1])
    folder = root / split
    folder.mkdir(parents=True)
    shape = np.round((BOX_HIGH - BOX_LOW) / lattice_mm).astype(int) + 1
    nodes = BOX_LOW + np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1) * lattice_mm
    shards, heads = [], balls(count, seed)
    for first in range(0, count, per_shard):
        part = heads[first : first + per_shard]
        normals = rng.normal(size=(len(part), surface, 3))
        normals /= np.linalg.norm(normals, axis=2, keepdims=True)
        on = np.stack([c + r * n for (c, r), n in zip(part, normals, strict=True)])
        near = np.repeat(on, 2, axis=1)[:, :points] + rng.normal(scale=10, size=(len(part), points, 3))
        file = f"shard-{first // per_shard:05d}.npz"
        np.savez(
            folder / file,
            surface=on.astype(np.float32),
            normals=normals.astype(np.float16),
            points=near.astype(np.float32),
            distances=np.stack([distance(b, p) for b, p in zip(part, near, strict=True)]).astype(np.float32),
            lattice=np.stack([distance(b, nodes) for b in part]).astype(np.float16),
        )
        names = [f"{split}-{first + n:06d}" for n in range(len(part))]
        shards.append({"file": file, "names": names, "seeds": [], "sha256": ""})
    manifest = {
        "format": "headrecon-samples-2",
        "split": split,
        "unit_centre_mm": CENTRE.tolist(),
        "unit_radius_mm": RADIUS,
        "counts": {"surface": surface, "near": points, "volume": 0, "lattice_mm": lattice_mm},
        "shards": shards,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return heads


def write_scan(path, landmarks_mm, ball, transform=None, landmark_name="landmarks.txt", open_mesh=True):
    """A ball as a scan, open at the bottom; its landmarks are loose vertices, so that they are exact."""
    mesh = trimesh.creation.icosphere(subdivisions=3, radius=ball[1])
    vertices, faces = np.asarray(mesh.vertices) + ball[0], np.asarray(mesh.faces)
    if open_mesh:
        faces = faces[mesh.triangles_center[:, 1] > -0.8 * ball[1]]
    first = len(vertices)
    vertices = np.concatenate([vertices, list(landmarks_mm.values())])
    if transform is not None:
        vertices = vertices @ transform[:3, :3].T + transform[:3, 3]
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".obj":
        lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices] + [
            f"f {a} {b} {c}" for a, b, c in faces + 1
        ]
        path.write_text("\n".join(lines) + "\n")
    else:
        trimesh.Trimesh(vertices, faces, process=False).export(path)
    (path.parent / landmark_name).write_text(
        "".join(f"{name} {first + n}\n" for n, name in enumerate(landmarks_mm))
    )
