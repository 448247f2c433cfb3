"""Verbs of circuits: graphs of a prompt, and what parts do to each other over text."""
