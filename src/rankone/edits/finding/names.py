"""Where `find` looks for parts: its sources by name. Importable without PyTorch."""

from __future__ import annotations

from rankone.parts.origins import FROM_TEXT, FROM_WEIGHTS, SHARPENED

DECOMPOSITION = "decomposition"
# Of every site one direction, for parts that are found together (several.py).
CLOSED_FORM = "discriminant"
# SHARPENED: shortlisted parts of the raw basis and the decomposition with their read directions refitted (edits/sharpen.py).
FINDABLE = (*FROM_WEIGHTS, *FROM_TEXT, DECOMPOSITION, SHARPENED)
