"""Precision of training by what the machine computes fast."""

import pytest
import torch

from acuity.research.training import runtime


@pytest.mark.parametrize(("matrix_units", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_cpu_trains_in_half_precision_only_where_it_has_matrix_units(
    monkeypatch: pytest.MonkeyPatch, matrix_units: bool, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: matrix_units)
    with runtime.start("cpu").autocast():
        assert torch.nn.Linear(4, 4)(torch.ones(1, 4)).dtype == dtype
