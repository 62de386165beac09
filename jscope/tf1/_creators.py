"""Variable creators: what stands between the decision to create a variable and its creation.

They run where variables are created: in `init`, not in `apply`, and after all custom getters. To change a *value*
wherever it is read, use a custom getter.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from jscope.tf1._ambient import Ambient, current
from jscope.tf1._errors import ArgumentTypeError, NestingError
from jscope.tf1._variables import Variable


@contextlib.contextmanager
def variable_creator_scope(variable_creator: Callable[..., Any]) -> Iterator[None]:
    """Calls `variable_creator(next_creator, **kwargs)` for each variable that is created inside.

    >>> from jscope import tf1
    >>> def frozen(next_creator, **kwargs):
    ...     return next_creator(**{**kwargs, "trainable": False})
    >>> def model():
    ...     with tf1.variable_creator_scope(frozen):
    ...         tf1.get_variable("v", [1])
    >>> params, state = tf1.transform_with_state(model).init(jax.random.key(0))
    >>> list(params), list(state)
    ([], ['v'])

    Raises:
      NestingError: On exit, unless it is the innermost.
    """
    ambient = current("variable_creator_scope")
    ambient.watch.keep_out_of_caches()
    # In a tuple of its own: one creator may be entered twice, and identity says which entry is being left.
    creators, entry = ambient.creators, (variable_creator,)
    creators.append(entry)
    try:
        yield
    finally:
        if not creators or creators[-1] is not entry:
            raise NestingError("Exiting variable_creator_scope without proper nesting.")
        creators.pop()


def run_creators(ambient: Ambient, create: Callable[..., Variable], options: dict[str, Any]) -> Variable:
    """Runs the creators, innermost first, around `create(**options)`."""
    chain: Callable[..., Any] = create
    for (creator,) in ambient.creators:
        chain = _bind(creator, chain)
    variable = chain(**options)
    if not isinstance(variable, Variable):
        raise ArgumentTypeError(
            f"A variable creator returned {variable!r} for `{options['name']}`, which is not a variable.\n"
            "Creators run only in `init`, so `apply` could not return the same: return what `next_creator` returns, "
            "and use a `custom_getter` to replace values."
        )
    return variable


# A function, because a lambda in the loop would see the last creator of all.
def _bind(creator: Callable[..., Any], following: Callable[..., Any]) -> Callable[..., Any]:
    return lambda **options: creator(following, **options)
