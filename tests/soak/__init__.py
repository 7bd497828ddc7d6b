"""Attacks on running commands: kills, signals and failing disks at chosen and at random moments.

`python -m tests.soak` (`make soak`) is the long form; `test_soak.py` runs a short one.
"""
