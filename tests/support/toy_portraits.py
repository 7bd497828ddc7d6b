"""Portraits of a ball with hair on its upper half, in closed form: they need neither head model nor renderer."""

import json

import numpy as np

from recon.perception.portrait_maps import HAIR, SKIN
from recon.synth.portraits.portrait import Portrait
from recon.synth.portraits.shards import Shot, write_shard

RADIUS_MM = 100.0


def ball_shot(size: int = 64, yaw_deg: float = 0.0, person: int = 0, colour=(0.6, 0.3, 0.2)) -> Shot:
    """A ball about the canonical origin, seen orthographically in effect: from 100 m away."""
    focal, distance = size * 400.0, 100_000.0
    intrinsics = np.array([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1.0]])
    turn = np.radians(yaw_deg)
    outward = np.array([np.sin(turn), 0.0, np.cos(turn)])
    axes = np.stack([[np.cos(turn), 0.0, -np.sin(turn)], [0.0, -1.0, 0.0], -outward])  # right, down, forward
    to_camera = np.eye(4)
    to_camera[:3, :3], to_camera[:3, 3] = axes, [0.0, 0.0, distance]
    place = (np.arange(size) + 0.5 - size / 2) * distance / focal
    x, y = np.meshgrid(place, place)
    inside = x**2 + y**2 < RADIUS_MM**2
    z = -np.sqrt(np.where(inside, RADIUS_MM**2 - x**2 - y**2, 0.0))
    points = np.stack([x, y, z], axis=2)
    parts = np.where(inside, np.where(y < 0, HAIR, SKIN), 0).astype(np.uint8)
    shown = inside[..., None]
    strand = np.where((parts == HAIR)[..., None], [0.0, 1.0], 0.0).astype(np.float32)
    alpha = inside.astype(np.float32)
    light = (shown * np.array(colour) * (0.3 - 0.7 * points[..., 2:] / RADIUS_MM)).astype(np.float32)
    portrait = Portrait(
        light, alpha, alpha, parts, (shown * points / RADIUS_MM).astype(np.float32),
        (shown * (points @ axes)).astype(np.float32), strand, (inside * z).astype(np.float32), light, alpha, (),
    )  # fmt: skip
    return Shot(portrait, intrinsics, to_camera, (yaw_deg, 0.0, 0.0, 50.0), person, 0)


def write_toy_portraits(root, split: str, shards: int = 2, portraits: int = 6, size: int = 64) -> None:
    """Writes shards and their manifest as `headrecon-make-portraits` would."""
    folder = root / split
    folder.mkdir(parents=True)
    entries = []
    rng = np.random.default_rng(0)
    for number in range(shards):
        shots = [
            ball_shot(size, float(rng.uniform(-180, 180)), k % 2, rng.uniform(0.1, 0.8, 3))
            for k in range(portraits)
        ]
        people = [
            {"name": f"{split}-{number}-{k}", "seed": k, "family": "afro" if k else "long", "held_out": bool(k),
             "renderer": "plain" if k else "full"} for k in range(2)
        ]  # fmt: skip
        file = f"shard-{number:05d}.safetensors"
        backdrops = [rng.random((size, size, 3), np.float32) * 0.5 for _ in range(2)]
        write_shard(folder / file, shots, backdrops, people)
        entries.append({"file": file, "seeds": [0, 1], "portraits": portraits, "sha256": ""})
    manifest = {"format": "headrecon-portraits-1", "settings": {}, "shards": entries}
    (folder / "manifest.json").write_text(json.dumps(manifest))
