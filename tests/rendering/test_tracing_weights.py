import threading

import torch
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import weight_norm

from recon.rendering.tracing import remembered_weights


def test_weights_are_worked_out_once_within_and_anew_after():
    layer = weight_norm(torch.nn.Linear(2, 2))
    with remembered_weights():
        assert layer.weight is layer.weight
        before = layer.weight.detach().clone()
    with torch.no_grad():
        layer.parametrizations.weight.original0.mul_(2)
    torch.testing.assert_close(layer.weight, 2 * before)


def test_no_thread_loses_count():
    """Many threads enter and leave at once; a lost count would leave weights remembered."""
    begin = threading.Barrier(8)

    def often():
        begin.wait()
        for _ in range(2000):
            with remembered_weights():
                pass

    threads = [threading.Thread(target=often) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert parametrize._cache_enabled == 0


def test_an_error_within_ends_it():
    try:
        with remembered_weights():
            raise ValueError
    except ValueError:
        pass
    assert parametrize._cache_enabled == 0 and not parametrize._cache
