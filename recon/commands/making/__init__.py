"""Commands that make synthetic data: scenes, training samples, portraits."""
