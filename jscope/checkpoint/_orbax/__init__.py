"""Orbax: the store of arrays that are sharded over processes, and of saves that go on while training does.

`_store` is all that knows the package of that name. `_sum` is the digest of an array that no process holds as a whole.
"""
