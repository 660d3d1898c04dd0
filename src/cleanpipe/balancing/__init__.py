"""How often each group of documents is written, and what mixture to ask for."""
