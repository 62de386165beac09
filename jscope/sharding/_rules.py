"""Rules say to which axes of a mesh the names of a variable's axes go.

A model names the axes of its variables by what they mean (`"embed"`, `"mlp"`); a mesh names its axes by what they are
for (`"data"`, `"model"`). `Rules` connect the two, and are all that changes when a model moves from one machine to
many, or from one kind of parallelism to another. They are a value: frozen, hashable, joined by `|`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import Any, Literal, TypeAlias, get_args

from jax.sharding import AbstractMesh, AxisType, Mesh, PartitionSpec

from jscope._types import Axes, Shape
from jscope._util import _text
from jscope.errors import InvalidArgumentError, JscopeError

AnyMesh: TypeAlias = Mesh | AbstractMesh
MeshAxes: TypeAlias = str | tuple[str, ...] | None
"""One axis of a mesh, several (the array's axis is split over all of them), or none (it stays whole)."""

Name: TypeAlias = str | EllipsisType
Taken: TypeAlias = dict[int, tuple[str, ...]]
"""The mesh axes that axes of one array have taken so far, by the number of the axis."""

Fallback: TypeAlias = Literal["error", "replicate"]


class ShardingError(JscopeError, ValueError):
    """Rules, names of axes, shapes and a mesh do not go together."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Where the axes of arrays go, by their logical names.

    >>> mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    >>> rules = Rules({"batch": "data", "embed": None, "mlp": "model"})
    >>> rules.partition(("embed", "mlp"), mesh, (16, 64)) == jax.sharding.PartitionSpec(None, "model")
    True

    The rules for a name are tried in order, and the first that fits wins. A rule fits an axis if its mesh axes are not
    used by another axis of the same array, and if the product of their sizes divides the size of the axis; None always
    fits. So `[("heads", "model"), ("heads", None)]` splits heads where that is possible. The name `...` stands for
    every name without a rule of its own. Where there is no such rule either, such a name is an error, unless there are
    no rules at all.

    Attributes:
      names: Pairs `(logical name, mesh axes)`, or a mapping. Names that stand first choose first.
      paths: Pairs `(regular expression, axes)`, or a mapping: logical names for the variables whose path matches,
        instead of those in the code. The first match counts. For stacked variables, name the axes of one copy.
      fsdp: Mesh axes over which to split each variable once more, along the largest axis that the rules left whole and
        that they divide (of equal ones, the first). Where there is no such axis, the variable stays as it is.
        Axes that lifts have stacked are never split this way.
      min_size: `fsdp` does not touch variables with fewer elements than this.
      memory: Pairs `(regular expression, kind of memory)`, or a mapping: where the variables whose path matches are
        kept, such as `{"^embedding/": "pinned_host"}`. The first match counts; others are in the devices' memory.
      fallback: What happens to an axis that none of its rules fits: `"error"` raises, `"replicate"` leaves it whole.

    Raises:
      InvalidArgumentError: An argument does not have the form above.
    """

    names: tuple[tuple[Name, MeshAxes], ...]
    paths: tuple[tuple[str, Axes], ...]
    fsdp: MeshAxes
    min_size: int
    memory: tuple[tuple[str, str], ...]
    fallback: Fallback

    def __init__(
        self,
        names: Mapping[Any, MeshAxes] | Iterable[tuple[Name, MeshAxes]] = (),
        *,
        paths: Mapping[str, Axes] | Iterable[tuple[str, Axes]] = (),
        fsdp: MeshAxes = None,
        min_size: int = 1024,
        memory: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        fallback: Fallback = "error",
    ) -> None:
        if fallback not in get_args(Fallback):
            raise InvalidArgumentError(f"Rules: fallback={fallback!r} must be one of {get_args(Fallback)}.")
        if not isinstance(min_size, int):
            raise InvalidArgumentError(f"Rules: min_size={min_size!r} must be an int, a number of elements.")
        # Given as mappings or lists, kept as tuples: rules are compared, hashed and seen by JAX's caches.
        fields = {"names": _names(names), "paths": _paths(paths), "fsdp": _mesh_axes(fsdp, "fsdp")}
        fields["memory"] = _memory(memory)
        for name, value in {**fields, "min_size": min_size, "fallback": fallback}.items():
            object.__setattr__(self, name, value)

    def __or__(self, other: Rules) -> Rules:
        """Returns the rules of both; those of `self` are tried first. `fallback` is `self`'s."""
        # The threshold belongs to the axes that it was given with.
        fsdp = (self.fsdp, self.min_size) if self.fsdp is not None else (other.fsdp, other.min_size)
        names, paths = self.names + other.names, self.paths + other.paths
        memory = self.memory + other.memory
        return Rules(names, paths=paths, fsdp=fsdp[0], min_size=fsdp[1], memory=memory, fallback=self.fallback)

    def partition(self, axes: Axes, mesh: AnyMesh, shape: Shape | None = None) -> PartitionSpec:
        """Returns how an array with these logical axes is split, a batch of inputs for example.

        >>> mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
        >>> Rules({"batch": "data"}).partition(("batch", None), mesh) == jax.sharding.PartitionSpec("data", None)
        True

        Args:
          axes: A logical name, or None, for each axis.
          mesh: A mesh that has all mesh axes of the rules.
          shape: The array's shape; without it, whether the sizes can be divided is not checked.

        Raises:
          ShardingError: The mesh lacks an axis of the rules, a name has no rule, or none of its rules fits.
        """
        return PartitionSpec(*map(entry, self.split(axes, mesh, shape, "an array")))

    def split(self, axes: Axes, mesh: AnyMesh, shape: Shape | None, what: str) -> list[tuple[str, ...]]:
        """Returns the mesh axes that each axis is split over: what `partition` returns, always as tuples.

        Errors call the array `what`. Otherwise, the arguments and errors are those of `partition`.
        """
        self.check(mesh)
        axes = checked_axes(axes, shape, what)
        sizes = (None,) * len(axes) if shape is None else shape
        # What has no name is settled: nothing may split it, also not `...`.
        taken: Taken = {i: () for i, axis in enumerate(axes) if axis is None}
        # Names that stand first choose first, whatever the order of the axes.
        for name, target in self._in_order(axes, what):
            for i, axis in enumerate(axes):
                if i not in taken and self._means(name, axis) and not _refusal(target, sizes[i], taken, mesh):
                    taken[i] = as_tuple(target)
        left = [i for i in range(len(axes)) if i not in taken]
        if left and self.fallback == "error":
            raise self._unfit(left[0], axes, sizes, taken, mesh, what)
        return [taken.get(i, ()) for i in range(len(axes))]

    def check(self, mesh: AnyMesh) -> None:
        """Checks that the mesh has all the axes that the rules speak of.

        Raises:
          ShardingError: It lacks one.
          InvalidArgumentError: `mesh` is not a mesh.
        """
        if not isinstance(mesh, Mesh | AbstractMesh):
            raise InvalidArgumentError(f"A mesh is made by `jax.make_mesh`; {mesh!r} is not one.")
        for name, target in (*self.names, ("fsdp", self.fsdp)):
            for axis in as_tuple(target):
                if axis not in mesh.shape:
                    raise ShardingError(
                        f"The rule for `{name}` speaks of the mesh axis `{axis}`, but the mesh has "
                        f"{_text_of(mesh)}.{_text.did_you_mean(axis, mesh.axis_names)}\n"
                        "Make a mesh that has it (of size 1, if need be), or change the rule."
                    )

    def _in_order(self, axes: Axes, what: str) -> list[tuple[Name, MeshAxes]]:
        """Returns the rules, with that for `...` last, after checking that there is one for each axis."""
        # Rules without names, such as `Rules(fsdp="data")`, are for any model, whatever names it has.
        if not self.names:
            return [(..., None)]
        known = {str(name) for name, _ in self.names if name is not ...}
        for axis in axes:
            if axis is not None and not any(self._means(name, axis) for name, _ in self.names):
                raise ShardingError(
                    f"No rule says where the axis `{axis}` of {what} goes.{_text.did_you_mean(axis, known)}\n"
                    f'Add one: `"{axis}": None` leaves it whole; `...: None` leaves all axes whole that have no rule. '
                    f"There are rules for: {', '.join(sorted(known)) or 'no name'}."
                )
        return sorted(self.names, key=lambda rule: rule[0] is ...)

    def _means(self, name: Name, axis: str | None) -> bool:
        """Whether a rule for `name` applies to this axis."""
        return name == axis or (name is ... and all(axis != other for other, _ in self.names))

    def _unfit(
        self, i: int, axes: Axes, sizes: Sequence[int | None], taken: Taken, mesh: AnyMesh, what: str
    ) -> ShardingError:
        rules = [target for name, target in self.names if self._means(name, axes[i])]
        reasons = [f"{_plus(target)!r} does not fit: {_refusal(target, sizes[i], taken, mesh)}" for target in rules]
        return ShardingError(
            f"Axis {i} (`{axes[i]}`) of {what} cannot be split as the rules say. {'; '.join(reasons)}.\n"
            f'Add a rule `("{axes[i]}", None)` after the others, which leaves such an axis whole; or, for all axes, '
            'say `Rules(..., fallback="replicate")`. Or change the size, or the mesh.'
        )


def fsdp(data: str = "data", *, min_size: int = 1024) -> Rules:
    """Returns rules for fully sharded data parallelism: batches and variables are split over the data axis.

    They need no names in the model, and ignore all names but `"batch"`. Each variable of at least `min_size` elements
    is split along its largest axis that the size of the mesh axis divides.

    >>> mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    >>> specs = jscope.transform(lambda scope: scope.get_variable("w", (16, 64))).specs()
    >>> jscope.sharding.shardings(specs, mesh, fsdp())["w"].spec == jax.sharding.PartitionSpec(None, "data")
    True
    """
    return Rules({"batch": data, ...: None}, fsdp=data, min_size=min_size)


def tensor_parallel(model: str = "model", *, data: str = "data") -> Rules:
    """Returns rules that split wide layers over the model axis, and batches over the data axis.

    The names are the customary ones: `"batch"`, `"vocab"`, `"mlp"` (hidden features), `"heads"` (of attention); axes
    with other names stay whole. For both kinds of parallelism at once: `tensor_parallel() | fsdp()`.

    >>> tensor_parallel().names[:2]
    (('batch', 'data'), ('vocab', 'model'))
    """
    return Rules({"batch": data, "vocab": model, "mlp": model, "heads": model, ...: None})


def _refusal(target: MeshAxes, size: int | None, taken: Taken, mesh: AnyMesh) -> str | None:
    """Returns why a rule does not fit an axis of this size, or None where it does."""
    for i, mesh_axes in taken.items():
        if both := [axis for axis in as_tuple(target) if axis in mesh_axes]:
            return f"`{both[0]}` is taken by axis {i}"
    # Inside `shard_map`, an array that is split over a manual axis has the shape of one part already.
    manual = {axis for axis, kind in zip(mesh.axis_names, mesh.axis_types, strict=True) if kind == AxisType.Manual}
    parts = math.prod(mesh.shape[axis] for axis in as_tuple(target) if axis not in manual)
    if size is not None and size % parts:
        return f"{size} is not a multiple of {parts}, the size of `{_plus(target)}`"
    return None


def entry(axes: tuple[str, ...]) -> MeshAxes:
    """Returns the entry of a `PartitionSpec` for an axis that is split over these mesh axes."""
    return axes if len(axes) > 1 else axes[0] if axes else None


def axes_for(path: str, rules: Rules, axes: Axes | None, ndim: int, stack: Axes = ()) -> Axes:
    """Returns the logical axes of a variable: those of a path rule, otherwise its own, otherwise no names."""
    axes = next((each for regex, each in rules.paths if re.search(regex, path)), axes)
    if axes is None:
        axes = (None,) * (ndim - len(stack))
    # A path rule names the axes of one copy; a spec's own axes include the stacked ones.
    return (*stack, *axes) if len(axes) == ndim - len(stack) else axes


def checked_rules(rules: Any) -> Rules:
    """Returns `rules`, after checking that they are `Rules`."""
    if not isinstance(rules, Rules):
        raise InvalidArgumentError(f"rules must be `jscope.sharding.Rules`, not {rules!r}.")
    return rules


def checked_axes(axes: Any, shape: Shape | None, what: str) -> Axes:
    """Returns logical axes as a tuple, after checking that they are names, as many as the shape has axes."""
    # A string is a sequence of strings, too: `"ab"` would pass for the two names "a" and "b".
    if isinstance(axes, str) or not all(axis is None or isinstance(axis, str) for axis in tuple(axes)):
        raise InvalidArgumentError(f'axes={axes!r} of {what} must be a tuple of names and None: ("batch", None).')
    if shape is not None and len(tuple(axes)) != len(shape):
        raise ShardingError(
            f"axes={tuple(axes)!r} of {what} does not fit its shape {shape}, which has {len(shape)} axes.\n"
            "Name each of them; None leaves one without a name."
        )
    return tuple(axes)


def _names(names: Any) -> tuple[tuple[Name, MeshAxes], ...]:
    pairs = _pairs(names, 'Rules: names must be a mapping or pairs such as `{"embed": "data"}`')
    for name, _ in pairs:
        if not (name is ... or isinstance(name, str)):
            raise InvalidArgumentError(f"Rules: {name!r} must be the name of an axis, or `...` for all other names.")
    return tuple((name, _mesh_axes(target, str(name))) for name, target in pairs)


def _paths(paths: Any) -> tuple[tuple[str, Axes], ...]:
    pairs = _pairs(paths, 'Rules: paths must be a mapping or pairs such as `{"/w$": ("embed", "mlp")}`')
    return tuple(
        # Compiled only to be checked; as text, it shows in the repr and compares well.
        (_text.pattern(regex, "Rules: ").pattern, checked_axes(axes, None, f"the paths {regex!r}"))
        for regex, axes in pairs
    )


def _memory(memory: Any) -> tuple[tuple[str, str], ...]:
    pairs = _pairs(memory, 'Rules: memory must be a mapping or pairs such as `{"^embedding/": "pinned_host"}`')
    for regex, kind in pairs:
        if not isinstance(kind, str):
            raise InvalidArgumentError(f'Rules: memory of {regex!r} is {kind!r}, not the name of one: "pinned_host".')
    return tuple((_text.pattern(regex, "Rules: ").pattern, kind) for regex, kind in pairs)


def memory_of(path: str, rules: Rules) -> str | None:
    """Returns in which kind of memory a variable is kept; None for that of the devices."""
    return next((kind for regex, kind in rules.memory if re.search(regex, path)), None)


def _pairs(given: Any, wanted: str) -> list[tuple[Any, Any]]:
    # What is neither a mapping nor iterable becomes one bad pair, which the next line refuses with the rest.
    pairs = list(given.items() if isinstance(given, Mapping) else given) if isinstance(given, Iterable) else [given]
    if not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in pairs):
        raise InvalidArgumentError(f"{wanted}, not {given!r}.")
    return [(key, value) for key, value in pairs]


def _mesh_axes(target: Any, name: str) -> MeshAxes:
    axes = as_tuple(tuple(target) if isinstance(target, list) else target)
    if not isinstance(axes, tuple) or not all(isinstance(axis, str) for axis in axes) or len(set(axes)) < len(axes):
        raise InvalidArgumentError(
            f"Rules: {name!r} goes to {target!r}, which is neither a mesh axis nor a tuple of different ones nor None."
        )
    return entry(axes)


def as_tuple(target: Any) -> tuple[str, ...]:
    """Returns the mesh axes of a rule as a tuple, be it none, one or several."""
    return () if target is None else (target,) if isinstance(target, str) else target


def _plus(target: MeshAxes) -> str:
    return " + ".join(as_tuple(target))


def _text_of(mesh: AnyMesh) -> str:
    return ", ".join(f"`{name}` (size {size})" for name, size in mesh.shape.items()) or "no axes"
