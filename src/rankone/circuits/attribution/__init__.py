"""Edges between subcomponents on one prompt, by two rules, on the untouched model."""
