"""How far closed forms over second moments are held back; importable without PyTorch."""

from __future__ import annotations

# Of the second moment of other text; the least that is taken off target text (source: the audit of 2026-11).
CONTRAST = 0.5
# Ridge of an inverse second moment, in units of its mean eigenvalue.
RIDGE = 0.01
