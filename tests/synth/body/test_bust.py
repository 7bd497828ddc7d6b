import numpy as np
import pytest

from recon.geometry.signed_distance import MeshDistance
from recon.synth.body.bust import GARMENTS, Bust, garment_mesh
from recon.synth.model.head_model import load_head_model
from tests.support.head_model import needs_model


@needs_model
@pytest.mark.parametrize("garment", GARMENTS)
def test_every_garment_is_closed_and_hugs_the_shoulders(garment):
    model = load_head_model()
    fine = model.refinement
    neck = next(cap for cap in fine.caps if cap.name == "neck")
    mesh = garment_mesh(Bust(garment=garment), fine.canonical, fine.faces, neck.loop)
    assert mesh.is_watertight and mesh.volume > 1e6
    assert 320 < mesh.extents[0] < 460
    # the open rim of the skin lies inside the garment
    rim = MeshDistance(np.asarray(mesh.vertices), np.asarray(mesh.faces))(fine.canonical[neck.loop])
    assert rim.max() < 0
