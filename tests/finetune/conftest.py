"""What the fine-tuning tests share."""

import pytest
import torch


@pytest.fixture(scope="package", autouse=True)
def one_thread():
    """Tensors of a few hundred numbers are faster without threads, on a busy machine many times."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
