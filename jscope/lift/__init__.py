"""Lifts: JAX transforms for functions of a scope that write state, sow, or create stacked variables.

Reading variables needs no lift: `jax.jit(block)(scope / "a", x)` works as it stands. Every lift is the same three
lines: make it pure, cross with the JAX transform of the same name, commit.
"""

from jscope.lift._compile import jit as jit
from jscope.lift._compile import remat as remat
from jscope.lift._compile import shard_map as shard_map
from jscope.lift._control import cond as cond
from jscope.lift._control import fori_loop as fori_loop
from jscope.lift._control import switch as switch
from jscope.lift._control import while_loop as while_loop
from jscope.lift._custom_vjp import custom_vjp as custom_vjp
from jscope.lift._grad import grad as grad
from jscope.lift._grad import jvp as jvp
from jscope.lift._grad import value_and_grad as value_and_grad
from jscope.lift._grad import vjp as vjp
from jscope.lift._pure import Effects as Effects
from jscope.lift._pure import commit as commit
from jscope.lift._pure import pure as pure
from jscope.lift._scan import layers as layers
from jscope.lift._scan import map as map
from jscope.lift._scan import scan as scan
from jscope.lift._vmap import vmap as vmap
