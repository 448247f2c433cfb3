"""How values are checked beyond what pydantic does, and how a refusal is put into words."""
