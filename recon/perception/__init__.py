"""What networks see in one photograph."""
