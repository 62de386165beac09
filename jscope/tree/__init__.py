"""Nested dicts, seen as leaves by path.

A tree is a nested mapping with string keys: params, state, gradients, specs, a checkpoint. Anything that is not a
mapping is a leaf, be it an array, a `jax.ShapeDtypeStruct`, a list or None; and a tree is nothing but its leaves by
path. From that follows what all the functions here have in common:

- `{"a/b": x}` and `{"a": {"b": x}}` are the same tree, in flat and in nested form: every function takes either.
- An empty sub-dict has no leaves, so it does not count: results never contain one.
- Leaves are passed on as the same objects; trees are never changed, and results are new plain dicts.
"""

from jscope.tree._amounts import bytes as bytes
from jscope.tree._amounts import size as size
from jscope.tree._amounts import stats as stats
from jscope.tree._diff import Diff as Diff
from jscope.tree._layers import stack as stack
from jscope.tree._layers import unstack as unstack
from jscope.tree._names import Where as Where
from jscope.tree._names import convert as convert
from jscope.tree._names import diff as diff
from jscope.tree._names import filter as filter
from jscope.tree._names import flatten as flatten
from jscope.tree._names import items as items
from jscope.tree._names import leaves as leaves
from jscope.tree._names import map_with_path as map_with_path
from jscope.tree._names import merge as merge
from jscope.tree._names import names as names
from jscope.tree._names import partition as partition
from jscope.tree._names import rename as rename
from jscope.tree._names import unflatten as unflatten
