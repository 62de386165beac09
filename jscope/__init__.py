"""jscope: parameters for JAX, by name.

A model is a pure function of a *scope*. A scope is an immutable path prefix with inherited defaults, and a pytree
whose leaves are the variables under it; `transform` makes a pair `init, apply` of such a function.
"""

from typing import TYPE_CHECKING

from jscope._defaults import AUTO_REUSE as AUTO_REUSE
from jscope._defaults import OFF as OFF
from jscope._scope import Scope as Scope
from jscope._spec import VariableSpec as VariableSpec
from jscope._specs import Specs as Specs
from jscope._transform import apply as apply
from jscope._transform import at as at
from jscope._transform import init as init
from jscope._transform import named as named
from jscope._transform import specs as specs
from jscope._transform import transform as transform
from jscope._transform import transform_with_state as transform_with_state
from jscope.errors import JscopeError as JscopeError
from jscope.lift import commit as commit
from jscope.lift import cond as cond
from jscope.lift import custom_vjp as custom_vjp
from jscope.lift import fori_loop as fori_loop
from jscope.lift import grad as grad
from jscope.lift import jit as jit
from jscope.lift import jvp as jvp
from jscope.lift import layers as layers
from jscope.lift import map as map
from jscope.lift import pure as pure
from jscope.lift import remat as remat
from jscope.lift import scan as scan
from jscope.lift import shard_map as shard_map
from jscope.lift import switch as switch
from jscope.lift import value_and_grad as value_and_grad
from jscope.lift import vjp as vjp
from jscope.lift import vmap as vmap
from jscope.lift import while_loop as while_loop

if TYPE_CHECKING:  # Imported on first use, by `__getattr__`.
    from jscope import checkpoint as checkpoint
    from jscope import constraints as constraints
    from jscope import errors as errors
    from jscope import getters as getters
    from jscope import initializers as initializers
    from jscope import nn as nn
    from jscope import partitioners as partitioners
    from jscope import regularizers as regularizers
    from jscope import sharding as sharding
    from jscope import testing as testing
    from jscope import tf1 as tf1
    from jscope import tree as tree
    from jscope._summary import summary as summary
else:  # Hidden from type checkers, to which any name would be right otherwise.
    from jscope._util._lazy import __dir__ as __dir__
    from jscope._util._lazy import __getattr__ as __getattr__
