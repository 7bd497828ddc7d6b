import numpy as np
import pytest
import trimesh

from recon.errors import MeshError
from recon.geometry.tidy import drop_small_components, enclosed_volume, largest_component, taubin_smooth
from tests.support.head_model import ball


def test_components_by_volume():
    a, fa = ball(10)
    b, fb = ball(2, (30, 0, 0))
    hollow, fh = ball(5)
    vertices = np.concatenate([a, b, hollow])
    faces = np.concatenate([fa, fb + len(a), fh[:, ::-1] + len(a) + len(b)])
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    assert largest_component(mesh).volume == pytest.approx(enclosed_volume(a, fa))
    kept = drop_small_components(mesh, 10.0)  # both balls, not the hollow
    assert kept.volume == pytest.approx(enclosed_volume(a, fa) + enclosed_volume(b, fb))
    assert len(drop_small_components(mesh, 100.0).vertices) == len(a)
    with pytest.raises(MeshError, match="encloses more"):
        drop_small_components(mesh, 1e6)


def test_smoothing_takes_noise_and_keeps_size():
    vertices, faces = ball(20)
    noisy = vertices * (1 + np.random.default_rng(0).normal(0, 0.01, (len(vertices), 1)))
    smooth = taubin_smooth(noisy, faces, 5)
    spread = np.linalg.norm(smooth, axis=1).std()
    assert spread < 0.6 * np.linalg.norm(noisy, axis=1).std()
    assert enclosed_volume(smooth, faces) == pytest.approx(enclosed_volume(vertices, faces), rel=0.01)
