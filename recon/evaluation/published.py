"""Published results of the authors of H3DS with their own evaluator (README of the h3ds package 0.4.0)."""

from dataclasses import dataclass

from recon.evaluation.official import PROTOCOL


@dataclass(frozen=True)
class PublishedRow:
    """One row of a published table.

    Attributes:
        method: Name.
        release: `config_v1` (23 scenes) or `config_v2` (59 scenes); numbers of the two must not be compared.
        scenes: Which of them the means are over. The rows of IDR and H3D-Net are older than the 13 scenes that
            SIRA++ added to v1; for SIRA++ on v1 the README does not say.
        protocol: How they were measured.
        errors_mm: Mean over those scenes: (face, head) for each number of views.
    """

    method: str
    release: str
    scenes: str
    protocol: str
    errors_mm: dict[int, tuple[float, float]]


_V1 = (3, 4, 8, 16, 32)
_V2 = (1, 3, 4, 6, 8, 16, 32)
_FACE_HEAD = [
    ("IDR", "config_v1", "10 scenes", _V1, (2.79, 1.88, 1.83, 1.31, 1.25), (14.58, 8.99, 8.34, 6.37, 5.71)),
    (
        "H3D-Net",
        "config_v1",
        "10 scenes",
        _V1,
        (1.33, 1.35, 1.18, 1.05, 1.03),
        (10.52, 7.71, 6.45, 5.36, 5.25),
    ),
    (
        "SIRA++",
        "config_v1",
        "scenes not stated",
        _V1,
        (1.13, 1.18, 1.15, 1.00, 0.99),
        (10.84, 8.07, 7.08, 6.34, 5.79),
    ),
    (
        "SIRA++",
        "config_v2",
        "59 scenes",
        _V2,
        (1.56, 1.18, 1.21, 1.05, 1.18, 1.08, 1.03),
        (13.66, 9.70, 6.09, 5.59, 5.28, 4.96, 4.71),
    ),
]

ROWS: tuple[PublishedRow, ...] = tuple(
    PublishedRow(
        method, release, scenes, PROTOCOL, {v: (f, h) for v, f, h in zip(views, face, head, strict=True)}
    )
    for method, release, scenes, views, face, head in _FACE_HEAD
)
