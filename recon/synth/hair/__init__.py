"""Hair of synthetic subjects: styles, growth of strands, the closed surface about them, brows and lashes."""
