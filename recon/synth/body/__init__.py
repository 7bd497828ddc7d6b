"""Bodies of synthetic subjects: recipes, parts, shoulders and clothes, and the watertight ground truth."""
