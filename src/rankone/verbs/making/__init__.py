"""Verbs that make models and decompositions."""
