"""A request for a variable: the arguments of one `get_variable` call, filled in step by step.

The call has only what its caller gave it. The current scope adds its defaults, and the partitioner the axis that it
cuts. When the request reaches the place where variables are found or created, its name is full and nothing is left to
be inherited.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jscope.tf1._scopes import VariableScope
from jscope.tf1._sites import Site


@dataclass(slots=True, kw_only=True)
class VariableRequest:
    """What was asked for: the arguments of `get_variable`, and what was found out about them.

    Attributes:
      reuse: The reuse flag of the scope, or what a custom getter made of it.
      partitions: What the partitioner returned, if there is one.
      site: Where the variable was asked for, as `file:line`.
      reuse_site: What set the reuse flag, for messages.
    """

    name: Any
    shape: Any
    dtype: Any
    initializer: Any
    regularizer: Any
    reuse: Any = None
    trainable: Any
    collections: Any
    caching_device: Any
    partitioner: Any
    validate_shape: bool
    use_resource: bool | None
    constraint: Any
    synchronization: Any
    aggregation: Any
    partitions: Any = None
    site: str | Site
    reuse_site: str = ""

    def take_defaults(self, scope: VariableScope) -> None:
        """Takes from the scope what was not given."""
        self.reuse, self.reuse_site = scope.reuse, scope.reuse_site
        # One by one: this runs for every request, and `setattr` over a list of names is slower.
        if self.initializer is None:
            self.initializer = scope.initializer
        if self.regularizer is None:
            self.regularizer = scope.regularizer
        if self.caching_device is None:
            self.caching_device = scope.caching_device
        if self.partitioner is None:
            self.partitioner = scope.partitioner
        if self.dtype is None:
            self.dtype = scope.dtype
        if self.use_resource is None:
            self.use_resource = scope.use_resource
        if self.constraint is None:
            self.constraint = scope.constraint
