"""The head model: reader of the packed public ICT-FaceKit Light model, cut down to what a closed mouth shows.

The packed file (`headrecon-get-head-model` makes it) holds a neutral head, 100 identity directions scaled
by their standard deviations, and 57 expression directions. This reader keeps the outer skin and the two
outer eyeballs, in millimetres, and knows the linear map that subdivides the skin once by Loop's scheme and
closes its four openings (mouth, two eyes, neck), so that every person drawn from the model shares one
topology.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Float32, Int64

from recon.errors import ConfigError
from recon.reading import read_arrays, reading
from recon.synth.model.subdivision import boundary_loops, loop_subdivision

ENVIRONMENT = "H3D_HEAD_MODEL"
CENTIMETRE_MM = 10.0
MOUTH_CAP_DEPTH_MM = 2.0
"""How far behind the lips a closed mouth is capped."""

H3DS_LANDMARKS = {
    "right_eye": 39,
    "left_eye": 42,
    "nose_tip": 30,
    "nose_base": 33,
    "right_lips": 48,
    "left_lips": 54,
}
"""The six landmarks of H3DS as indices into the 68 landmarks."""


def default_path() -> Path:
    """Returns where the packed model is looked for: `$H3D_HEAD_MODEL`, else the user's cache folder."""
    configured = os.environ.get(ENVIRONMENT)
    if configured:
        return Path(configured).expanduser()
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
    return cache / "headrecon" / "ict_facekit.npz"


@dataclass(frozen=True)
class Cap:
    """One opening of the subdivided skin and the vertex that closes it.

    Attributes:
        name: "mouth", "eye_left", "eye_right" or "neck".
        loop: Boundary vertices of the subdivided skin, in the order of the boundary edges.
        apex: Index of the closing vertex.
    """

    name: str
    loop: Int64[np.ndarray, " loop"]
    apex: int


@dataclass(frozen=True)
class HeadModel:
    """Skin and eyeballs of the linear head model, mm, +Y up, +Z out of the face, +X to the subject's left.

    Attributes:
        skin: Neutral skin vertices.
        skin_faces: Its triangles, open at mouth, eyes and neck.
        skin_identity: Displacement per unit of each identity weight; weights are N(0, 1).
        skin_expression: Displacement per unit of each expression weight; weights are in [0, 1].
        eyes: Neutral eyeball vertices, left and right.
        eye_faces: Their triangles, closed.
        eye_identity, eye_expression: As for the skin.
        gaze: Neutral centre of each iris.
        gaze_identity, gaze_expression: Its displacements.
        expression_names: Names of the expressions.
        landmarks: Vertex indices into `skin` of the 68 Multi-PIE landmarks.
        face_vertex: True where a skin vertex belongs to the face region (frontal face and ears) of the model.
        path: The file that it came from.
    """

    skin: Float[np.ndarray, "skin 3"]
    skin_faces: Int64[np.ndarray, "skin_faces 3"]
    skin_identity: Float32[np.ndarray, "identity skin 3"]
    skin_expression: Float32[np.ndarray, "expression skin 3"]
    eyes: tuple[np.ndarray, np.ndarray]
    eye_faces: tuple[np.ndarray, np.ndarray]
    eye_identity: tuple[np.ndarray, np.ndarray]
    eye_expression: tuple[np.ndarray, np.ndarray]
    gaze: tuple[np.ndarray, np.ndarray]
    gaze_identity: tuple[np.ndarray, np.ndarray]
    gaze_expression: tuple[np.ndarray, np.ndarray]
    expression_names: tuple[str, ...]
    landmarks: Int64[np.ndarray, "68"]
    face_vertex: np.ndarray
    path: Path

    @cached_property
    def refinement(self) -> "Refinement":
        """The subdivided, closed skin topology that all subjects share."""
        return _refine(self)

    @cached_property
    def eye_refinement(self) -> tuple[tuple[np.ndarray, sp.csr_matrix], ...]:
        """For the left and the right eyeball: faces and linear map of one Loop subdivision."""
        return tuple(loop_subdivision(f, len(v)) for f, v in zip(self.eye_faces, self.eyes, strict=True))

    def expression_weights(self, named: Mapping[str, float]) -> Float[np.ndarray, " expression"]:
        """Turns named expression weights into a vector.

        Raises:
            ConfigError: A name that the model does not have.
        """
        weights = np.zeros(len(self.expression_names))
        for name, value in named.items():
            if name not in self.expression_names:
                raise ConfigError(
                    f"expression {name!r} is not in {self.path}; it has {', '.join(self.expression_names)}"
                )
            weights[self.expression_names.index(name)] = value
        return weights


@dataclass(frozen=True)
class Refinement:
    """Subdivided skin: vertices = matrix @ coarse vertices, then one apex per cap.

    Attributes:
        matrix: Loop's linear map from coarse to fine vertices; the first coarse-many fine vertices are the
            moved coarse ones.
        faces: Closed fine triangles, outward; those of the caps last.
        caps: The four closed openings.
        cap_of_face: 0 for skin, else 1 + index into `caps`.
        canonical: Fine vertices of the neutral head, with apexes.
    """

    matrix: sp.csr_matrix
    faces: Int64[np.ndarray, "faces 3"]
    caps: tuple[Cap, ...]
    cap_of_face: Int64[np.ndarray, " faces"]
    canonical: Float[np.ndarray, "fine 3"]

    def apply(
        self,
        coarse: Float[np.ndarray, "skin 3"],
        eye_centres: Float[np.ndarray, "2 3"],
        mouth_depth_mm: float = MOUTH_CAP_DEPTH_MM,
    ) -> Float[np.ndarray, "fine 3"]:
        """Returns the fine closed skin of a coarse one.

        Args:
            coarse: Vertices of the skin.
            eye_centres: Centres of the left and the right eyeball, in the same frame.
            mouth_depth_mm: How far the cap of the mouth reaches behind the lips.
        """
        fine = np.empty((self.matrix.shape[0] + len(self.caps), 3))
        fine[: self.matrix.shape[0]] = self.matrix @ coarse
        for cap in self.caps:
            apex = fine[cap.loop].mean(axis=0)
            if cap.name == "mouth":
                apex[2] -= mouth_depth_mm
            elif cap.name == "eye_left":
                apex = eye_centres[0]
            elif cap.name == "eye_right":
                apex = eye_centres[1]
            fine[cap.apex] = apex
        return fine


def load_head_model(path: str | Path | None = None) -> HeadModel:
    """Reads the packed head model.

    Args:
        path: The npz file; by default `$H3D_HEAD_MODEL`, else `~/.cache/headrecon/ict_facekit.npz`.

    Raises:
        ConfigError: The file is missing or is not the packed model.
    """
    return _load(Path(path) if path is not None else default_path())


@lru_cache(maxsize=2)
def _load(path: Path) -> HeadModel:
    if not path.is_file():
        raise ConfigError(
            f"synthetic heads need the public ICT-FaceKit head model, and {path} does not exist; run "
            f"`headrecon-get-head-model`, or set {ENVIRONMENT} to a packed model"
        )
    with reading(path, ConfigError, "a packed head model", "make one with `headrecon-get-head-model`"):
        return _unpack(read_arrays(path), path)


def _unpack(packed: Mapping[str, np.ndarray], path: Path) -> HeadModel:
    regions = [str(name) for name in packed["region_names"]]
    materials = [str(name) for name in packed["material_names"]]
    vertices = packed["vertices"].astype(np.float64) * CENTIMETRE_MM
    faces = packed["faces"].astype(np.int64)
    identity = packed["identity_deltas"].astype(np.float32) * np.float32(CENTIMETRE_MM)
    expression = packed["expression_deltas"].astype(np.float32) * np.float32(CENTIMETRE_MM)
    region, material = packed["face_region"], packed["face_material"]

    skin = np.isin(region, [regions.index("face"), regions.index("head_neck")])
    skin_ids, skin_faces = _compact(faces[skin])
    renumber = np.full(len(vertices), -1, dtype=np.int64)
    renumber[skin_ids] = np.arange(len(skin_ids))

    shells, irises = [], []
    for side, word in (("L", "Left"), ("R", "Right")):
        ball = region == regions.index(f"eyeball_{side}")
        shells.append(_compact(faces[ball & (material == materials.index(f"M_Sclera{word}"))]))
        iris_ids = _compact(faces[ball & (material == materials.index(f"M_Iris{word}"))])[0]
        front = vertices[iris_ids, 2]
        irises.append(iris_ids[front > front.max() - 2.0])
    return HeadModel(
        skin=vertices[skin_ids],
        skin_faces=skin_faces,
        skin_identity=identity[:, skin_ids],
        skin_expression=expression[:, skin_ids],
        eyes=(vertices[shells[0][0]], vertices[shells[1][0]]),
        eye_faces=(shells[0][1], shells[1][1]),
        eye_identity=(identity[:, shells[0][0]], identity[:, shells[1][0]]),
        eye_expression=(expression[:, shells[0][0]], expression[:, shells[1][0]]),
        gaze=(vertices[irises[0]].mean(0), vertices[irises[1]].mean(0)),
        gaze_identity=(identity[:, irises[0]].mean(1), identity[:, irises[1]].mean(1)),
        gaze_expression=(expression[:, irises[0]].mean(1), expression[:, irises[1]].mean(1)),
        expression_names=tuple(str(name) for name in packed["expression_names"]),
        landmarks=renumber[packed["landmarks68"]],
        face_vertex=packed["vertex_region"][skin_ids] == regions.index("face"),
        path=path,
    )


def _compact(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the vertices that faces use, ascending, and the faces renumbered to them."""
    used, inverse = np.unique(faces, return_inverse=True)
    return used, inverse.reshape(faces.shape).astype(np.int64)


def _refine(model: HeadModel) -> Refinement:
    fine_faces, matrix = loop_subdivision(model.skin_faces, len(model.skin))
    fine = matrix @ model.skin
    caps: list[Cap] = []
    faces, owner = [fine_faces], [np.zeros(len(fine_faces), dtype=np.int64)]
    for loop in boundary_loops(fine_faces):
        centre = fine[loop].mean(axis=0)
        if centre[1] < fine[model.landmarks[8], 1]:
            name = "neck"
        elif centre[1] < fine[model.landmarks[33], 1]:
            name = "mouth"
        else:
            name = "eye_left" if centre[0] > 0 else "eye_right"
        cap = Cap(name, loop, matrix.shape[0] + len(caps))
        caps.append(cap)
        # a boundary edge runs i -> j in its face, so the closing face takes it j -> i
        following = np.roll(loop, -1)
        faces.append(np.stack([following, loop, np.full(len(loop), cap.apex)], axis=1))
        owner.append(np.full(len(loop), len(caps), dtype=np.int64))
    if sorted(cap.name for cap in caps) != ["eye_left", "eye_right", "mouth", "neck"]:
        raise ValueError(f"skin opens at {[cap.name for cap in caps]}, expected mouth, neck and two eyes")
    bare = Refinement(matrix, np.concatenate(faces), tuple(caps), np.concatenate(owner), np.empty((0, 3)))
    centres = np.stack([ball.mean(axis=0) for ball in model.eyes])
    return Refinement(bare.matrix, bare.faces, bare.caps, bare.cap_of_face, bare.apply(model.skin, centres))
