"""What every test shares: waiting threads that sleep instead of spinning, as in a real run, and no more threads than
cores where tests run side by side.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch
if side_by_side := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 0)):
    os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // side_by_side, 1)))

import pytest
import torch


@pytest.fixture(autouse=True)
def denormal_numbers_stay():
    """A run turns denormal numbers off for its process; other tests need them."""
    yield
    torch.set_flush_denormal(False)
