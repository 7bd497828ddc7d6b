"""Beads, tunnels and hollows on analytic fields; numbers of handles by Euler's formula, written out here."""

import numpy as np
import pytest
import torch
import trimesh

from recon.geometry.signed_distance import MeshDistance
from recon.meshing import clean, extract, without_handles

RADIUS = 0.6


def sphere(x, radius=RADIUS, centre=(0.0, 0.0, 0.0)):
    return (x - x.new_tensor(centre)).norm(dim=1) - radius


def with_tunnel(x, radius=0.05):
    """A ball with a thin tunnel through it, near its side: 0.5 from the middle, about 0.66 long."""
    return torch.maximum(sphere(x), radius - torch.hypot(x[:, 0] - 0.5, x[:, 1]))


def with_bridge(x, radius=0.05):
    """Two halves of a ball, a slit between them, joined by a thick stem and a thin bridge."""
    slit = torch.maximum(sphere(x), 0.08 - x[:, 2].abs())
    stem = torch.maximum(torch.hypot(x[:, 0] + 0.2, x[:, 1]) - 0.25, x[:, 2].abs() - 0.2)
    bridge = torch.maximum(torch.hypot(x[:, 0] - 0.4, x[:, 1]) - radius, x[:, 2].abs() - 0.2)
    return torch.minimum(torch.minimum(slit, stem), bridge)


def torus(x):
    return torch.hypot(torch.hypot(x[:, 0], x[:, 1]) - 0.5, x[:, 2]) - 0.2


def handles(mesh):
    """Half of 2 - (V - E + F), of a mesh in one piece."""
    edges = np.unique(np.sort(mesh.edges, axis=1), axis=0)
    assert len(trimesh.graph.connected_component_labels(mesh.edges, len(mesh.vertices))) == len(mesh.vertices)
    return 1 - (len(mesh.vertices) - len(edges) + len(mesh.faces)) / 2


def closed(mesh):
    return mesh.is_watertight and mesh.is_winding_consistent and mesh.volume > 0


@pytest.mark.parametrize("field", [with_tunnel, with_bridge])
def test_a_thin_tunnel_is_plugged_and_a_thin_bridge_is_cut(field):
    mesh = clean(extract(field, resolution=64))
    assert handles(mesh) == 1
    mended = without_handles(mesh, 0.5)  # the loops are about 2 pi 0.05 = 0.31 long
    assert handles(mended) == 0 and closed(mended)
    moved = np.abs(MeshDistance(mesh.vertices, mesh.faces)(mended.vertices)) > 1e-9
    places = {with_tunnel: (0.5, 0.0), with_bridge: (0.4, 0.0)}
    away = np.linalg.norm(mended.vertices[moved, :2] - places[field], axis=1)
    assert 0 < moved.sum() < 500 and away.max() < 0.3  # the rest of the surface stays where it is
    assert np.abs(mended.volume / mesh.volume - 1) < 0.005


def test_handles_longer_than_allowed_stay():
    mesh = clean(extract(torus, resolution=48))
    for longest in (0.3, 1.0):  # the shortest loop of this torus is 2 pi 0.2 = 1.26 long
        kept = without_handles(mesh, longest)
        assert handles(kept) == 1
        np.testing.assert_array_equal(kept.vertices, mesh.vertices)
    assert handles(without_handles(mesh, 1.45)) == 0


def test_of_two_handles_the_small_one_goes():
    def field(x):
        return torch.maximum(torus(x), 0.04 - torch.hypot(x[:, 0] - 0.5, x[:, 1]))

    mesh = clean(extract(field, resolution=96))
    assert handles(mesh) == 2
    assert handles(without_handles(mesh, 0.5)) == 1


def test_a_narrow_finger_is_no_handle():
    def field(x):
        return torch.minimum(
            sphere(x), torch.maximum(torch.hypot(x[:, 1], x[:, 2]) - 0.05, (x[:, 0] - 0.45).abs() - 0.45)
        )

    mesh = clean(extract(field, resolution=64))
    mended = without_handles(mesh, 1.0)
    np.testing.assert_array_equal(mended.vertices, mesh.vertices)
    np.testing.assert_array_equal(mended.faces, mesh.faces)


def test_beads_and_hollows_go():
    def field(x):
        hollow = torch.maximum(sphere(x), -sphere(x, 0.2, (0.1, 0.0, 0.0)))
        return torch.minimum(hollow, sphere(x, 0.03, (0.65, 0.0, 0.0)))

    rough = extract(field, resolution=96)
    assert len(rough.split(only_watertight=False)) == 3
    mesh = without_handles(clean(rough), 0.5)
    assert handles(mesh) == 0 and closed(mesh)
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=2e-3)


def test_open_meshes_are_left_as_they_are():
    mesh = extract(torus, resolution=24)
    mesh = trimesh.Trimesh(mesh.vertices, mesh.faces[1:], process=False)
    np.testing.assert_array_equal(without_handles(mesh, 9.0).faces, mesh.faces)
