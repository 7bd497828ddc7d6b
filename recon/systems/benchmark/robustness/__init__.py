"""What faults of the input cost."""
