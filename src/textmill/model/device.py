"""Where and how exactly torch computes."""

from __future__ import annotations

import os

import torch

from textmill.base.errors import UserError


def prepare_device(device: str, num_threads: int, seed: int) -> torch.device:
    """Choose the device and make torch repeatable: fixed threads, deterministic kernels, seeded generators.

    device: cpu, cuda or auto. Raises UserError if cuda is asked for and there is none.
    """
    chosen = choose_device(device)
    torch.set_num_threads(num_threads)
    torch.manual_seed(seed)
    return chosen


def choose_device(device: str) -> torch.device:
    """The device that computes, with deterministic kernels alone. See `prepare_device`."""
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("params.yaml: device is cuda, but torch sees no GPU. Use auto or cpu, or install the CUDA build of torch.")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts; without it cuBLAS is not repeatable
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # for finding mistakes; 6 % of a small step
    is_cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if is_cuda else "cpu")
