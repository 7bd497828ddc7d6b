import numpy as np

from recon.meshing.tables import CORNER_OFFSETS, EDGE_AXES, EDGE_CORNERS, FACE_CORNERS, triangle_table


def _directed_edges(case: int) -> list[tuple[int, int]]:
    triangles = triangle_table()[case]
    return [(int(t[i - 1]), int(t[i])) for t in triangles[triangles[:, 0] >= 0] for i in range(3)]


def test_one_corner_inside_gives_a_triangle_that_faces_away_from_it():
    triangles = triangle_table()[1]
    assert (triangles[:, 0] >= 0).sum() == 1
    middles = (CORNER_OFFSETS[EDGE_CORNERS[triangles[0]]].mean(axis=1)).astype(float)
    normal = np.cross(middles[1] - middles[0], middles[2] - middles[0])
    np.testing.assert_allclose(normal, [0.25, 0.25, 0.25])


def test_edges_run_along_their_axis():
    steps = CORNER_OFFSETS[EDGE_CORNERS[:, 1]] - CORNER_OFFSETS[EDGE_CORNERS[:, 0]]
    np.testing.assert_array_equal(steps, np.eye(3, dtype=int)[EDGE_AXES])


def test_every_case_uses_exactly_the_edges_whose_ends_differ():
    for case in range(256):
        crossed = {e for e, (a, b) in enumerate(EDGE_CORNERS) if (case >> a & 1) != (case >> b & 1)}
        assert {edge for pair in _directed_edges(case) for edge in pair} == crossed


def test_borders_lie_in_the_cells_faces_and_inner_edges_do_not():
    sides = [{e for e, ends in enumerate(EDGE_CORNERS) if set(ends) <= set(face)} for face in FACE_CORNERS]
    for case in range(256):
        edges = _directed_edges(case)
        assert len(set(edges)) == len(edges)
        for a, b in edges:
            in_face = any(a in side and b in side for side in sides)
            assert ((b, a) not in edges) == in_face, (case, a, b)


def test_neighbouring_cells_draw_the_same_line_on_their_common_face_in_opposite_directions():
    # the cell beyond +x sees this cell's corners 1, 3, 5, 7 as its own 0, 2, 4, 6; likewise for +y and +z
    for axis in range(3):
        upper = [c for c in range(8) if c >> axis & 1]
        lower = [c & ~(1 << axis) for c in upper]
        to_lower = {}
        for e, (a, b) in enumerate(EDGE_CORNERS):
            if a in upper and b in upper:
                pair = [a & ~(1 << axis), b & ~(1 << axis)]
                to_lower[e] = next(i for i, ends in enumerate(EDGE_CORNERS) if list(ends) == pair)
        for bits in range(16):
            this = sum(1 << c for i, c in enumerate(upper) if bits >> i & 1)
            that = sum(1 << c for i, c in enumerate(lower) if bits >> i & 1)
            mine = {
                (to_lower[a], to_lower[b])
                for a, b in _directed_edges(this)
                if a in to_lower and b in to_lower
            }
            below = set(to_lower.values())
            theirs = {(b, a) for a, b in _directed_edges(that) if a in below and b in below}
            assert mine == theirs


def test_the_complement_of_an_unambiguous_case_is_the_same_surface_turned_round():
    # a half space: corners 0..3 (z = 0) inside against corners 4..7 inside
    mine = {tuple(sorted(pair)) for pair in _directed_edges(0b00001111)}
    theirs = {tuple(sorted(pair)) for pair in _directed_edges(0b11110000)}
    assert {p for p in mine if p in theirs} >= {(8, 9), (8, 10), (9, 11), (10, 11)}
