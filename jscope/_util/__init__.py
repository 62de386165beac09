"""Helpers that know nothing of scopes: texts, comparisons, compiled functions, late imports."""
