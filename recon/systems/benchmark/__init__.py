"""Comparisons of methods over subjects and numbers of views, each run in a process of its own."""
