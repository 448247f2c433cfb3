"""What graphs are asked for and what is answered: requests, replies, and how far to trust them in a sentence."""
