"""Photographs of synthetic subjects: rasteriser, materials, light, sensor, passes."""
