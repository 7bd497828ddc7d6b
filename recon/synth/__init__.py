"""Synthetic heads of people that never lived: shape, hair, clothes, skin, light, photographs, data sets."""
