"""What every test shares: waiting threads that sleep instead of spinning, and no denormal numbers, as in a real run."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch

import torch

torch.set_flush_denormal(True)
