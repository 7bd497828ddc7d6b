"""Small sound files of every kind that the project reads, made by code."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
from PIL import Image

from recon.fields import RenderingNetwork, SDFNetwork
from recon.priors import (
    CanonicalFrame,
    DeepSDFNetwork,
    FeatureGridSDFNetwork,
    PCAShapeModel,
    ShapePrior,
    SourceSubject,
    save_shape_prior,
    save_source_subject,
)
from recon.priors.pca.shape_model import nearest_rows
from recon.priors.weights import save_packed_prior

CANONICAL = CanonicalFrame(
    (0.0, -25.0, -5.0), 330.0, {"nose_tip": (0.0, 4.0, 130.0), "left_eye": (18.5, 32.5, 92.0)}
)
SIZE = 12, 10
"""Width and height of pictures."""


def picture(suffix: str, mode: str = "RGB", **options: Any) -> bytes:
    """A picture with all kinds of pixels."""
    width, height = SIZE
    values = np.add.outer(np.arange(height) * 9, np.arange(width) * 11).astype(np.uint8)
    image = Image.fromarray(np.stack([values, values.T[:height].repeat(2, 1)[:, :width], 255 - values], -1))
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0x920A] = 4.2  # the focal length
    buffer = io.BytesIO()
    image.convert(mode).save(
        buffer, suffix, **({"exif": exif} if suffix in ("JPEG", "PNG", "WEBP") else {}), **options
    )
    return buffer.getvalue()


def mask() -> bytes:
    """A mask: an ellipse, white on black."""
    width, height = SIZE
    y, x = np.mgrid[:height, :width]
    inside = ((x - 5.5) / 4) ** 2 + ((y - 4.5) / 3.5) ** 2 < 1
    buffer = io.BytesIO()
    Image.fromarray(np.where(inside, 255, 0).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def cameras() -> bytes:
    """Matrices of two cameras on either side of a ball."""
    arrays: dict[str, np.ndarray] = {}
    for index, side in enumerate((-1.0, 1.0)):
        pose = np.eye(4)
        pose[:3, :3] = np.array([[0.8, 0, 0.6 * side], [0, 1, 0], [-0.6 * side, 0, 0.8]])
        pose[2, 3] = 900
        intrinsics = np.diag([20.0, 20.0, 1.0, 1.0])
        intrinsics[:2, 2] = 6, 5
        arrays[f"world_mat_{index}"], arrays[f"scale_mat_{index}"] = (
            intrinsics @ pose,
            np.diag([300.0, 300, 300, 1]),
        )
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def write_scene(folder: Path) -> Path:
    """A scene of two views in the layout of IDR; the path of its cameras."""
    for name in ("image", "mask"):
        (folder / name).mkdir()
        for index in range(2):
            (folder / name / f"{index:03d}.png").write_bytes(picture("PNG") if name == "image" else mask())
    (folder / "cameras.npz").write_bytes(cameras())
    return folder / "cameras.npz"


def write_h3ds(folder: Path) -> Path:
    """A data set of one scene in the layout of H3DS; the path of its description."""
    scene = folder / "demo"
    for name in ("image", "mask", "regions"):
        (scene / name).mkdir(parents=True)
    for index in range(2):
        (scene / f"image/img_{index:04d}.jpg").write_bytes(picture("JPEG"))
        (scene / f"mask/mask_{index:04d}.png").write_bytes(mask())
    (scene / "cameras.npz").write_bytes(cameras())
    (scene / "full_head.obj").write_bytes(mesh("obj"))
    (scene / "landmarks.txt").write_bytes(b"nose_tip 3\nleft_eye 7\nright_eye 9\n")
    (scene / "regions/face.txt").write_bytes(b"3\n7\n9\n11\n")
    (folder / "version.txt").write_bytes(b"0.2\n")
    (folder / "config.toml").write_text(
        'version = "0.2"\nfile_id = "x"\nfile_md5 = "y"\n[scenes.demo]\nviews = 2\ntags = ["a"]\n'
        "[scenes.demo.default_views_configs]\n1 = [0]\n2 = [0, 1]\n"
    )
    return folder / "config.toml"


def ball() -> trimesh.Trimesh:
    """A ball of 90 mm."""
    return trimesh.creation.icosphere(subdivisions=1, radius=90)


def mesh(kind: str) -> bytes:
    """A ball as a file: obj, ply, ascii_ply, textured_ply, stl, ascii_stl or glb."""
    made = ball()
    if kind == "obj":
        lines = [f"v {x:.4f} {y:.4f} {z:.4f} 0.5 0.4 0.3" for x, y, z in made.vertices]
        lines += [f"vt {x / 200 + 0.5:.3f} {y / 200 + 0.5:.3f}" for x, y, _ in made.vertices]
        lines += ["f " + " ".join(f"{i + 1}/{i + 1}" for i in face) for face in made.faces]
        return ("# ball\n" + "\n".join(lines) + "\n").encode()
    if kind == "textured_ply":
        return textured_ply(made.vertices, made.faces)
    options = {
        "ascii_ply": {"file_type": "ply", "encoding": "ascii"},
        "ascii_stl": {"file_type": "stl_ascii"},
    }
    written = made.export(**options.get(kind, {"file_type": kind}))
    return written.encode() if isinstance(written, str) else bytes(written)


def textured_ply(vertices: np.ndarray, faces: np.ndarray) -> bytes:
    """A PLY with texture coordinates of each face's corners, as MeshLab writes it; two at each vertex of a seam."""
    rows = np.zeros(len(faces), [("n", "u1"), ("i", "<i4", 3), ("m", "u1"), ("t", "<f4", 6)])
    rows["n"], rows["i"], rows["m"] = 3, faces, 6
    low, high = vertices.min(0), vertices.max(0)
    plane = ((vertices - low) / (high - low))[:, :2]
    rows["t"] = np.where(faces[:, :1] % 2 == 0, plane[faces].reshape(-1, 6), 0.1)
    head = (
        "ply\nformat binary_little_endian 1.0\ncomment TextureFile none.png\n"
        f"element vertex {len(vertices)}\nproperty float x\nproperty float y\nproperty float z\n"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nproperty list uchar float texcoord\n"
        "end_header\n"
    )
    return head.encode() + vertices.astype("<f4").tobytes() + rows.tobytes()


def _saved(path: Path, network: Any, kind: str, arguments: Mapping[str, Any]) -> Path:
    save_shape_prior(path, ShapePrior(network, CANONICAL, kind, arguments, {"what": "a test"}), torch.float32)
    return path


def write_mlp_prior(path: Path) -> Path:
    """A small prior of kind mlp."""
    arguments = {
        "latent_size": 3,
        "width": 24,
        "depth": 3,
        "skip": [2],
        "octaves": 1,
        "radius": 0.5,
        "beta": 100.0,
    }
    torch.manual_seed(0)
    return _saved(path, DeepSDFNetwork(**arguments), "mlp", arguments)  # type: ignore[arg-type]


def write_feature_grid_prior(path: Path) -> Path:
    """A small prior of kind feature_grid."""
    arguments = {
        "latent_size": 2, "width": 4, "depth": 1, "low": [-0.6] * 3, "high": [0.6] * 3, "mean_cells": [4, 3, 5],
        "grids": [[2, 3, 2, 2]],
    }  # fmt: skip
    torch.manual_seed(0)
    return _saved(path, FeatureGridSDFNetwork(**arguments), "feature_grid", arguments)  # type: ignore[arg-type]


def write_pca_prior(path: Path, compressed: bool = False) -> Path:
    """A small prior of kind pca, plain or compressed."""
    cells, latent = (6, 5, 7), 2
    rng = np.random.default_rng(0)
    low, high = (-0.5, -0.4, -0.6), (0.5, 0.4, 0.6)
    axes = [a + (np.arange(n) + 0.5) * (b - a) / n for n, a, b in zip(cells, low, high, strict=True)]
    distance = np.linalg.norm(np.stack(np.meshgrid(*axes, indexing="ij"), -1), axis=-1) - 0.25
    inside = np.abs(distance) < 0.2
    arguments = {
        "latent_size": latent, "low": list(low), "high": list(high), "cells": list(cells), "band": int(inside.sum()),
        "landmarks": ["chin", "nose_tip"],
    }  # fmt: skip
    model = PCAShapeModel(**arguments)  # type: ignore[arg-type]
    model.load_state_dict(
        {
            "mean.values": torch.from_numpy(
                np.pad(distance, 1, mode="edge").reshape(-1, 1).astype(np.float32)
            ),
            "rows": torch.from_numpy(rng.normal(scale=0.02, size=(inside.sum(), latent))).half(),
            "row_of": torch.from_numpy(nearest_rows(inside).ravel()),
            "landmark_mean": torch.tensor([[0.0, -60.0, 90.0], [0.0, 4.0, 130.0]]),
            "landmark_basis": torch.from_numpy(rng.normal(size=(2, 3, latent)).astype(np.float32)),
        },
        assign=True,
    )
    if not compressed:
        return _saved(path, model, "pca", arguments)
    prior = ShapePrior(model.eval(), CANONICAL, "pca", arguments, {})
    save_packed_prior(path, prior, inside, 0.5)
    return path


FIELDS: dict[str, dict[str, Any]] = {
    "sdf": {
        "_target_": "recon.fields.SDFNetwork", "width": 12, "depth": 2, "skip": [1], "octaves": 1, "feature_size": 2,
    },
    "colour": {
        "_target_": "recon.fields.RenderingNetwork", "width": 4, "depth": 1, "feature_size": 2, "view_octaves": 1,
    },
}  # fmt: skip


RUN_CONFIG: dict[str, Any] = {
    "scene": "demo", "views": [0, 1], "seed": 0, "steps": 3, "method": {"name": "idr", "steps": 3, "steps_per_view": 1},
    "field": FIELDS, "prior": {"schedule_offset": 0.0},
}  # fmt: skip


def _networks() -> dict[str, torch.nn.Module]:
    torch.manual_seed(0)
    made = {"sdf": SDFNetwork, "colour": RenderingNetwork}
    return {
        part: made[part](**{name: value for name, value in FIELDS[part].items() if name != "_target_"})
        for part in made
    }


def _weights() -> dict[str, torch.Tensor]:
    return {
        f"{part}.{name}": value
        for part, each in _networks().items()
        for name, value in each.state_dict().items()
    }


def write_source_subject(path: Path) -> Path:
    """A small source subject with Adam's state."""
    weights = _weights()
    adam = {
        name: {
            "step": torch.tensor(3.0),
            "exp_avg": torch.zeros_like(value),
            "exp_avg_sq": torch.ones_like(value),
        }
        for name, value in weights.items()
    }
    about = {"scene": "demo", "views": [0, 1], "method": "idr", "seed": 0, "steps": 3, "progress": 1.0}
    save_source_subject(path, SourceSubject(path.stem, FIELDS, weights, adam, about))
    return path


def write_run(folder: Path) -> Path:
    """The folder of a run of method idr with configuration, checkpoint and metrics; the path of its checkpoint."""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text(json.dumps(RUN_CONFIG, indent=1))
    metrics = {"scene": "demo", "views": [0, 1], "method": "idr"}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "mesh.ply").write_bytes(mesh("ply"))
    names = [f"{part}.{name}" for part, each in _networks().items() for name, _ in each.named_parameters()]
    weights = _weights()
    state = {
        number: {
            "step": torch.tensor(3.0),
            "exp_avg": torch.zeros_like(weights[name]),
            "exp_avg_sq": torch.ones_like(weights[name]),
        }
        for number, name in enumerate(names[:2])  # the others never had a gradient
    }
    path = folder / "checkpoints/last.ckpt"
    optimizer = {"state": state, "param_groups": [{"params": list(range(len(names)))}]}
    torch.save({"state_dict": weights, "global_step": 3, "optimizer_states": [optimizer]}, path)
    return path


def calibration() -> dict[str, Any]:
    """A report of calibration."""
    return {
        "photographs": [
            {"name": "a.jpg", "view": 0, "how": "landmarks"}, {"name": "b.jpg", "view": None, "how": "no face"},
        ],
        "outline_mm": 1.5,
        "size": "as of the mean head",
        "world_mm_per_canonical_mm": 1.02,
        "canonical_from_world": np.diag([0.003, 0.003, 0.003, 1.0]).tolist(),
        "lines": ["a.jpg: view 0"],
        "warnings": ["b.jpg: not used, no face"],
    }  # fmt: skip


def landmark_table() -> bytes:
    """A table as of recon/calibration/landmarks468.npz."""
    rng = np.random.default_rng(0)
    buffer = io.BytesIO()
    np.savez(
        buffer,
        places_mm=rng.normal(scale=60, size=(468, 3)).astype(np.float32),
        bias_mm=rng.normal(size=(468, 2, 3)).astype(np.float32),
        relative_sigma=np.ones((468, 11), np.float32),
        mirror=np.arange(468)[::-1].copy(),
    )
    return buffer.getvalue()


def write_samples(root: Path) -> Path:
    """A folder of samples of two heads; the path of its manifest."""
    from recon.priors.data.dataset import FORMAT

    folder = root / "train"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    arrays = {
        name: rng.normal(size=(2, 5, 3)).astype(np.float32) for name in ("surface", "normals", "points")
    }
    arrays |= {"distances": np.zeros((2, 5), np.float32), "lattice": np.zeros((2, 3, 3, 3), np.float16)}
    arrays |= {"landmarks": rng.normal(size=(2, 68, 3)).astype(np.float32)}
    np.savez(folder / "shard.npz", **arrays)  # type: ignore[arg-type]
    manifest = {
        "format": FORMAT, "unit_centre_mm": [0.0, -25.0, -5.0], "unit_radius_mm": 330.0, "counts": {"lattice_mm": 6.0},
        "shards": [{"file": "shard.npz", "seeds": [1, 2], "names": ["a", "b"], "sha256": "0"}],
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder / "manifest.json"


def write_template_file(path: Path) -> Path:
    """A small template of heads."""
    from recon.fields.deformation import Deformation
    from recon.geometry.distance_grid import RegularGrid
    from recon.synth.datasets.template import Template, write_template

    modes = {"low": [-0.7] * 3, "high": [0.7] * 3, "cells": [2, 3, 2]}
    arguments = {"identity": {**modes, "modes": 2}, "expression": {**modes, "modes": 1}}
    grid = RegularGrid(np.zeros(3), 3.0, (2, 3, 2))
    inside = np.ones((2, 3, 2), bool)
    template = Template(arguments, Deformation(**arguments), grid, inside, np.ones(12, np.float32))
    write_template(path, template)
    return path


def head_model() -> bytes:
    """A packed head model with a skin of one closed strip, two eyes and three shapes of each kind."""
    rng = np.random.default_rng(0)
    regions = ["face", "head_neck", "eyeball_L", "eyeball_R"]
    materials = ["M_Skin", "M_ScleraLeft", "M_IrisLeft", "M_ScleraRight", "M_IrisRight"]
    skin = ball()
    n = len(skin.vertices)
    faces: list[np.ndarray] = [np.asarray(skin.faces)]
    vertices: list[np.ndarray] = [np.asarray(skin.vertices) / 10]
    region, material = [np.zeros(len(skin.faces))], [np.zeros(len(skin.faces))]
    for side in (0, 1):
        for part in (0, 1):
            vertices.append(np.eye(3)[[2, 0, 1]] * [1, 1, 0] + np.array([4.0 * side, 0, part]))
            faces.append(np.array([[0, 1, 2]]) + n)
            region.append(np.full(1, 2 + side))
            material.append(np.full(1, 1 + 2 * side + part))
            n += 3
    arrays = {
        "vertices": np.concatenate(vertices).astype(np.float32),
        "faces": np.concatenate(faces).astype(np.int32),
        "face_region": np.concatenate(region).astype(np.uint8),
        "face_material": np.concatenate(material).astype(np.uint8),
        "vertex_region": np.zeros(n, np.uint8),
        "region_names": np.array(regions),
        "material_names": np.array(materials),
        "identity_deltas": rng.normal(size=(3, n, 3)).astype(np.float16),
        "expression_deltas": rng.normal(size=(3, n, 3)).astype(np.float16),
        "expression_names": np.array(["a", "b", "c"]),
        "landmarks68": np.arange(34).repeat(2).astype(np.int32),
    }
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def source_zip() -> bytes:
    """A zip archive as of ICT-FaceKit, with a folder around everything."""
    from tools.fuzzing.mutations import zipped

    lists = {
        "expressions": ["a"], "idx_to_landmark_verts": [1, 2], "idx_to_rigid_verts": [1], "idx_to_fitting_verts": [2],
        "idx_to_rigid_landmark_idx": [0],
    }  # fmt: skip
    members = {
        "ICT-FaceKit-master/LICENSE": b"MIT",
        "ICT-FaceKit-master/FaceXModel/generic_neutral_mesh.obj": mesh("obj"),
        "ICT-FaceKit-master/FaceXModel/vertex_indices.json": json.dumps(lists).encode(),
    }
    return zipped(members)


def data_set_zip(password: bytes | None = None) -> bytes:
    """A zip archive of a data set, plain or with the first member encrypted."""
    from tools.fuzzing.mutations import zipped

    content = zipped({"set/version.txt": b"0.2\n", "set/demo/landmarks.txt": b"nose_tip 3\n" * 20}, 8)
    return content if password is None else _encrypted(content, password)


def _encrypted(content: bytes, password: bytes) -> bytes:
    """The archive with its flags saying that members are encrypted."""
    changed = bytearray(content)
    for magic, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        at = content.find(magic)
        while at >= 0:
            changed[at + offset] |= 1
            at = content.find(magic, at + 4)
    return bytes(changed)
