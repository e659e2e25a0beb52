"""Files and arrays <-> tensors."""
