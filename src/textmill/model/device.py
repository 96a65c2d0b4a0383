"""The device, and torch's settings for reproducible results."""

from __future__ import annotations

import os

import torch

from textmill.base.errors import UserError


def prepare_device(device: str, num_threads: int, seed: int) -> torch.device:
    """Choose the device and make torch deterministic: a fixed number of threads, deterministic kernels, seeded generators.

    device: cpu, cuda or auto.
    Raises UserError if device is cuda and torch finds no GPU.
    """
    chosen = choose_device(device)
    torch.set_num_threads(num_threads)
    torch.manual_seed(seed)
    return chosen


def choose_device(device: str) -> torch.device:
    """Choose the device and allow deterministic kernels only. See `prepare_device`."""
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("params.yaml: device is cuda, but torch finds no GPU. Use auto or cpu, or install the CUDA build of torch.")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts; without it cuBLAS is not deterministic
    is_cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    if is_cuda:
        torch.use_deterministic_algorithms(True)
    else:  # the same, without telling the compiler, which takes more than a second to import and is not used on a CPU
        torch.set_deterministic_debug_mode("error")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a debugging aid; takes 6 % of a small step
    return torch.device("cuda" if is_cuda else "cpu")
