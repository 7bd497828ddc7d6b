"""Options of configurations: what they may be, what is built of them, and how stored ones are read."""
