import pytest

from recon.errors import PriorError
from recon.priors import PCAPrior


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"residual": "sometimes"}, "true, false or auto, not 'sometimes'"),
        ({"residual_settings": {"amplitude": 1.0}}, "prior.residual_settings.*it knows amplitude_mm"),
        ({"solver": {"steps": 3}}, "prior.solver.*it knows photometric"),
    ],
)
def test_unknown_settings_are_named_before_work_starts(given, told):
    with pytest.raises(PriorError, match=told):
        PCAPrior("none.safetensors", sha256="0", **given)
