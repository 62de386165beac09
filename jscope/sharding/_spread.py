"""How the arrays inside of a program are split follows from how its inputs are.

    inputs' partitions --equations: which axes are the same--> partitions of all arrays

Each equation says which axes of what it reads and of what it makes are the same: the rows of a product, the batch of a
convolution, all axes of a sum. One that is split in one place is split so in all, forward first, and then backward.
Compilers do it, too, but where a mesh axis could split two axes of an array, each has an order of its own. Here the
batch and what constraints say come first, then the variables, and of two operands the first.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from jax.sharding import PartitionSpec

from jscope._summary._cost import REDUCTIONS
from jscope._summary._count import jaxprs_of
from jscope._summary._names import carried, opened_jaxpr
from jscope.sharding._rules import AnyMesh, as_tuple

Parts: TypeAlias = tuple[tuple[str, int, int], ...]
"""What splits an axis, the outermost first: prime factors of mesh axes, each as name, number, factor."""

Labels: TypeAlias = Sequence[Hashable]
"""A label for each axis of an array, or None. What is one axis here and several there has one label."""


class _Array:
    """An array: how its axes are split, as far as that is known, and whether that is settled."""

    __slots__ = ("settled", "shape", "split")

    def __init__(self, atom: Any) -> None:
        self.shape: tuple[int, ...] = getattr(atom.aval, "shape", ())
        self.split: list[Parts] = [()] * len(self.shape)
        self.settled = False

    def parts(self, axes: Sequence[int]) -> Parts:
        """Returns how these axes are split, as one axis."""
        # Nearly always there is one, and large programs have many.
        if len(axes) == 1:
            return self.split[axes[0]]
        found: Parts = ()
        for i in axes:
            found += self.split[i]
            # Slices of an inner axis lie apart in the whole, unless the outer ones are split to single elements.
            if _size(self.split[i]) < self.shape[i]:
                break
        return found

    def take(self, axes: Sequence[int], parts: Parts) -> None:
        """Splits these axes as one axis, if they are whole."""
        if self.settled or any(self.split[i] for i in axes):
            return
        used, left = {part for each in self.split for part in each}, list(axes)
        for part in parts:
            while left and _size(self.split[left[0]]) == self.shape[left[0]]:
                left.pop(0)
            # What has split one axis cannot split another.
            if not left or part in used or self.shape[left[0]] // _size(self.split[left[0]]) % part[2]:
                break
            self.split[left[0]] += (part,)


_Same: TypeAlias = list[list[tuple[_Array, list[int]]]]
"""For each axis that arrays share: these arrays, and which axes of theirs it is."""


class Spread:
    """How all arrays of a program are split over a mesh."""

    def __init__(self, jaxpr: Any, mesh: AnyMesh, *inputs: Mapping[int, Iterable[Any]]) -> None:
        """Splits the arrays, given the partitions of inputs, by number: those that come first, then others."""
        self._mesh = mesh
        self._same: _Same = []
        opened = opened_jaxpr(jaxpr)
        self._arrays = {variable: _Array(variable) for variable in (*opened.constvars, *opened.invars)}
        self._walk(opened, self._arrays)
        arrays = [self._arrays[variable] for variable in opened.invars]
        for i in (i for given in inputs for i in given):
            arrays[i].settled = True
        for given in inputs:
            for i, partition in given.items():
                self._settle(arrays[i], partition)
            found, step = True, 1
            while found:
                # What computes an array says more of it than what uses it: forward first, and then backward.
                left = _undecided(self._same[::step])[::step]
                found, step, self._same = len(left) < len(self._same), -step, left

    def nbytes(self, variable: Any) -> int:
        """Returns the bytes of one of the program's own arrays on one device."""
        array = self._arrays[variable]
        copies = math.prod(map(_size, array.split))
        return math.prod(array.shape) // copies * getattr(variable.aval.dtype, "itemsize", 1)

    def _settle(self, array: _Array, partition: Iterable[Any]) -> None:
        entries = list(partition)
        array.settled = False
        for i, axes in enumerate(entries):
            if axes is not PartitionSpec.UNCONSTRAINED:
                parts = (_factors(axis, self._mesh.shape[axis]) for axis in as_tuple(axes))
                array.take([i], tuple(itertools.chain(*parts)))
        array.settled = PartitionSpec.UNCONSTRAINED not in entries

    def _walk(self, jaxpr: Any, arrays: dict[Any, _Array]) -> None:
        """Says which axes are the same in a jaxpr, and adds what it computes to its inputs in `arrays`."""
        for equation in jaxpr.eqns:
            read = [_Array(atom) if hasattr(atom, "val") else arrays[atom] for atom in equation.invars]
            made = [_Array(variable) for variable in equation.outvars]
            arrays.update(zip(equation.outvars, made, strict=True))
            for array, partition in zip(made, _asked(equation), strict=False):
                self._settle(array, partition)
            rule = _RULES.get(equation.primitive.name)
            if rule is None and (inner := jaxprs_of(equation)):
                self._enter(equation, inner, read, made)
            elif made:
                self._link(zip([*read, *made], (rule or _common)(equation), strict=True))

    def _enter(self, equation: Any, inner: list[Any], read: list[_Array], made: list[_Array]) -> None:
        params, carry = equation.params, slice(0, 0)
        match equation.primitive.name:
            case "cond":
                read = read[1:]
            case "while":
                inner, read = [params["body_jaxpr"]], read[params["cond_nconsts"] :]
                carry = slice(params["body_nconsts"], None)
            case "scan":
                carry = slice(*carried(equation))
        for each in map(opened_jaxpr, inner):
            inputs = [_Array(variable) for variable in each.invars]
            arrays = dict(zip(each.invars, inputs, strict=True)) | {v: _Array(v) for v in each.constvars}
            # Of a kernel, or what runs on each device, arrays are not those of the program.
            if not (_are_slices(inputs, read) and len(each.outvars) == len(made)):
                continue
            self._tie(inputs, read)
            self._walk(each, arrays)
            results = [_Array(atom) if hasattr(atom, "val") else arrays[atom] for atom in each.outvars]
            self._tie(results, made)
            self._tie(inputs[carry], results)

    def _tie(self, some: Iterable[_Array], others: Iterable[_Array]) -> None:
        # From the last axis on, as slices lack the first.
        for pair in zip(some, others, strict=False):
            self._link((array, range(-len(array.shape), 0)) for array in pair)

    def _link(self, labeled: Iterable[tuple[_Array, Labels]]) -> None:
        places: dict[Hashable, dict[int, tuple[_Array, list[int]]]] = {}
        for number, (array, labels) in enumerate(labeled):
            for i, label in enumerate(labels):
                places.setdefault(label, {}).setdefault(number, (array, []))[1].append(i)
        self._same += [list(each.values()) for label, each in places.items() if label is not None and len(each) > 1]


def _undecided(same: _Same) -> _Same:
    """Splits axes as the first of those that are the same is split. Returns what is left: those of which none is."""
    left: _Same = []
    for places in same:
        if parts := next(filter(None, (array.parts(axes) for array, axes in places)), ()):
            for array, axes in places:
                array.take(axes, parts)
        else:
            left.append(places)
    return left


def _asked(equation: Any) -> Iterable[Any]:
    """Returns the partitions that an equation asks for, for its results; none if it does not."""
    params = equation.params
    given = [params.get(name) for name in ("sharding", "dst_sharding", "out_sharding")]
    # What `shard_map` makes is put together from what each device makes.
    return params["out_specs"] if "out_specs" in params else [each.spec for each in given if hasattr(each, "spec")]


def _are_slices(some: list[_Array], others: list[_Array]) -> bool:
    """Whether arrays have the shapes of others, maybe without their first axes."""
    return [a.shape for a in some] == [
        b.shape[len(b.shape) - len(a.shape) :] for a, b in zip(some, others, strict=False)
    ]


def _shapes(equation: Any) -> list[tuple[int, ...]]:
    return [getattr(atom.aval, "shape", ()) for atom in (*equation.invars, *equation.outvars)]


def _common(equation: Any) -> list[Labels]:
    """What is done to each element, or along some axes, or is not known: the others keep their sizes and places."""
    *_, like = shapes = _shapes(equation)
    return [[i if len(each) == len(like) and n == like[i] else None for i, n in enumerate(each)] for each in shapes]


def _first(equation: Any) -> list[Labels]:
    """What is put into an array: the result is as that array is."""
    array, *others, _ = _shapes(equation)
    return [range(len(array)), *([()] * len(others)), range(len(array))]


def _reduce(equation: Any) -> list[Labels]:
    over = equation.params["axes" if "axes" in equation.params else "dimensions"]
    array, *others = _shapes(equation)
    left = [i for i in range(len(array)) if i not in over]
    # Several arrays may be reduced together; initial values have no axes.
    return [range(len(array)), *(range(len(each)) if each == array else left[: len(each)] for each in others)]


def _broadcast(equation: Any) -> list[Labels]:
    _, *others, made = _shapes(equation)
    return [equation.params["broadcast_dimensions"], *([()] * len(others)), range(len(made))]


def _reshape(equation: Any) -> list[Labels]:
    array, *others, made = _shapes(equation)
    labels: tuple[list[Hashable], list[Hashable]] = ([None] * len(array), [None] * len(made))
    left = [list(range(len(each))) for each in (array, made)]
    # Axes of both are taken until there are as many elements on either side: these are the same.
    counts, label = [1, 1], 0
    while left[0] or left[1]:
        side = int(not left[0] or (counts[1] < counts[0] and bool(left[1])))
        i = left[side].pop(0)
        labels[side][i] = label
        counts[side] *= (array, made)[side][i]
        label += counts[0] == counts[1]
    return [labels[0], *([()] * len(others)), labels[1]]


def _dot(equation: Any) -> list[Labels]:
    contracted, batch = (tuple(zip(*pairs, strict=True)) for pairs in equation.params["dimension_numbers"])
    x, y, _ = _shapes(equation)
    of_x = range(len(x))
    same = {j: i for i, j in (*contracted, *batch)}
    of_y: list[Hashable] = [same.get(j, ("y", j)) for j in range(len(y))]
    free = [each for each in (*of_x, *of_y) if each not in same.values()]
    return [of_x, of_y, [*(i for i, _ in batch), *free]]


def _convolution(equation: Any) -> list[Labels]:
    numbers, (x, _, made) = equation.params["dimension_numbers"], _shapes(equation)
    # The numbers name the batch or the features made, the features, and then the axes of space, which are left whole.
    (batch, read, *_), (new, old, *_), (batches, news, *_) = numbers.lhs_spec, numbers.rhs_spec, numbers.out_spec
    by_itself = equation.params["feature_group_count"] > 1 and x[read] == made[news]
    of_x = {batch: "batch", read: "made" if by_itself else "read"}
    of_kernel = {new: "made", old: "read"}
    of_made = {batches: "batch", news: "made"}
    return [[of.get(i) for i in range(len(x))] for of in (of_x, of_kernel, of_made)]


def _gather(equation: Any) -> list[Labels]:
    numbers, (array, indices, made) = equation.params["dimension_numbers"], _shapes(equation)
    of_indices = [("index", i) for i in range(len(indices) - 1)]
    sizes = enumerate(zip(equation.params["slice_sizes"], array, strict=True))
    of_array: list[Hashable] = [i if size == whole else None for i, (size, whole) in sizes]
    for i, j in zip(numbers.operand_batching_dims, numbers.start_indices_batching_dims, strict=True):
        of_array[i] = of_indices[j]
    gone = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    slices = iter([each for i, each in enumerate(of_array) if i not in gone])
    rest = iter(of_indices)
    of_made = [next(slices) if i in numbers.offset_dims else next(rest) for i in range(len(made))]
    return [of_array, of_indices, of_made]


_RULES: dict[str, Callable[[Any], list[Labels]]] = {
    "broadcast_in_dim": _broadcast,
    "transpose": lambda equation: [range(len(order := equation.params["permutation"])), order],
    "dot_general": _dot,
    "conv_general_dilated": _convolution,
    "gather": _gather,
    **dict.fromkeys(("reshape", "squeeze", "expand_dims"), _reshape),
    **dict.fromkeys((f"scatter{kind}" for kind in ("", "-add", "-mul", "_add", "_mul", "_max", "_min")), _first),
    **dict.fromkeys(
        (*(name for name in REDUCTIONS if name.startswith("reduce_")), "reduce", "argmax", "argmin"), _reduce
    ),
}
"""Which axes are the same, by labels for all that an equation reads and makes; `_common` for what is not here."""


def _size(parts: Parts) -> int:
    return math.prod(factor for _, _, factor in parts)


def _factors(axis: str, size: int) -> Parts:
    """Returns a mesh axis as prime factors, which two axes of an array can share: heads, and groups of heads."""
    found: Parts = ()
    while size > 1:
        factor = next(each for each in range(2, size + 1) if size % each == 0)
        found, size = (*found, (axis, len(found), factor)), size // factor
    return found
