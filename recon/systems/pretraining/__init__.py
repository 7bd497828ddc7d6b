"""Training of shape priors."""
