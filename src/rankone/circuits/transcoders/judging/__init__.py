"""Judging what stands in for MLPs: the ways of replacing them, what each costs, how alike dictionaries are."""
