"""Helpers that know nothing of scopes: texts, comparisons, compiled functions, what is imported late."""
