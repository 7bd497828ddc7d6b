"""What shape priors are trained on: samples and scans of heads, lattices of their distances, batches of them."""
