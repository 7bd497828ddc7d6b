"""What of a ground truth is seen from outside."""

import numpy as np
import pytest
import trimesh

from recon.evaluation.visible_truth import VisibleGroundTruth, visible_vertices
from tests.support import official_cases as cases


def ball_with_a_hidden_wall() -> tuple[trimesh.Trimesh, int]:
    """A ball of 50 mm, open at the top by a slit, about another of 20 mm; number of vertices of the first."""
    outer = trimesh.creation.icosphere(subdivisions=4, radius=50.0)
    centres = outer.triangles_center
    slit = (np.abs(centres[:, 0]) < 2.5) & (np.abs(centres[:, 1]) < 4.0) & (centres[:, 2] > 0)
    outer.update_faces(~slit)
    inner = trimesh.creation.icosphere(subdivisions=3, radius=20.0)
    return trimesh.util.concatenate([outer, inner]), len(outer.vertices)


@pytest.mark.slow
def test_the_outer_ball_is_seen_and_the_wall_behind_a_slit_is_not():
    mesh, outer = ball_with_a_hidden_wall()
    seen = visible_vertices(mesh)
    used = np.unique(mesh.faces)
    assert seen[used[used < outer]].all()
    assert not seen[outer:].any()


@pytest.mark.slow
def test_a_bowl_is_seen_inside_and_outside():
    bowl = trimesh.creation.icosphere(subdivisions=4, radius=50.0)
    bowl.update_faces(bowl.triangles_center[:, 2] < 10.0)
    assert visible_vertices(bowl)[np.unique(bowl.faces)].all()


@pytest.mark.slow
def test_regions_keep_the_order_of_what_is_seen_and_the_mesh_stays_whole():
    mesh, outer = ball_with_a_hidden_wall()
    truth = VisibleGroundTruth(
        cases.Truth(mesh, {"nose_tip": 0}, {"face": np.arange(len(mesh.vertices))[::-1]})
    )
    region = truth.region("face")
    assert truth.mesh() is mesh and truth.landmarks == {"nose_tip": 0}
    assert region.max() < outer and (np.diff(region) < 0).all()
    assert set(region) == set(np.unique(mesh.faces)[np.unique(mesh.faces) < outer])
