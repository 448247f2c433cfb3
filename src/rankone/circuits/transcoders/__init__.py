"""Transcoders: sparse stand-ins for MLPs, trained and judged beside the parts of weights by one protocol."""
