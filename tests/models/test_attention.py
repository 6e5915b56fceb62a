from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from lavin_deploy.models.attention import grouped_query_attention

pytestmark = pytest.mark.unit


@settings(max_examples=25, deadline=None)
@given(
    kv_heads=st.integers(1, 3),
    group=st.integers(1, 4),
    queries=st.integers(1, 9),
    keys=st.integers(1, 9),
)
def test_equals_multi_head_attention_with_repeated_heads(
    kv_heads: int, group: int, queries: int, keys: int
) -> None:
    generator = torch.Generator().manual_seed(group + 10 * keys)
    q = torch.randn(2, kv_heads * group, queries, 12, generator=generator)
    k, v = torch.randn(2, 2, kv_heads, keys, 12, generator=generator)
    repeated = F.scaled_dot_product_attention(
        q, k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
    )
    torch.testing.assert_close(grouped_query_attention(q, k, v), repeated)
