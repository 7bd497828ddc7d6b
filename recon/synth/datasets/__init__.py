"""Data sets of synthetic subjects: scenes in the H3DS layout, training samples, portraits, faulty and relit scenes."""
