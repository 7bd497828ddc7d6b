"""Compiled loops of distances to meshes; positions and distances in grid steps unless said otherwise."""

import numpy as np

from recon.compiled import compiled


@compiled
def point_triangle_squared(p: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
    """Squared distance of a point and a triangle by the Voronoi regions of its features (Ericson 2005)."""
    abx, aby, abz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    acx, acy, acz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    apx, apy, apz = p[0] - a[0], p[1] - a[1], p[2] - a[2]
    d1 = abx * apx + aby * apy + abz * apz
    d2 = acx * apx + acy * apy + acz * apz
    if d1 <= 0.0 and d2 <= 0.0:
        return apx * apx + apy * apy + apz * apz
    bpx, bpy, bpz = p[0] - b[0], p[1] - b[1], p[2] - b[2]
    d3 = abx * bpx + aby * bpy + abz * bpz
    d4 = acx * bpx + acy * bpy + acz * bpz
    if d3 >= 0.0 and d4 <= d3:
        return bpx * bpx + bpy * bpy + bpz * bpz
    v, w = 0.0, 0.0
    vc = d1 * d4 - d3 * d2
    cpx, cpy, cpz = p[0] - c[0], p[1] - c[1], p[2] - c[2]
    d5 = abx * cpx + aby * cpy + abz * cpz
    d6 = acx * cpx + acy * cpy + acz * cpz
    vb = d5 * d2 - d1 * d6
    va = d3 * d6 - d5 * d4
    if vc <= 0.0 and d1 >= 0.0 and d3 <= 0.0:
        v = d1 / (d1 - d3)
    elif d6 >= 0.0 and d5 <= d6:
        return cpx * cpx + cpy * cpy + cpz * cpz
    elif vb <= 0.0 and d2 >= 0.0 and d6 <= 0.0:
        w = d2 / (d2 - d6)
    elif va <= 0.0 and d4 - d3 >= 0.0 and d5 - d6 >= 0.0:
        w = (d4 - d3) / ((d4 - d3) + (d5 - d6))
        v = 1.0 - w
    else:
        total = va + vb + vc
        if total <= 0.0:
            return min(apx * apx + apy * apy + apz * apz, bpx * bpx + bpy * bpy + bpz * bpz)
        v, w = vb / total, vc / total
    x, y, z = apx - v * abx - w * acx, apy - v * aby - w * acy, apz - v * abz - w * acz
    return x * x + y * y + z * z


@compiled
def splat_squared_distance(vertices: np.ndarray, faces: np.ndarray, field: np.ndarray, band: float) -> None:
    """Lowers field to the squared distance of every triangle, within the band, in grid steps."""
    nx, ny, nz = field.shape
    p = np.empty(3)
    for f in range(len(faces)):
        a, b, c = vertices[faces[f, 0]], vertices[faces[f, 1]], vertices[faces[f, 2]]
        x0 = max(int(np.ceil(min(a[0], b[0], c[0]) - band)), 0)
        x1 = min(int(np.floor(max(a[0], b[0], c[0]) + band)), nx - 1)
        y0 = max(int(np.ceil(min(a[1], b[1], c[1]) - band)), 0)
        y1 = min(int(np.floor(max(a[1], b[1], c[1]) + band)), ny - 1)
        z0 = max(int(np.ceil(min(a[2], b[2], c[2]) - band)), 0)
        z1 = min(int(np.floor(max(a[2], b[2], c[2]) + band)), nz - 1)
        # along z only samples near the triangle's plane can be in the band
        ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
        vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
        nnx, nny, nnz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        scale = nnx * nnx + nny * nny + nnz * nnz
        reach = band * np.sqrt(scale)
        steep = abs(nnz) > 1e-6 * np.sqrt(scale)
        for x in range(x0, x1 + 1):
            p[0] = x
            for y in range(y0, y1 + 1):
                p[1] = y
                base = (x - a[0]) * nnx + (y - a[1]) * nny - a[2] * nnz
                first, last = z0, z1
                if steep:
                    s, t = (-base - reach) / nnz, (-base + reach) / nnz
                    first = max(z0, int(np.ceil(min(s, t))))
                    last = min(z1, int(np.floor(max(s, t))))
                for z in range(first, last + 1):
                    height = base + z * nnz
                    if height * height >= field[x, y, z] * scale:
                        continue
                    p[2] = z
                    d = point_triangle_squared(p, a, b, c)
                    if d < field[x, y, z]:
                        field[x, y, z] = d


@compiled
def edge(vertices: np.ndarray, i: int, j: int, y: float, z: float) -> float:
    """Signed area of edge i -> j and a point in the yz plane; exactly antisymmetric in i and j, never zero.

    A point on an edge's line counts as moved infinitesimally along z, and along y by an even smaller amount, so
    that rays through edges and vertices cross each sheet of a closed mesh once.
    """
    if i < j:
        a, b, sign = vertices[i], vertices[j], 1.0
    else:
        a, b, sign = vertices[j], vertices[i], -1.0
    area = (b[1] - a[1]) * (z - a[2]) - (b[2] - a[2]) * (y - a[1])
    if area == 0.0:
        area = (b[1] - a[1]) * 1e-200
        if area == 0.0:
            area = -(b[2] - a[2]) * 1e-250
    return sign * area


@compiled
def count_crossings(
    vertices: np.ndarray, faces: np.ndarray, winding: np.ndarray, shift_y: float, shift_z: float
) -> None:
    """Winding number of every sample: signed crossings of the mesh along the ray towards -x."""
    nx, ny, nz = winding.shape
    for f in range(len(faces)):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        a, b, c = vertices[i], vertices[j], vertices[k]
        y0 = max(int(np.ceil(min(a[1], b[1], c[1]) - shift_y)), 0)
        y1 = min(int(np.floor(max(a[1], b[1], c[1]) - shift_y)), ny - 1)
        z0 = max(int(np.ceil(min(a[2], b[2], c[2]) - shift_z)), 0)
        z1 = min(int(np.floor(max(a[2], b[2], c[2]) - shift_z)), nz - 1)
        for y in range(y0, y1 + 1):
            for z in range(z0, z1 + 1):
                py, pz = y + shift_y, z + shift_z
                wa = edge(vertices, j, k, py, pz)
                wb = edge(vertices, k, i, py, pz)
                wc = edge(vertices, i, j, py, pz)
                up = wa >= 0 and wb >= 0 and wc >= 0
                down = wa < 0 and wb < 0 and wc < 0
                if not up and not down:
                    continue
                total = wa + wb + wc
                if total == 0.0:
                    continue
                crossing = (wa * a[0] + wb * b[0] + wc * c[0]) / total
                x = max(int(np.ceil(crossing)), 0)
                if x < nx:
                    # the outward normal's x component has the sign of `total`; entering goes against it
                    winding[x, y, z] += -1 if up else 1
    for x in range(1, nx):
        for y in range(ny):
            for z in range(nz):
                winding[x, y, z] += winding[x - 1, y, z]


@compiled
def apply_sign(field: np.ndarray, winding: np.ndarray, spacing: float) -> None:
    """Turns distances in grid steps into signed ones in mm, negative where the mesh wraps the sample."""
    nx, ny, nz = field.shape
    for x in range(nx):
        for y in range(ny):
            for z in range(nz):
                d = field[x, y, z] * spacing
                field[x, y, z] = -d if winding[x, y, z] > 0 else d


@compiled
def sweep_octants(field: np.ndarray, fixed: np.ndarray, limit: float) -> None:
    """Eight Gauss-Seidel sweeps of the Godunov upwind scheme, one per octant of directions (Zhao 2005)."""
    nx, ny, nz = field.shape
    for sweep in range(8):
        for s in range(nx):
            x = s if sweep & 1 == 0 else nx - 1 - s
            for t in range(ny):
                y = t if sweep & 2 == 0 else ny - 1 - t
                for u in range(nz):
                    z = u if sweep & 4 == 0 else nz - 1 - u
                    if fixed[x, y, z]:
                        continue
                    a = min(field[max(x - 1, 0), y, z], field[min(x + 1, nx - 1), y, z])
                    b = min(field[x, max(y - 1, 0), z], field[x, min(y + 1, ny - 1), z])
                    c = min(field[x, y, max(z - 1, 0)], field[x, y, min(z + 1, nz - 1)])
                    low = min(a, b, c)
                    if low >= limit:
                        continue
                    high = max(a, b, c)
                    middle = max(min(a, b), min(max(a, b), c))
                    d = low + 1.0
                    if d > middle:
                        d = (low + middle + np.sqrt(max(2.0 - (low - middle) ** 2, 0.0))) / 2
                        if d > high:
                            total = low + middle + high
                            squares = low * low + middle * middle + high * high
                            d = (total + np.sqrt(max(total * total - 3 * (squares - 1.0), 0.0))) / 3
                    if d < field[x, y, z]:
                        field[x, y, z] = d


@compiled
def trilinear(values: np.ndarray, local: np.ndarray) -> np.ndarray:
    """Interpolates grid values at positions in grid steps; outside, the nearest border value."""
    out = np.empty(len(local))
    nx, ny, nz = values.shape
    for n in range(len(local)):
        x = min(max(local[n, 0], 0.0), nx - 1.000001)
        y = min(max(local[n, 1], 0.0), ny - 1.000001)
        z = min(max(local[n, 2], 0.0), nz - 1.000001)
        i, j, k = int(x), int(y), int(z)
        u, v, w = x - i, y - j, z - k
        low = (values[i, j, k] * (1 - w) + values[i, j, k + 1] * w) * (1 - v)
        low += (values[i, j + 1, k] * (1 - w) + values[i, j + 1, k + 1] * w) * v
        high = (values[i + 1, j, k] * (1 - w) + values[i + 1, j, k + 1] * w) * (1 - v)
        high += (values[i + 1, j + 1, k] * (1 - w) + values[i + 1, j + 1, k + 1] * w) * v
        out[n] = low * (1 - u) + high * u
    return out
