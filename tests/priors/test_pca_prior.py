import pytest

from recon.errors import PriorError
from recon.priors import PCAPrior


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sdf_offset": "sometimes"}, "prior.sdf_offset is true, false or auto, not 'sometimes'"),
        ({"residual": "sometimes"}, "prior.residual is none or field, not 'sometimes'"),
        ({"sdf_offset_settings": {"amplitude": 1.0}}, "prior.sdf_offset_settings.*it knows amplitude_mm"),
        ({"solver": {"steps": 3}}, "prior.solver.*it knows photometric"),
    ],
)
def test_unknown_settings_are_named_before_work_starts(given, message):
    with pytest.raises(PriorError, match=message):
        PCAPrior("none.safetensors", sha256="0", **given)
