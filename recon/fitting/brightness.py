"""The brightness model: how bright photographs show face points, which all faces of a shape model have.

It lets a single photograph inform the code. The position of each point is a linear function of the code, and so is its
expected brightness: the chin of a bearded head is dark. Differences between people of one code are a few components.
All is learned from portraits. Light is eliminated as between photographs. The idea is that of active appearance models
(Cootes, Edwards and Taylor, 2001), with spherical harmonics for the light.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from recon.fitting.shading import harmonics

LIGHT_SIGMA, SKIN_SIGMA = 1.0, 2.0
"""Standard deviations of the coefficients of light on one photograph and of the brightness of skin, logarithms."""


@dataclass(frozen=True)
class BrightnessModel:
    """Positions and brightness of the face points of a shape model; brightness is the logarithm of luminance without
    what light explains.

    Attributes:
        places: Positions of the face points of the mean head, canonical unit space.
        basis: Derivative of the positions by the code.
        blurs: Standard deviations of the blur of each level, canonical unit, rising.
        mean: Brightness of the mean head at each level.
        components: Brightness by which people of one code differ, to be multiplied by standard normal numbers.
        by_code: Derivative of the means of those numbers by the code.
        sigma: Standard deviation of the brightness that remains.
    """

    places: Float[Tensor, "face_points 3"]
    basis: Float[Tensor, "face_points 3 latent"]
    blurs: Float[Tensor, " levels"]
    mean: Float[Tensor, "levels face_points"]
    components: Float[Tensor, "levels face_points components"]
    by_code: Float[Tensor, "levels components latent"]
    sigma: Float[Tensor, "levels face_points"]

    def face_points(self, code: Float[Tensor, " latent"]) -> Float[Tensor, "face_points 3"]:
        """Positions of the face points of a head, canonical unit space."""
        return self.places + self.basis @ code

    def brightness(self, level: int, code: Float[Tensor, " latent"]) -> Float[Tensor, " face_points"]:
        """Expected brightness of the head of a code at a level of blur."""
        return self.mean[level] + self.components[level] @ (self.by_code[level] @ code)

    def brightness_by_code(
        self, level: int, face_points: Int[Tensor, " shown"]
    ) -> Float[Tensor, "shown latent"]:
        """Derivative of the brightness of some face points by the code."""
        return self.components[level, face_points] @ self.by_code[level]

    def level(self, blur: float) -> int:
        """The level whose blur is the nearest by ratio to one in canonical units."""
        return int((self.blurs.log() - np.log(blur)).abs().argmin())

    def nuisance(
        self, level: int, face_points: Int[Tensor, " shown"], normals: Float[Tensor, "shown 3"]
    ) -> Float[Tensor, "shown columns"]:
        """Columns by which photographs differ from the expected brightness: light, skin and components, to be
        multiplied by standard normal numbers.

        Args:
            level: Level of blur.
            face_points: Numbers of the face points that a photograph shows.
            normals: Unit normals of the head there.
        """
        skin = torch.full((len(face_points), 1), SKIN_SIGMA, dtype=normals.dtype, device=normals.device)
        return torch.cat([LIGHT_SIGMA * harmonics(normals), skin, self.components[level, face_points]], dim=1)
