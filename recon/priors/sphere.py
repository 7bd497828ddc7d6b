"""No prior: IDR's sphere."""

from collections.abc import Mapping

from recon.priors.prior import Evidence, Networks, Start


class SpherePrior:
    """The geometric initialisation of IDR: whatever the photographs show starts as a sphere."""

    def starts(self, networks: Networks, evidence: Evidence) -> Mapping[str, Start]:
        """Networks as the configuration makes them."""
        return {"sphere": Start(networks.sdf(), networks.colour())}
