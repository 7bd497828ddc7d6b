"""What a run leaves behind: mesh, pictures, diagnostics, warnings, metrics."""
