"""The SDF offset: a smooth change of the signed distances of a fitted head, for what its shape model cannot represent.

After the fit of code, pose and cameras the residuals are used once more, with derivatives by the signed distance at
the points that they depend on. The offset has a normal prior that makes it smooth over some millimetres, and shading
is eliminated as in the fit. It is kept only where residuals that were held out from it fall as well.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import sparse
from scipy.ndimage import binary_dilation, gaussian_filter
from scipy.sparse.linalg import LinearOperator, cg
from torch import Tensor

from recon.fields import FeatureGrid
from recon.fitting.comparisons import Comparison, Photographs, without_shading
from recon.fitting.instant import InstantFit
from recon.fitting.least_squares import geman_mcclure_cost, geman_mcclure_weight, mad_sigma
from recon.fitting.observations import Pinhole, SolverSettings, observe_views
from recon.fitting.pose import NECK_UNIT
from recon.fitting.shading import SHADING_SIGMA
from recon.fitting.shape_model import OffsetShape, Shape, lattice

LAYERS = 5
"""Number of values across the surface: those that points of it depend on, and their neighbours."""


@dataclass(frozen=True)
class NarrowBand:
    """The unknown values of a grid: a narrow band about points of a surface.

    Attributes:
        grid: The grid.
        nodes: Numbers of the unknown values in the grid.
        place: For every value of the grid its place among the unknowns, or −1.
    """

    grid: FeatureGrid
    nodes: Int[np.ndarray, " unknowns"]
    place: Int[np.ndarray, " values"]

    @classmethod
    def from_points(cls, grid: FeatureGrid, points: Float[Tensor, "points 3"]) -> "NarrowBand":
        """Takes the values that points of a surface depend on, and their neighbours."""
        inside = np.zeros(len(grid.values), bool)
        inside[grid.taps(points.float())[0].numpy().ravel()] = True
        inside = binary_dilation(inside.reshape(grid.shape)).ravel()
        nodes = np.flatnonzero(inside)
        place = np.full(len(inside), -1)
        place[nodes] = np.arange(len(nodes))
        return cls(grid, nodes, place)

    def rows(
        self, points: Float[Tensor, "rows 3"], factor: Float[Tensor, " rows"]
    ) -> Float[sparse.csr_matrix, "rows unknowns"]:
        """Derivative by the unknown values of the interpolated grid at points, times a factor for each point."""
        index, weight = self.grid.taps(points.float())
        column = self.place[index.numpy().ravel()]
        # Values outside the band are known to be 0.
        values = np.where(column >= 0, (weight * factor[:, None]).double().numpy().ravel(), 0.0)
        ends = np.arange(0, 27 * len(points) + 1, 27)
        shape = (len(points), len(self.nodes))
        return sparse.csr_matrix((values, np.maximum(column, 0), ends), shape)

    def precision(self, length: float, sigma: float) -> Float[sparse.csr_matrix, "unknowns unknowns"]:
        """Precision matrix c (1/ℓ² + L)² of a Matérn prior with correlation length ℓ along the surface, where L is the
        Laplacian of the lattice (Lindgren, Rue and Lindström, 2011, section 2).

        Args:
            length: ℓ in cells.
            sigma: Approximate standard deviation of the values; it determines c.
        """
        place = self.place.reshape(self.grid.shape)
        links = []
        for axis in range(3):
            along = np.moveaxis(place, axis, 0)
            pair = np.stack([along[:-1].ravel(), along[1:].ravel()])
            links.append(pair[:, (pair >= 0).all(0)])
        one, other = np.concatenate(links, axis=1)
        count = len(self.nodes)
        neighbour = sparse.csr_matrix((np.ones(len(one)), (one, other)), (count, count))
        neighbour = neighbour + neighbour.T
        degree = np.asarray(neighbour.sum(1)).ravel()
        root = sparse.diags(degree + length**-2) - neighbour
        return (root @ root) * (length**2 / (4 * np.pi * LAYERS * sigma**2))


PARTS = 5
"""One cell in this number is held out."""


def held_out(points: Float[Tensor, "points 3"], cell_unit: float) -> Bool[Tensor, " points"]:
    """Whether points are in cells of space that are held out: a fifth of all, spread evenly.

    Cells of space rather than blocks of pixels are held out, because a point that is held out in one photograph would
    still be fitted through the others.

    Args:
        points: Points, canonical unit space.
        cell_unit: Size of the cells.
    """
    cell = (points / cell_unit).floor().long()
    return (cell[:, 0] + 2 * cell[:, 1] + 3 * cell[:, 2]) % PARTS == 0


def gains(
    before: Sequence[Comparison], after: Sequence[Comparison], held: Sequence[Bool[Tensor, " _"]]
) -> tuple[Float[Tensor, "all 3"], Float[Tensor, " all"]]:
    """Points of the held-out residuals, and the decrease of their robust cost times their share.

    Args:
        before: Residuals of the head without the offset.
        after: Residuals of the head with the offset.
        held: Whether a residual is held out.
    """
    points, gain = [torch.zeros(0, 3)], [torch.zeros(0)]
    for old, new, out in zip(before, after, held, strict=True):
        if not out.any():
            continue
        left = [without_shading(rows, ~out)[out] for rows in (old, new)]
        level = max(old.floor, mad_sigma(left[0]))
        share = torch.minimum(old.share, new.share)[out]
        points.append(old.points[out].float())
        gain.append(
            (share * (geman_mcclure_cost(left[0] / level) - geman_mcclure_cost(left[1] / level))).float()
        )
    return torch.cat(points), torch.cat(gain)


def gate(
    points: Float[Tensor, "rows 3"],
    gain: Float[Tensor, " rows"],
    grid: FeatureGrid,
    cell_unit: float,
    radius_unit: float,
    certain: tuple[float, float],
) -> Float[np.ndarray, "x y z"]:
    """Factor from 0 to 1 for every value of a grid by which the offset is kept, from the held-out residuals near it.

    Gains within one cell are summed first, since they are not independent; then their mean over a neighbourhood is
    divided by its standard error under no gain.

    Args:
        points: Points of the held-out residuals, canonical unit space.
        gain: Decrease of their costs.
        grid: Grid of the offset.
        cell_unit: Size of the held-out cells.
        radius_unit: Standard deviation of the neighbourhood.
        certain: Standard errors of the gain at which the factor begins to rise, and at which it reaches 1.
    """
    sums, squares = np.zeros(grid.shape, np.float64), np.zeros(grid.shape, np.float64)
    if len(points):
        cells = (points / cell_unit).floor().long()
        _, cell, count = torch.unique(cells, dim=0, return_inverse=True, return_counts=True)
        total = torch.zeros(len(count)).index_add(0, cell, gain).double()
        middle = torch.zeros(len(count), 3).index_add(0, cell, points) / count[:, None]
        node = tuple((((middle - grid.low) / grid.cell).floor() + 1).long().T.numpy())
        np.add.at(sums, node, total.numpy())
        np.add.at(squares, node, total.square().numpy())
    sigma = radius_unit / float(grid.cell[0])
    # A Gaussian's square is a Gaussian narrower by √2, times a constant.
    narrow = gaussian_filter(squares, sigma / np.sqrt(2), mode="constant", truncate=5.0)
    error = np.sqrt(narrow * (4 * np.pi * sigma**2) ** -1.5)
    mean = gaussian_filter(sums, sigma, mode="constant", truncate=3.5)
    score = np.where(error > 0, mean / np.maximum(error, 1e-300), -np.inf)
    step = np.clip((score - certain[0]) / (certain[1] - certain[0]), 0.0, 1.0)
    result: np.ndarray = step * step * (3 - 2 * step)
    return result


LEAST_ROWS = 30
"""Smallest number of residuals of an outline or pair that is used."""


@dataclass(frozen=True)
class SDFOffsetSettings:
    """Settings of the SDF offset.

    Attributes:
        amplitude_mm: Prior standard deviation of the offset.
        length_mm: Correlation length of the offset along the surface.
        cell_mm: Size of the cells of its lattice.
        blurs_px: Standard deviations of the photographs' blur, one for each step, pixels of a picture 512 wide.
        pixels: Number of pixels of each photograph.
        held_out_mm: Size of the cells of space whose residuals are held out.
        judged_mm: Standard deviation of the neighbourhood over which held-out gains are averaged.
        certain: Standard errors of the gain at which the offset begins to be kept, and at which it is kept fully.
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
class SDFOffset:
    """A change of the signed distance of a head.

    Attributes:
        offset: Grid of the change, canonical unit; 0 where no photograph shows the surface.
        kept: Share of the squared offset that held-out residuals confirm.
        rms_mm: Root mean square over the surface that photographs show.
    """

    offset: FeatureGrid
    kept: float
    rms_mm: float


def fit_sdf_offset(
    head: Shape,
    fit: InstantFit,
    masks: Sequence[Bool[np.ndarray, "_ _"]],
    images: Sequence[Float[np.ndarray, "_ _ 3"]],
    unit_mm: float,
    settings: SDFOffsetSettings | None = None,
    solver: SolverSettings | None = None,
    *,
    ignored: Sequence[Bool[np.ndarray, "_ _"]] | None = None,
) -> SDFOffset:
    """Fits the SDF offset of a head to its photographs.

    Args:
        head: The head of the fit's code.
        fit: Pose and cameras of the head.
        masks: One for each camera.
        images: The photographs, sRGB in [0, 1].
        unit_mm: Radius of the shape model's canonical ball, mm.
        settings: Settings of the offset.
        solver: Settings of the solver.
        ignored: Pixels that are not valid, for each photograph.
    """
    settings = settings or SDFOffsetSettings()
    photographs = _photographs(fit, masks, images, unit_mm, settings, solver or SolverSettings(), ignored)
    grid, cell = lattice(settings.cell_mm / unit_mm), settings.held_out_mm / unit_mm
    covisible_pixels = photographs.covisible_pixels(head, NECK_UNIT)
    if not covisible_pixels or not sum(len(covisible.pixels) for covisible in covisible_pixels):
        return SDFOffset(grid, 0.0, 0.0)
    held = [held_out(covisible.points, cell) for covisible in covisible_pixels]
    surface = torch.cat([covisible.points for covisible in covisible_pixels])
    band = NarrowBand.from_points(grid, surface)
    prior = band.precision(settings.length_mm / settings.cell_mm, settings.amplitude_mm / unit_mm)
    last = settings.blurs_px[-1]
    before = photographs.compared(OffsetShape(head, grid), covisible_pixels, last)
    for blur in settings.blurs_px:
        rows = photographs.compared(OffsetShape(head, grid), covisible_pixels, blur)
        values = _solved(rows, held, band, prior)
        grid.values[torch.from_numpy(band.nodes), 0] = torch.from_numpy(values).float()
    after = photographs.compared(OffsetShape(head, grid), covisible_pixels, last)
    points, gain = gains(before, after, held)
    full = float(grid(surface.float()).square().sum())
    keep = gate(points, gain, grid, cell, settings.judged_mm / unit_mm, settings.certain)
    grid.values.copy_(grid.values * torch.from_numpy(keep).reshape(-1, 1).float())
    left = float(grid(surface.float()).square().sum())
    return SDFOffset(grid, left / max(full, 1e-30), (left / len(surface)) ** 0.5 * unit_mm)


def _photographs(
    fit: InstantFit,
    masks: Sequence[Bool[np.ndarray, "_ _"]],
    images: Sequence[Float[np.ndarray, "_ _ 3"]],
    unit_mm: float,
    settings: SDFOffsetSettings,
    solver: SolverSettings,
    ignored: Sequence[Bool[np.ndarray, "_ _"]] | None,
) -> Photographs:
    """Prepares the photographs and brings the cameras of the fit to canonical unit space."""
    solver = replace(solver, pixels=settings.pixels)
    views = observe_views(fit.cameras, masks, images, ignored, solver)
    pinholes = [Pinhole.from_camera(camera, fit.canonical_from_world) for camera in fit.cameras]
    return Photographs(views, pinholes, unit_mm, solver)


def _solved(
    rows: Sequence[Comparison], held: Sequence[Bool[Tensor, " _"]], band: NarrowBand, prior: sparse.csr_matrix
) -> Float[np.ndarray, " unknowns"]:
    """Solves for the values of the grid by least squares, with shading eliminated and held-out rows left out.

    Args:
        rows: Residuals against the head with the present values.
        held: Whether a residual is held out.
        band: The unknown values.
        prior: Precision matrix of the unknown values.
    """
    blocks, targets, shades = [], [], []
    for each, out in zip(rows, held, strict=True):
        used = ~out
        if used.sum() < LEAST_ROWS:
            continue
        left = without_shading(each, used)
        sigma = max(each.floor, mad_sigma(left[used]))
        root = ((each.share * geman_mcclure_weight(left / sigma)).sqrt() / sigma)[used]
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
    """Orthonormal basis of weighted shading with the rows of its prior appended, without those rows."""
    prior = torch.eye(shade.shape[1], dtype=shade.dtype) / SHADING_SIGMA
    basis, _ = torch.linalg.qr(torch.cat([shade, prior]))
    return basis[: len(shade)].double().numpy()


def _projection(shades: Sequence[Float[np.ndarray, "_ _"]]) -> Callable[[np.ndarray], np.ndarray]:
    """The symmetric projection that removes shading from stacked weighted rows, as `shading.marginalised` does."""
    ends = np.cumsum([len(shade) for shade in shades])

    def without(values: np.ndarray) -> np.ndarray:
        parts = np.split(values, ends[:-1])
        return np.concatenate([p - q @ (q.T @ p) for p, q in zip(parts, shades, strict=True)])

    return without
