"""What every test shares: waiting threads that sleep instead of spinning, as in a real run."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch

import pytest
import torch


@pytest.fixture(autouse=True)
def denormal_numbers_stay():
    """A run turns denormal numbers off for its process; other tests need them."""
    yield
    torch.set_flush_denormal(False)
