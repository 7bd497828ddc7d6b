"""Few-shot 3D head reconstruction: a few posed photographs with masks in, a full-head mesh in millimetres
out.

Follow the data: a photograph enters by `recon.scene.open`, becomes rays in `recon.rendering`, meets a field
of `recon.fields` under a prior of `recon.priors`, leaves as a loss (`recon.losses`) in `recon.systems`, comes
back as a mesh through `recon.meshing`, and is judged in `recon.evaluation`.

Conventions, everywhere in this package:

* Cameras are OpenCV cameras: x right, y down, z forward. A pose is named for what it does:
  `world_from_camera` is the 4x4 matrix that takes camera coordinates to world coordinates;
  `camera_from_world` is its inverse. Intrinsics are in pixels.
* The centre of the pixel in column u, row v is at (u + 0.5, v + 0.5). A reader states its format's convention
  and converts.
* World is millimetres, as the data set gives it. *Unit* space is the normalised sphere of radius 1 around the
  object: `scale_mat` is the 4x4 similarity that takes unit to world. A name says its unit where it is not
      obvious: `radius_mm`,
  `depth_unit`.
* A signed distance is negative inside.
* Colours are floats in [0, 1], sRGB, height x width x channel on the CPU side; networks use [-1, 1] inside.
* Shapes stand in jaxtyping annotations with shared axis names (`rays`, `points`, `h w`); the tests run with
  them checked.
* Every random draw comes from a generator seeded by (seed, step): a resumed run draws what an uninterrupted
  one would.
"""
