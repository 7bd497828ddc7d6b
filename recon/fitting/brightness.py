"""How bright photographs show points that all faces of a shape model have: what ties one photograph to a head.

Each point is known on every head as a linear function of its code, and so is its brightness, as far as the code tells
it: the chin of a bearded head is dark. How people of one code differ are a few components. All is learned from
portraits. Light is eliminated as between photographs. The idea is that of active appearance models, which know how
shape and appearance go together (Cootes, Edwards and Taylor, 2001), with spherical harmonics for the light.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from recon.fitting.shading import harmonics

LIGHT_SIGMA, SKIN_SIGMA = 1.0, 2.0
"""Standard deviations of coefficients of light on one photograph, and of the brightness of skin, as logarithms."""


@dataclass(frozen=True)
class BrightnessModel:
    """Points of the faces of a shape model, and how bright they are; logarithms of luminance without what light
    explains.

    Attributes:
        places: Of the mean head, canonical unit space.
        basis: How they move with the code.
        blurs: Standard deviations of the blur of each level, canonical unit, rising.
        mean: Brightness of the mean head at each level.
        components: How people of one code differ; standard normal numbers times these.
        by_code: What the code adds to those numbers.
        sigma: Standard deviation of what is left.
    """

    places: Float[Tensor, "face_points 3"]
    basis: Float[Tensor, "face_points 3 latent"]
    blurs: Float[Tensor, " levels"]
    mean: Float[Tensor, "levels face_points"]
    components: Float[Tensor, "levels face_points components"]
    by_code: Float[Tensor, "levels components latent"]
    sigma: Float[Tensor, "levels face_points"]

    def at(self, code: Float[Tensor, " latent"]) -> Float[Tensor, "face_points 3"]:
        """Where the points of a head are, canonical unit space."""
        return self.places + self.basis @ code

    def brightness(self, level: int, code: Float[Tensor, " latent"]) -> Float[Tensor, " face_points"]:
        """How bright a head of a code is expected to be, at a level of blur."""
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
        """By what photographs may differ from the mean, times standard normal numbers: light, skin, and components.

        Args:
            level: Of blur.
            face_points: Which of them a photograph shows.
            normals: Of the head there.
        """
        skin = torch.full((len(face_points), 1), SKIN_SIGMA, dtype=normals.dtype, device=normals.device)
        return torch.cat([LIGHT_SIGMA * harmonics(normals), skin, self.components[level, face_points]], dim=1)
