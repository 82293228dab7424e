"""Analysis: a step, a model or a gradient taken apart. Plain functions of tensors."""
