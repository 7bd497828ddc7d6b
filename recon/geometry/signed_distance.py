"""Exact signed distance of a closed triangle mesh at arbitrary points.

The distance is a search through a tree of boxes over the triangles; the sign is the winding number along a ray in x,
found in a table of the triangles over the yz plane. For closest points, or for open meshes, see
`recon.geometry.surface.Surface`; for all samples of a grid, `recon.geometry.distance_grid` is faster.
"""

import numpy as np
from jaxtyping import Float, Int64

from recon.compiled import compiled
from recon.geometry.distance_kernels import edge, point_triangle_squared

_LEAF = 4
_COLUMNS = 256


class MeshDistance:
    """The signed distance function of one closed mesh, negative inside."""

    def __init__(self, vertices: Float[np.ndarray, "vertices 3"], faces: Int64[np.ndarray, "faces 3"]):
        """Builds the search tree.

        Args:
            vertices: Positions.
            faces: Closed outward triangles.
        """
        self._vertices = np.ascontiguousarray(vertices, dtype=np.float64)
        corners = self._vertices[faces]
        low, high = corners.min(axis=1), corners.max(axis=1)
        order, boxes = _build_tree(low, high)
        self._faces = np.ascontiguousarray(faces[order])
        self._boxes = boxes
        self._corners = np.ascontiguousarray(corners[order])
        normal = np.cross(
            self._corners[:, 1] - self._corners[:, 0], self._corners[:, 2] - self._corners[:, 0]
        )
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-300)
        height = np.einsum("ni,ni->n", normal, self._corners[:, 0])
        self._planes = np.column_stack([normal, height])
        self._low = self._vertices.min(axis=0)
        self._cell = float(np.ptp(self._vertices, axis=0)[1:].max()) / _COLUMNS * (1 + 1e-9)
        self._table = _columns(
            np.floor((low[order] - self._low) / self._cell).astype(np.int64),
            np.floor((high[order] - self._low) / self._cell).astype(np.int64),
            _COLUMNS,
        )

    def __call__(self, points: Float[np.ndarray, "points 3"]) -> Float[np.ndarray, " points"]:
        """Returns signed distances at points, in the unit of the vertices."""
        points = np.ascontiguousarray(points, dtype=np.float64)
        if len(points) == 0:
            return np.zeros(0)
        # neighbours one after the other, so that each answer bounds the next search
        order = np.argsort(_morton(points), kind="stable")
        distance = np.empty(len(points))
        distance[order] = _closest(points[order], self._corners, self._planes, self._boxes)
        # rays a hair's breadth aside: rounding would decide whether one through a vertex hits it
        rays = points + np.array([0.0, 3.14e-9, 2.72e-9]) * self._cell
        inside = _inside(rays, self._vertices, self._faces, *self._table, self._low, self._cell, _COLUMNS)
        return np.where(inside, -distance, distance)


def _build_tree(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Order of the triangles and the boxes of a complete binary tree over them.

    Triangles are sorted along a space-filling curve and cut into equal runs, one per leaf. Node n has
    children 2n + 1 and 2n + 2. Boxes have shape (nodes, 8): low corner, high corner, first triangle, one
    past the last.
    """
    count = len(low)
    leaves = 1 << max(int(np.ceil(np.log2(max(count / _LEAF, 1)))), 0)
    order = np.argsort(_morton((low + high) / 2), kind="stable")
    edges = np.arange(leaves + 1) * count // leaves
    boxes = np.empty((2 * leaves - 1, 8))
    _fill_boxes(boxes, edges, low[order], high[order])
    return order, boxes


def _morton(points: np.ndarray) -> np.ndarray:
    """Place of points along the Z-order curve of their bounding box, 10 bits an axis."""
    low = points.min(axis=0)
    span = np.maximum(np.ptp(points, axis=0).max(), 1e-12)
    cell = np.clip((points - low) / span * 1023.0, 0, 1023).astype(np.int64)
    code = np.zeros(len(points), dtype=np.int64)
    for bit in range(10):
        for axis in range(3):
            code |= ((cell[:, axis] >> bit) & 1) << (3 * bit + axis)
    return code


@compiled
def _fill_boxes(boxes: np.ndarray, edges: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
    """Fills the boxes of the leaves from their triangles, then those of the inner nodes from below."""
    leaves = len(edges) - 1
    for leaf in range(leaves):
        node = leaves - 1 + leaf
        boxes[node, :6] = np.inf
        boxes[node, 6], boxes[node, 7] = edges[leaf], edges[leaf + 1]
        for f in range(edges[leaf], edges[leaf + 1]):
            for axis in range(3):
                if f == edges[leaf]:
                    boxes[node, axis], boxes[node, axis + 3] = low[f, axis], high[f, axis]
                boxes[node, axis] = min(boxes[node, axis], low[f, axis])
                boxes[node, axis + 3] = max(boxes[node, axis + 3], high[f, axis])
    for node in range(leaves - 2, -1, -1):
        left, right = 2 * node + 1, 2 * node + 2
        boxes[node, 6], boxes[node, 7] = boxes[left, 6], boxes[right, 7]
        for axis in range(3):
            boxes[node, axis] = min(boxes[left, axis], boxes[right, axis])
            # an empty leaf has all its corners at infinity
            a, b = boxes[left, axis + 3], boxes[right, axis + 3]
            boxes[node, axis + 3] = b if a == np.inf else (a if b == np.inf else max(a, b))


@compiled
def _box_gap(point: np.ndarray, box: np.ndarray) -> float:
    """Squared distance of a point to a box."""
    total = 0.0
    for axis in range(3):
        gap = max(box[axis] - point[axis], point[axis] - box[axis + 3], 0.0)
        total += gap * gap
    return total


@compiled
def _closest(points: np.ndarray, corners: np.ndarray, planes: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    out = np.empty(len(points))
    stack = np.empty(128, dtype=np.int64)
    inner = len(boxes) // 2
    best = np.inf
    for n in range(len(points)):
        p = points[n]
        # the last answer plus the step from there bounds this one
        bound = np.inf
        if n > 0:
            q = points[n - 1]
            step = np.sqrt((p[0] - q[0]) ** 2 + (p[1] - q[1]) ** 2 + (p[2] - q[2]) ** 2)
            bound = (np.sqrt(best) + step) ** 2 * (1 + 1e-9) + 1e-18
        best = bound
        size = 1
        stack[0] = 0
        while size > 0:
            size -= 1
            node = stack[size]
            if _box_gap(p, boxes[node]) > best:
                continue
            if node < inner:
                left, right = 2 * node + 1, 2 * node + 2
                gap_left, gap_right = _box_gap(p, boxes[left]), _box_gap(p, boxes[right])
                near, far = left, right
                if gap_right < gap_left:
                    near, far = right, left
                stack[size] = far
                stack[size + 1] = near
                size += 2
                continue
            for f in range(int(boxes[node, 6]), int(boxes[node, 7])):
                # the distance to the plane is a lower bound
                h = planes[f, 0] * p[0] + planes[f, 1] * p[1] + planes[f, 2] * p[2] - planes[f, 3]
                if h * h * (1 - 1e-9) >= best:
                    continue
                d = point_triangle_squared(p, corners[f, 0], corners[f, 1], corners[f, 2])
                if d < best:
                    best = d
        out[n] = np.sqrt(best)
    return out


@compiled
def _columns(first: np.ndarray, last: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """For every cell of the yz table the triangles over it, as offsets and members."""
    offsets = np.zeros(count * count + 1, dtype=np.int64)
    for f in range(len(first)):
        for y in range(max(first[f, 1], 0), min(last[f, 1], count - 1) + 1):
            for z in range(max(first[f, 2], 0), min(last[f, 2], count - 1) + 1):
                offsets[y * count + z + 1] += 1
    for c in range(count * count):
        offsets[c + 1] += offsets[c]
    fill = offsets[:-1].copy()
    members = np.empty(offsets[-1], dtype=np.int64)
    for f in range(len(first)):
        for y in range(max(first[f, 1], 0), min(last[f, 1], count - 1) + 1):
            for z in range(max(first[f, 2], 0), min(last[f, 2], count - 1) + 1):
                members[fill[y * count + z]] = f
                fill[y * count + z] += 1
    return offsets, members


@compiled
def _inside(
    points: np.ndarray,
    vertices: np.ndarray,
    faces: np.ndarray,
    offsets: np.ndarray,
    members: np.ndarray,
    low: np.ndarray,
    cell: float,
    count: int,
) -> np.ndarray:
    out = np.zeros(len(points), dtype=np.bool_)
    for n in range(len(points)):
        p = points[n]
        y, z = int(np.floor((p[1] - low[1]) / cell)), int(np.floor((p[2] - low[2]) / cell))
        if y < 0 or z < 0 or y >= count or z >= count:
            continue
        winding = 0
        for m in range(offsets[y * count + z], offsets[y * count + z + 1]):
            i, j, k = faces[members[m], 0], faces[members[m], 1], faces[members[m], 2]
            wa, wb, wc = edge(vertices, j, k, p[1], p[2]), edge(vertices, k, i, p[1], p[2]), 0.0
            wc = edge(vertices, i, j, p[1], p[2])
            up = wa >= 0 and wb >= 0 and wc >= 0
            if not up and not (wa < 0 and wb < 0 and wc < 0):
                continue
            total = wa + wb + wc
            if total == 0.0:
                continue
            crossing = (wa * vertices[i, 0] + wb * vertices[j, 0] + wc * vertices[k, 0]) / total
            if crossing <= p[0]:
                winding += -1 if up else 1
        out[n] = winding > 0
    return out
