"""Does it fit? What each device holds follows from specs, rules and a mesh, before there is any device.

    specs, mesh, rules, optimizer --shapes--> bytes of params, state, optimizer, gradients
    summary --what is kept, and how it is split--> bytes of activations

Everything is computed on shapes, so a model for thousands of devices is planned on a laptop.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import jax

from jscope import _path
from jscope._spec import VariableSpec
from jscope._specs import Specs
from jscope._summary import Summary
from jscope._summary._trace import Traced
from jscope._summary._units import short_bytes
from jscope._util import _plain
from jscope.errors import InvalidArgumentError
from jscope.sharding._rules import AnyMesh, Rules, as_tuple, checked_rules
from jscope.sharding._shardings import like, shape_dtype, shardings
from jscope.sharding._spread import Spread
from jscope.tree import _diff

_MUCH = 0.05
"""What takes less of a device than this is not worth advice."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What one device holds while a model trains, in bytes.

    >>> specs = jscope.specs(lambda scope: scope.get_variable("w", (4, 8), axes=("embed", "mlp")))
    >>> mesh = jax.sharding.AbstractMesh((1, 2), ("data", "model"))
    >>> found = jscope.sharding.memory(specs, mesh, jscope.sharding.tensor_parallel())
    >>> found.params, found.gradients, found.devices
    (64, 64, 2)

    Attributes:
      params: Its part of the params.
      state: Its part of the state.
      optimizer: Its part of the optimizer's state.
      gradients: Its part of the gradients.
      activations: Its part of what is kept for the gradient.
      batch: Its part of the inputs.
      host: What of all these is in the memory of the host instead.
      rules: For each rule, how many more bytes of params, state, optimizer and gradients there were without it.
      advice: What takes much, and what could be done about it.
      devices: The number of devices.
    """

    params: int
    state: int
    optimizer: int
    gradients: int
    activations: int
    batch: int
    host: int
    rules: dict[str, int]
    advice: tuple[str, ...]
    devices: int

    @property
    def total(self) -> int:
        """What one device holds in its own memory."""
        return sum(getattr(self, part) for part in _PARTS) - self.host

    def __str__(self) -> str:
        whole = max(self.total + self.host, 1)
        rows = [(part, short_bytes(size := getattr(self, part)), f"{size / whole:.1%}") for part in _PARTS]
        if self.host:
            rows.append(("on the host", f"-{short_bytes(self.host)}", ""))
        rows.append(("total", short_bytes(self.total), ""))
        lines = _plain.aligned([("on each device", "bytes", "share"), *rows], right=True)
        lines += [f"Without the rule {rule}: {short_bytes(more)} more." for rule, more in self.rules.items()]
        return "\n".join([*lines, *self.advice])


_PARTS = ("params", "state", "optimizer", "gradients", "activations", "batch")


def memory(
    specs: Specs,
    mesh: AnyMesh,
    rules: Rules,
    *,
    optimizer: Any = None,
    summary: Summary | None = None,
    batch: Any = (),
) -> Memory:
    """Returns what each device of a mesh holds while a model trains.

    >>> mesh = jax.sharding.AbstractMesh((64, 8), ("data", "model"))
    >>> def layer(scope, x):
    ...     return jscope.nn.dense(scope / "wide", x, 65536, axes=("embed", "mlp"))
    >>> x = jax.ShapeDtypeStruct((512, 4096), "float32")
    >>> rules = jscope.sharding.tensor_parallel() | jscope.sharding.fsdp()
    >>> found = memory(jscope.specs(layer, x), mesh, rules, batch=x)
    >>> found.params, found.gradients, found.batch
    (2129920, 2129920, 131072)

    Args:
      specs: The specs of a model.
      mesh: A mesh, or a `jax.sharding.AbstractMesh`: there need not be any devices.
      rules: Which name goes where, and what is kept in the memory of the host.
      optimizer: What has `init(params)`, such as an optimizer of optax; or None.
      summary: What `jscope.summary` returned for the model and the whole batch, for the activations. How they are split
        follows from how the batch and the variables are, and from `constrain` and `Gathered` in the model if the
        summary was made where the mesh and the rules are ambient. Where a mesh axis could split two axes of an array,
        the batch comes first; a compiler that is not told so may choose otherwise, and keep more.
      batch: The inputs, a pytree of arrays or `jax.ShapeDtypeStruct`s with leading axes of the batch. Arguments of the
        model whose first axis is as long as one of these are split as a batch is; without any, all are.

    Raises:
      ShardingError: The rules do not fit a variable or the mesh.
      InvalidArgumentError: An argument is of the wrong kind, or the summary was made with another batch.
    """
    checked_rules(rules).check(mesh)
    if not isinstance(specs, Specs):
        raise InvalidArgumentError(f"memory needs the specs of a model, `model.specs(*inputs)`, not {specs!r}.")
    if optimizer is not None and not hasattr(optimizer, "init"):
        raise InvalidArgumentError(f"memory: the optimizer must have `init(params)`; {optimizer!r} has not.")
    if not (summary is None or isinstance(summary, Summary)):
        raise InvalidArgumentError(
            f"memory: summary={summary!r} must be what `jscope.summary(model, *inputs)` returned."
        )
    plan = _Plan(specs, mesh, optimizer)
    parts, host = plan.parts(rules)
    copies = math.prod(mesh.shape[axis] for axis in _batch_axes(rules))
    inputs = -(-_inputs(batch) // copies)
    programs = None if summary is None else _programs(summary)
    kept = 0 if programs is None else _kept(programs, mesh, rules, batch)
    whole = Memory(*parts, kept, inputs, host, {}, (), mesh.size)
    # Of all that a rule moves: with a param, its gradient and what the optimizer keeps beside it.
    without = {str(name): sum(plan.parts(other)[0]) - sum(parts) for name, other in _without(rules)}
    advice = tuple(_advice(plan, rules, whole, copies == 1))
    if programs is not None and programs.refusal is not None:
        advice += (f"No activations are counted, since JAX has no gradient of this model ({programs.refusal}).",)
    return replace(whole, rules={name: more for name, more in without.items() if more > 0}, advice=advice)


@dataclass(frozen=True, slots=True)
class _Plan:
    """A model and its optimizer on a mesh, for any rules."""

    specs: Specs
    mesh: AnyMesh
    optimizer: Any

    def parts(self, rules: Rules) -> tuple[tuple[int, int, int, int], int]:
        """Returns the bytes on one device of params, state, optimizer and gradients, and how many are on its host."""
        kinds = [self._placed(specs, rules) for specs in (self.specs.params, self.specs.state)]
        held = jax.eval_shape(self.optimizer.init, kinds[0]) if self.optimizer is not None else ()
        placed = [*kinds, shape_dtype(held, like(held, kinds[0])) if kinds[0] else ()]
        leaves = [jax.tree.leaves(kind) for kind in placed]
        params, state, optimizer = (sum(map(_bytes, each)) for each in leaves)
        host = sum(_bytes(leaf) for each in leaves for leaf in each if leaf.sharding.memory_kind == "pinned_host")
        # Gradients are made on the devices, wherever the params are kept.
        return (params, state, optimizer, params), host

    def _placed(self, specs: Specs, rules: Rules) -> dict[str, Any]:
        return shape_dtype(specs, shardings(specs, self.mesh, rules))

    def whole(self, rules: Rules) -> Iterator[tuple[VariableSpec, int, str]]:
        """Yields the variables that could be split more, with their bytes on one device, and how."""
        for path, spec in self.specs.flat().items():
            sharding = shardings(Specs({path: spec}), self.mesh, rules)
            (leaf,) = jax.tree.leaves(shape_dtype(Specs({path: spec}), sharding))
            split = [as_tuple(axes) for axes in (*leaf.sharding.spec, *[None] * len(spec.shape))][: len(spec.shape)]
            free = [axis for axis, size in self.mesh.shape.items() if size > 1 and axis not in sum(split, ())]
            # The largest axis is likely to give the most, and one piece of advice for each variable is enough.
            for i in sorted(range(len(spec.stack), len(spec.shape)), key=lambda i: -spec.shape[i]):
                fits = [axis for axis in free if not split[i] and spec.shape[i] % self.mesh.shape[axis] == 0]
                if fits:
                    name = spec.axes[i] if spec.axes else None
                    yield (
                        spec,
                        _bytes(leaf),
                        f"axis {i} ({name or 'without a name'}, {spec.shape[i]:,}) fits `{fits[0]}`",
                    )
                    break


def _inputs(batch: Any) -> int:
    """Returns the bytes of a whole batch, after checking that it is one."""
    # Any pytree: a batch is often a dict, or a tuple of inputs and labels.
    leaves = jax.tree.leaves(batch)
    if bad := [each for each in leaves if not _diff.has_type(each)]:
        raise InvalidArgumentError(f"memory: a batch is arrays, or `jax.ShapeDtypeStruct`s; {bad[0]!r} is neither.")
    return sum(math.prod(each.shape) * each.dtype.itemsize for each in leaves)


def _bytes(struct: Any) -> int:
    return math.prod(struct.sharding.shard_shape(struct.shape)) * struct.dtype.itemsize


def _programs(summary: Summary) -> Traced:
    if summary.programs is None:
        raise InvalidArgumentError(
            "memory: this summary was pickled or copied, and its programs are left behind. Make it again here: "
            "`jscope.summary(model, *inputs)`."
        )
    return summary.programs


def _kept(programs: Traced, mesh: AnyMesh, rules: Rules, batch: Any) -> int:
    """Returns the bytes that one device keeps for the gradient."""
    if programs.gradient is None:
        return 0
    sizes = {each.shape[0] for each in jax.tree.leaves(batch) if each.shape}
    places, split = dict(_path.items(shardings(programs.specs, mesh, rules))), (_batch_axes(rules),)
    variables = {i: places[path].spec for i, path in enumerate(programs.variables)}
    inputs = enumerate(programs.forward.in_avals)
    lengths = {i: aval.shape[0] for i, aval in inputs if i not in variables and aval.shape}
    if sizes and lengths and not sizes & {*lengths.values()}:
        raise InvalidArgumentError(
            f"memory: the first axes of the batch are {sorted(sizes)} long, and those of what the summary was made "
            f"with {sorted({*lengths.values()})}. Give both the whole batch."
        )
    batches = {i: split for i, length in lengths.items() if not sizes or length in sizes}
    spread = Spread(programs.gradient, mesh, batches, variables)
    return sum(map(spread.nbytes, programs.kept))


def _batch_axes(rules: Rules) -> tuple[str, ...]:
    """Returns the mesh axes that batches are split over, by the rule for `"batch"`."""
    return next((as_tuple(target) for name, target in rules.names if name == "batch"), ())


def _without(rules: Rules) -> Iterator[tuple[str, Rules]]:
    """Yields each rule that splits something, as text, with the other rules."""
    for name in dict.fromkeys(name for name, target in rules.names if target is not None and name != "batch"):
        targets = [as_tuple(target) for each, target in rules.names if each == name and target is not None]
        others = [pair for pair in rules.names if pair[0] != name]
        # A rule that leaves it whole, as a name without any rule is an error.
        yield f"`{name}` -> `{' + '.join(targets[0])}`", replace(rules, names=[(name, None), *others])
    if rules.fsdp is not None:
        yield f"fsdp over `{' + '.join(as_tuple(rules.fsdp))}`", replace(rules, fsdp=None)


def _advice(plan: _Plan, rules: Rules, found: Memory, batch_is_whole: bool) -> Iterator[str]:
    """Yields a sentence for each thing that takes much, and could take less."""
    much = _MUCH * (found.total + found.host)
    for spec, size, how in plan.whole(rules):
        if size > much:
            yield f"`{spec.path}` takes {short_bytes(size)} of each device, and could be split more: {how}."
    if batch_is_whole and found.activations > much:
        yield 'The batch is whole on each device, and so is what comes of it: split it by a rule for "batch".'
    elif found.activations > found.total / 2:
        yield "Activations take more than half: `jscope.remat` keeps less of them, and computes them again."
    if found.optimizer > found.total / 4 and not found.host:
        yield (
            "The optimizer's state may be kept in the memory of the hosts: give its shardings (see "
            '`jscope.sharding.like`) `.with_memory_kind("pinned_host")`.'
        )
