"""Which parts become nodes: by importance, by fitting it to the prompt, by size or name; and the masks that judge them."""
