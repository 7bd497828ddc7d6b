"""What photographs show of a head beyond its family: a smooth change of its signed distances.

After the fit of the family's code, pose and cameras the residuals are used once more, now by the signed distance at
the points that they touch. The change has a normal prior that makes it smooth over some millimetres, and shading is
eliminated as in the fit. It is kept only where residuals that had no say in it fall as well.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, cg
from torch import Tensor

from recon.fields import FeatureGrid
from recon.fitting.agreement import gains, gate, held_out
from recon.fitting.band import Band
from recon.fitting.comparisons import Comparison, Photographs, unshaded
from recon.fitting.family import Member
from recon.fitting.head import NECK_UNIT
from recon.fitting.instant import InstantFit
from recon.fitting.pinhole import Pinhole
from recon.fitting.prepared import SolverSettings, prepared
from recon.fitting.raised import Raised, lattice
from recon.fitting.shading import SHADING_SIGMA
from recon.fitting.weights import robust, typical

LEAST_ROWS = 30


@dataclass(frozen=True)
class ResidualSettings:
    """What the residual may be.

    Attributes:
        amplitude_mm: Its standard deviation.
        length_mm: How far its values are alike.
        cell_mm: Of its lattice.
        blurs_px: Standard deviations of the photographs' blur, one for each step, pixels of a picture 512 wide.
        pixels: Of each photograph.
        held_out_mm: Size of the cells of space whose residuals judge it.
        judged_mm: Standard deviation of the neighbourhood that is judged together.
        certain: Standard errors of the gain from which it begins to be kept, and from which it is kept fully.
    """

    amplitude_mm: float = 1.5
    length_mm: float = 12.0
    cell_mm: float = 6.0
    blurs_px: Sequence[float] = (1.4, 0.7)
    pixels: int = 6000
    held_out_mm: float = 6.0
    judged_mm: float = 15.0
    certain: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True)
class Residual:
    """A change of a head's signed distance.

    Attributes:
        change: The change, canonical unit space; 0 where nothing is seen.
        kept: Share of its squares that held-out residuals agree with.
        typical_mm: Root of its mean square over the surface that is seen.
    """

    change: FeatureGrid
    kept: float
    typical_mm: float


def refined(
    head: Member,
    fit: InstantFit,
    masks: Sequence[Bool[np.ndarray, "_ _"]],
    images: Sequence[Float[np.ndarray, "_ _ 3"]],
    unit_mm: float,
    settings: ResidualSettings | None = None,
    solver: SolverSettings | None = None,
    *,
    ignored: Sequence[Bool[np.ndarray, "_ _"]] | None = None,
) -> Residual:
    """The change of a fitted head that its photographs ask for.

    Args:
        head: The family's head of the fit's code.
        fit: Its pose and cameras.
        masks: One for each camera.
        images: The photographs, sRGB in [0, 1].
        unit_mm: Radius of the family's canonical ball, mm.
        settings: What the change may be.
        solver: What is compared, and how much it counts.
        ignored: Pixels that say nothing, for each photograph.
    """
    settings = settings or ResidualSettings()
    photographs = _photographs(fit, masks, images, unit_mm, settings, solver or SolverSettings(), ignored)
    grid, cell = lattice(settings.cell_mm / unit_mm), settings.held_out_mm / unit_mm
    sights = photographs.sights(head, NECK_UNIT)
    if not sights or not sum(len(sight.pixels) for sight in sights):
        return Residual(grid, 0.0, 0.0)
    held = [held_out(sight.points, cell) for sight in sights]
    surface = torch.cat([sight.points for sight in sights])
    band = Band.about(grid, surface)
    prior = band.precision(settings.length_mm / settings.cell_mm, settings.amplitude_mm / unit_mm)
    last = settings.blurs_px[-1]
    before = photographs.compared(Raised(head, grid), sights, last)
    for blur in settings.blurs_px:
        rows = photographs.compared(Raised(head, grid), sights, blur)
        values = _solved(rows, held, band, prior)
        grid.values[torch.from_numpy(band.nodes), 0] = torch.from_numpy(values).float()
    after = photographs.compared(Raised(head, grid), sights, last)
    points, gain = gains(before, after, held)
    full = float(grid(surface.float()).square().sum())
    keep = gate(points, gain, grid, cell, settings.judged_mm / unit_mm, settings.certain)
    grid.values.copy_(grid.values * torch.from_numpy(keep).reshape(-1, 1).float())
    left = float(grid(surface.float()).square().sum())
    return Residual(grid, left / max(full, 1e-30), (left / len(surface)) ** 0.5 * unit_mm)


def _photographs(
    fit: InstantFit,
    masks: Sequence[Bool[np.ndarray, "_ _"]],
    images: Sequence[Float[np.ndarray, "_ _ 3"]],
    unit_mm: float,
    settings: ResidualSettings,
    solver: SolverSettings,
    ignored: Sequence[Bool[np.ndarray, "_ _"]] | None,
) -> Photographs:
    """The photographs, prepared, and the fit's cameras in canonical unit space."""
    solver = replace(solver, pixels=settings.pixels)
    views = prepared(fit.cameras, masks, images, ignored, solver)
    pinholes = [Pinhole.of(camera, fit.canonical_from_world) for camera in fit.cameras]
    return Photographs(views, pinholes, unit_mm, solver)


def _solved(
    rows: Sequence[Comparison], held: Sequence[Bool[Tensor, " _"]], band: Band, prior: sparse.csr_matrix
) -> Float[np.ndarray, " unknowns"]:
    """Values of the grid by least squares: shading eliminated, held-out rows left out.

    Args:
        rows: Residuals against the head with the present values.
        held: Which of them are held out.
        band: The unknown values.
        prior: Their inverse covariance.
    """
    blocks, targets, shades = [], [], []
    for each, out in zip(rows, held, strict=True):
        used = ~out
        if used.sum() < LEAST_ROWS:
            continue
        left = unshaded(each, used)
        sigma = max(each.floor, typical(left[used]))
        root = ((each.share * robust(left / sigma)).sqrt() / sigma)[used]
        now = band.grid(each.points[used].float())[:, 0]
        blocks.append(band.rows(each.points[used], each.by_field[used] * root))
        targets.append(((each.by_field[used] * now - each.residual[used]) * root).double().numpy())
        shades.append(_orthonormal(each.shade[used] * root[:, None]))
    start = band.grid.values[torch.from_numpy(band.nodes), 0].double().numpy()
    if not blocks:
        return start
    matrix, target = sparse.vstack(blocks).tocsr(), np.concatenate(targets)
    transposed, without = matrix.T.tocsr(), _projection(shades)
    size = (len(start), len(start))
    diagonal = np.asarray(matrix.multiply(matrix).sum(0)).ravel() + prior.diagonal()
    normal = LinearOperator(size, lambda x: transposed @ without(matrix @ x) + prior @ x)
    scaled = LinearOperator(size, lambda x: x / diagonal)
    found, _ = cg(normal, transposed @ without(target), x0=start, rtol=1e-3, maxiter=200, M=scaled)
    return found


def _orthonormal(shade: Float[Tensor, "rows shades"]) -> Float[np.ndarray, "rows shades"]:
    """Weighted shading with rows of its prior below, made orthonormal; the prior's rows are left out again."""
    prior = torch.eye(shade.shape[1], dtype=shade.dtype) / SHADING_SIGMA
    basis, _ = torch.linalg.qr(torch.cat([shade, prior]))
    return basis[: len(shade)].double().numpy()


def _projection(shades: Sequence[Float[np.ndarray, "_ _"]]) -> Callable[[np.ndarray], np.ndarray]:
    """Takes shading out of stacked weighted rows, as `shading.marginalised` does; symmetric."""
    ends = np.cumsum([len(shade) for shade in shades])

    def without(values: np.ndarray) -> np.ndarray:
        parts = np.split(values, ends[:-1])
        return np.concatenate([p - q @ (q.T @ p) for p, q in zip(parts, shades, strict=True)])

    return without
