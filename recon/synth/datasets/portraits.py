"""Portraits of synthetic faces, and the brightness of face points, which all heads have, in them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree

from recon.geometry.frames import similarity
from recon.scene import Camera
from recon.scene.images import blurred_within, log_luminance
from recon.synth.body.subject import build_subject_without_hair, draw_recipe
from recon.synth.datasets.cameras import look_at
from recon.synth.datasets.samples import mean_landmarks
from recon.synth.hair.curves import surface_normals
from recon.synth.model.head_model import HeadModel, load_head_model
from recon.synth.model.identity import HeadShape
from recon.synth.parts import BEARD
from recon.synth.render.appearance import appearance_of
from recon.synth.render.passes import render_passes
from recon.synth.render.photograph import expose
from recon.synth.render.prepared import prepare

SIZE_PX, WIDTH_MM, DISTANCE_MM = 256, 230.0, 800.0
AZIMUTHS_DEG = (0.0, -45.0, 45.0)
AIM_MM = np.array([0.0, 10.0, 40.0])
EYE_DEPTH_MM, EYE_STEP = 5.0, 20
"""Points of the eyeballs lie within this depth of their front; every so many vertices is one."""
HIDDEN_MM = 3.0
"""A point further behind what a picture shows is hidden, unless that is a beard no thicker than `BEARD_MM`."""
BEARD_MM = 30.0


@dataclass(frozen=True)
class FacePoints:
    """Face points: vertices of the face and of both eyeballs that all heads of a model share.

    Attributes:
        skin: Vertices of the subdivided skin.
        eyes: Vertices of each subdivided eyeball.
    """

    skin: Int[np.ndarray, " skin"]
    eyes: tuple[Int[np.ndarray, " _"], Int[np.ndarray, " _"]]

    @classmethod
    def from_model(cls, model: HeadModel, spacing_mm: float = 4.0) -> "FacePoints":
        """Chooses points on the front of the face, about evenly spaced."""
        canonical = model.refinement.canonical
        face = np.zeros(len(canonical), dtype=bool)
        own = model.refinement.matrix.shape[0]
        face[:own] = model.refinement.matrix @ model.face_vertex > 0.5
        height, depth = canonical[:, 1], canonical[:, 2]
        candidates = np.flatnonzero(face & (depth > 35.0) & (height > -75.0) & (height < 95.0))
        order = np.random.default_rng(0).permutation(len(candidates))
        tree, free, kept = cKDTree(canonical[candidates]), np.ones(len(candidates), dtype=bool), []
        for number in order:
            if free[number]:
                kept.append(candidates[number])
                free[tree.query_ball_point(canonical[candidates[number]], spacing_mm)] = False
        eyes = []
        for side in (0, 1):
            front = (model.eye_refinement[side][1] @ model.eyes[side])[:, 2]
            eyes.append(np.flatnonzero(front > front.max() - EYE_DEPTH_MM)[::EYE_STEP])
        return cls(np.array(kept), (eyes[0], eyes[1]))

    def on(self, shape: HeadShape) -> Float[np.ndarray, "face_points 3"]:
        """Places of the points on a head, mm, the model's frame."""
        return self._gather(shape.skin, *shape.eyes)

    def normals(self, shape: HeadShape, model: HeadModel) -> Float[np.ndarray, "face_points 3"]:
        """Unit normals at the points of a head, the model's frame."""
        skin = surface_normals(shape.skin, model.refinement.faces)
        left, right = (surface_normals(shape.eyes[side], model.eye_refinement[side][0]) for side in (0, 1))
        return self._gather(skin, left, right)

    def _gather(
        self, skin: np.ndarray, left: np.ndarray, right: np.ndarray
    ) -> Float[np.ndarray, "face_points 3"]:
        return np.concatenate([skin[self.skin], left[self.eyes[0]], right[self.eyes[1]]])


def to_canonical(shape: HeadShape, model: HeadModel) -> Float[np.ndarray, "4 4"]:
    """Computes the similarity from a head's own frame to the canonical one, as for training samples."""
    return similarity(shape.landmarks68, mean_landmarks(model))


@dataclass(frozen=True)
class Portraits:
    """The brightness of the face points in portraits of one person.

    Attributes:
        normals: Unit normals at the face points, canonical frame.
        values: Logarithm of linear luminance for each portrait and blur.
        visible: Whether a portrait shows a face point.
    """

    normals: Float[np.ndarray, "face_points 3"]
    values: Float32[np.ndarray, "portraits blurs face_points"]
    visible: Bool[np.ndarray, "portraits face_points"]


def make_portraits(
    seed: int,
    split: str,
    face_points: FacePoints,
    blurs_mm: Sequence[float],
    *,
    model: HeadModel | None = None,
) -> Portraits:
    """Photographs a person without the hair of the head from three sides.

    Args:
        seed: Which person of the split.
        split: "train", "val" or "test".
        face_points: Points whose brightness is measured.
        blurs_mm: Standard deviations of the pictures' blur.
        model: Head model; by default the one of `load_head_model()`.
    """
    model = model or load_head_model()
    recipe = draw_recipe(seed, split=split, model=model)
    subject, shape = build_subject_without_hair(recipe, model=model)
    prepared = prepare(subject, appearance_of(recipe))
    points = face_points.on(shape)
    rng = np.random.default_rng(seed)
    values, visible = [], []
    for azimuth in AZIMUTHS_DEG:
        yaw, rise, roll = rng.normal(0.0, [8.0, 8.0, 2.0])
        pose = look_at(AIM_MM, azimuth + yaw, 2.0 + rise, DISTANCE_MM, roll)
        focal, middle = SIZE_PX * DISTANCE_MM / WIDTH_MM, SIZE_PX / 2
        intrinsics = np.array([[focal, 0.0, middle], [0.0, focal, middle], [0.0, 0.0, 1.0]])
        camera = Camera(intrinsics, pose, SIZE_PX, SIZE_PX)
        shown = render_passes(expose(prepared, camera), ("rgb", "depth", "labels"))
        own = (points - camera.centre) @ pose[:3, :3]
        pixels = (own @ intrinsics.T)[:, 1::-1] / own[:, 2:] - 0.5  # row, column
        before = own[:, 2] - map_coordinates(shown["depth"], pixels.T, order=0)
        in_beard = map_coordinates(shown["labels"], pixels.T, order=0) == BEARD
        visible.append((before > -HIDDEN_MM) & (before < np.where(in_beard, BEARD_MM, HIDDEN_MM)))
        picture, inside = log_luminance(shown["rgb"] / np.float32(255)), shown["depth"] > 0
        values.append(
            [
                map_coordinates(blurred_within(picture, inside, blur * SIZE_PX / WIDTH_MM), pixels.T, order=1)
                for blur in blurs_mm
            ]
        )
    turn = to_canonical(shape, model)[:3, :3]
    turn /= np.cbrt(np.linalg.det(turn))
    return Portraits(
        face_points.normals(shape, model) @ turn.T, np.array(values, np.float32), np.array(visible)
    )
