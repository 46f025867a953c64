"""The door to causal language models: load, encode, score, generate, train."""
