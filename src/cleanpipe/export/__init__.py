"""A published corpus as the token files that trainers read, and where each document stands."""
