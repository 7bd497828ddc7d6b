"""Signed distances of simple surfaces, and rays towards them."""

import torch


def unit_rays(count, seed=0):
    """Rays from a camera at distance 3 towards points near the origin."""
    generator = torch.Generator().manual_seed(seed)
    origins = torch.tensor([[0.3, -0.2, -3.0]], dtype=torch.float64).expand(count, 3)
    targets = (torch.rand(count, 3, generator=generator, dtype=torch.float64) - 0.5) * 2.4
    return origins, torch.nn.functional.normalize(targets - origins, dim=1)


def sphere(radius, scale=1.0):
    """The distance of a sphere about the origin, wrong by a factor if one is given."""
    return lambda points: scale * (points.norm(dim=1) - radius)


def sphere_depth(origins, directions, radius):
    """Depth at which rays meet that sphere, and whether they do."""
    b = (origins * directions).sum(1)
    inside = b * b - (origins * origins).sum(1) + radius * radius
    return -b - inside.clamp_min(0).sqrt(), inside > 0


def torus(points):
    """The distance of a torus about the z axis."""
    ring = torch.stack([points[:, :2].norm(dim=1) - 0.5, points[:, 2]], dim=1)
    return ring.norm(dim=1) - 0.2
