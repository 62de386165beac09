"""Conversions: one table that takes parameters from one naming and layout to another, and back.

A `Rule` (`_rule`) has two names with placeholders (`_names`) and a pattern of axes (`_axes`); `_bound` settles
what each placeholder means. A `Conversion` (`_conversion`) is some rules, and what only one side has (`_beside`).
`_toml` writes it down.

What a table makes of some arrays is planned before any is read (`_plan`, which finds everything that does not fit), and
read one region at a time (`_made`). So a conversion of a checkpoint is a `Reader` (`_reader`), and all that
reads checkpoints can read through it. `_traced` does the same to arrays in memory, under any transform of JAX.

What others build on:

- `Rule(ours, theirs, axes, where=, order=, tied=, optional=, dtype=, function=)` and `Conversion(rules, drop=,
  constants=, dropped=, added=, separators=, functions=)`, both frozen and equal by what they say;
  `Function(forward, inverse, shape)`, `Constant`.
- `conversion.inverse`, `first.then(second)`, `conversion.lossy`, `str(conversion)`, `to_toml()`, `from_toml(text)`.
- `conversion.check(specs, source)` raises the report; `conversion.plan(source, wanted)[-1]` has its lines and what is
  made (`problems`, `unmatched`, `made`), where both arguments are `{name: anything with shape and dtype}`.
- `conversion.arrays(flat)`: arrays in memory, by flat names; `conversion.specs(flat)`: their specs.
- `converted(reader, conversion, names, wanted)` in `_reader`: a checkpoint seen through a conversion.
"""
