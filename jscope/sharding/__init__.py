"""A sharding says which device holds which part of a variable, and follows from the names of the variable's axes.

    axes in the model (or partitioners) --> specs --shardings(specs, mesh, rules)--> shardings --> init, jit, restore

Variables name their axes; `Rules` say to which axes of a mesh the names go; everything else is JAX's: `jit` over a
mesh, in one process or, after `jax.distributed.initialize`, in many. `fsdp()`, `tensor_parallel()` and
`tensor_parallel() | fsdp()` are rules for the usual cases.
"""

from jscope.sharding._constrain import Gathered as Gathered
from jscope.sharding._constrain import constrain as constrain
from jscope.sharding._constrain import out_sharding as out_sharding
from jscope.sharding._constrain import using as using
from jscope.sharding._memory import Memory as Memory
from jscope.sharding._memory import memory as memory
from jscope.sharding._rules import Rules as Rules
from jscope.sharding._rules import ShardingError as ShardingError
from jscope.sharding._rules import fsdp as fsdp
from jscope.sharding._rules import tensor_parallel as tensor_parallel
from jscope.sharding._shardings import like as like
from jscope.sharding._shardings import shape_dtype as shape_dtype
from jscope.sharding._shardings import shardings as shardings
from jscope.sharding._show import bytes_per_device as bytes_per_device
from jscope.sharding._show import picture as picture
from jscope.sharding._show import show as show
