import pytest
import torch

from recon.rendering.pixels import sent


def test_what_is_there_already_is_not_copied():
    tensor = torch.ones(3)
    assert sent(tensor, torch.device("cpu")) is tensor


def test_other_devices_take_a_plain_copy():
    assert sent(torch.ones(3), torch.device("meta")).device.type == "meta"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_copy_to_a_gpu_waits_for_nothing():
    tensor = torch.arange(5)
    torch.cuda.set_sync_debug_mode("error")
    try:
        copy = sent(tensor, torch.device("cuda"))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(copy.cpu(), tensor)
