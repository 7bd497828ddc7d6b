"""Triangle meshes, distances to them, their pictures and outlines, and the frames that heads stand in."""
