"""fp16, bf16, int8 and fp8 variants of a traced graph."""
