"""The linear shape model: principal components of lattices of signed distances, compressed to ship."""
