"""Shardings follow from specs, a mesh and rules, before there is any value.

How a variable is split is a function of its spec: its shape, the names of its axes, its path. So each value is made on
its own devices: `model.sharded(shardings).init(key, x)` never holds a whole copy of what is split. The same shardings
serve a jitted training step, the optimizer's state and the restoration of a checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import NamedSharding, PartitionSpec, Sharding

from jscope import _path
from jscope._specs import Specs
from jscope._types import Tree
from jscope._util import _text
from jscope.errors import InvalidArgumentError, StructureMismatchError
from jscope.sharding._rules import AnyMesh, Rules, ShardingError, as_tuple, axes_for, checked_rules, entry, memory_of


def shardings(specs: Tree, mesh: AnyMesh, rules: Rules) -> dict[str, Any]:
    """Returns a nested dict with a `jax.sharding.NamedSharding` for each variable.

    >>> mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    >>> def layer(scope):
    ...     w = scope.get_variable("w", (16, 64), axes=("embed", "mlp"))
    ...     return w, scope.get_variable("b", (64,))
    >>> rules = jscope.sharding.Rules({"embed": "data", "mlp": "model"})
    >>> found = shardings(jscope.specs(layer), mesh, rules)
    >>> found["w"].spec == jax.sharding.PartitionSpec("data", "model")
    True
    >>> found["b"].spec == jax.sharding.PartitionSpec(None)  # Its axis has no name: it stays whole.
    True

    Args:
      specs: The specs of a model, or of a part of it. Where `rules` go by path or by size, a nested dict of arrays or
        `jax.ShapeDtypeStruct`s will do.
      mesh: What `jax.make_mesh` returns, or a `jax.sharding.AbstractMesh`.
      rules: Which name goes where.

    Raises:
      ShardingError: The rules do not fit a variable or the mesh; see `Rules`.
      InvalidArgumentError: A leaf has no shape, or an argument is of the wrong kind.
    """
    checked_rules(rules).check(mesh)
    return _path.nested(
        (path, NamedSharding(mesh, _partition(path, spec, mesh, rules), memory_kind=memory_of(path, rules)))
        for path, spec in flat(specs)
    )


def shape_dtype(specs: Any, shardings: Any) -> Any:
    """Returns `jax.ShapeDtypeStruct`s with shardings: what restoring a checkpoint takes.

    >>> mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    >>> specs = jscope.specs(lambda scope: scope.get_variable("w", (16, 64)))
    >>> split = shardings(specs, mesh, jscope.sharding.fsdp())
    >>> shape_dtype(specs, split)["w"].sharding == split["w"]
    True

    Args:
      specs: The specs of a model, or a nested dict of arrays or `jax.ShapeDtypeStruct`s; or another pytree of these,
        such as the state of an optimizer.
      shardings: The same structure of shardings, or one sharding for all.

    Raises:
      StructureMismatchError: Two nested dicts differ in their names; the message lists all of these.
      InvalidArgumentError: Something among the shardings is not one, or a leaf has no shape.
    """
    if not isinstance(specs, Mapping):
        each = shardings if not isinstance(shardings, Sharding) else jax.tree.map(lambda _: shardings, specs)
        return jax.tree.map(lambda x, its: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=its), specs, each)
    leaves = dict(flat(specs))
    found = matched(leaves, shardings)
    structs = {path: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=found[path]) for path, x in leaves.items()}
    return _path.nested(structs.items())


def like(tree: Any, params: Any) -> Any:
    """Returns the shardings of an optimizer's state: what belongs to a param is split as the param is.

    >>> mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    >>> split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    >>> params = {"w": jax.device_put(jnp.zeros(16), split)}
    >>> state = {"momentum": {"w": jnp.zeros(16)}, "count": jnp.zeros(())}
    >>> found = like(state, params)
    >>> found["momentum"]["w"] == split, found["count"].is_fully_replicated
    (True, True)

    A leaf belongs to a param if its path in `tree` ends in the param's whole path and its shape is the param's, after
    any leading axes, which stay whole. So it does not matter how the optimizer wraps its state, or whether a mask
    leaves some params out. Every other leaf is replicated.

    Args:
      tree: Any pytree of arrays or `jax.ShapeDtypeStruct`s, such as `jax.eval_shape(optimizer.init, params)`.
      params: A pytree of arrays, or of structs that `shape_dtype` has given shardings.

    Raises:
      ShardingError: A param has no sharding.
    """
    known = {path: param for path, param in jax.tree_util.tree_leaves_with_path(params) if _has_sharding(path, param)}
    rest = _replicated(list(known.values()))

    def sharding_of(path: tuple[Any, ...], leaf: Any) -> Any:
        # The longest end of the path that is a param: `mu/a/w` is `a/w`, even where there is a param `w`.
        param = next((known[path[i:]] for i in range(len(path) + 1) if path[i:] in known), None)
        shape = jax.numpy.shape(leaf)
        if param is None or shape[len(shape) - len(param.shape) :] != param.shape:
            return rest
        # An optimizer may keep several values for each param, stacked in front of its axes.
        extra = len(shape) - len(param.shape)
        if not extra or not isinstance(param.sharding, NamedSharding):
            return param.sharding
        return param.sharding.update(spec=PartitionSpec(*(None,) * extra, *param.sharding.spec))

    return jax.tree_util.tree_map_with_path(sharding_of, tree)


def flat(tree: Tree) -> list[tuple[str, Any]]:
    """Returns the specs or arrays of a nested dict by path, after checking that each has a shape."""
    if not isinstance(tree, Mapping):
        raise InvalidArgumentError(f"Expected the specs of a model or a nested dict of arrays, not {tree!r}.")
    leaves = list(tree.flat().items() if isinstance(tree, Specs) else _path.items(tree))
    for path, leaf in leaves:
        if not hasattr(leaf, "shape"):
            raise InvalidArgumentError(f"`{path}` is {leaf!r}, which has no shape.")
    return leaves


def matched(leaves: Mapping[str, Any], shardings: Any) -> dict[str, Any]:
    """Returns the sharding of each variable by path, after checking that the names are the same."""
    if not isinstance(shardings, Mapping):
        return dict.fromkeys(leaves, shardings)
    found = dict(_path.items(shardings))
    missing, unexpected = ([n for n in a if n not in b] for a, b in ((leaves, found), (found, leaves)))
    lines = [f"  no sharding: `{name}`{_text.did_you_mean(name, unexpected)}" for name in missing]
    lines += [f"  no variable: `{name}`{_text.did_you_mean(name, missing)}" for name in unexpected]
    if lines:
        raise StructureMismatchError(
            "\n".join(["The shardings do not fit the variables:", *lines, "Make them from the same specs."])
        )
    for name, each in found.items():
        # None leaves the choice to JAX.
        if not (each is None or isinstance(each, Sharding)):
            raise InvalidArgumentError(f"The sharding of `{name}` is {each!r}, not a `jax.sharding.Sharding`.")
    return found


def _partition(path: str, spec: Any, mesh: AnyMesh, rules: Rules) -> PartitionSpec:
    shape, stack = tuple(spec.shape), tuple(axis.name for axis in getattr(spec, "stack", ()))
    site = getattr(spec, "site", "")
    what = f"variable `{path}`" + (f" (created at {site})" if site else "")
    axes = axes_for(path, rules, getattr(spec, "axes", None), len(shape), stack)
    split = rules.split(axes, mesh, shape, what)
    extra, used = as_tuple(rules.fsdp), {axis for axes in split for axis in axes}
    # A mesh axis can split an array only once.
    if extra and not used.intersection(extra) and math.prod(shape) >= rules.min_size:
        parts = math.prod(mesh.shape[axis] for axis in extra)
        # A scan takes slices of stacked axes, which are cheap only where they are whole.
        whole = [i for i in range(len(stack), len(shape)) if not split[i] and shape[i] % parts == 0]
        # Sorting keeps the order of equal sizes, so the first of the largest axes is taken.
        for i in sorted(whole, key=lambda i: -shape[i])[:1]:
            split[i] = extra
    return PartitionSpec(*map(entry, split))


def _has_sharding(path: tuple[Any, ...], param: Any) -> bool:
    if getattr(param, "sharding", None) is None:
        raise ShardingError(
            f"params{jax.tree_util.keystr(path)} has no sharding: its type is {type(param).__name__}.\n"
            "Pass params that are on their devices, or `jscope.sharding.shape_dtype(specs, shardings)`."
        )
    return True


def _replicated(params: list[Any]) -> Sharding | None:
    """Returns the sharding of what does not belong to a param: a copy on every device that has a part of one."""
    if not params:
        return None
    # Without a mesh, as on a single device, the sharding of one param is as good as that of another.
    mesh = next((p.sharding.mesh for p in params if isinstance(p.sharding, NamedSharding)), None)
    return params[0].sharding if mesh is None else NamedSharding(mesh, PartitionSpec())
