"""Random conversions, with what they must make: theirs and ours are both cut from one array of all axes."""

import itertools
import math

import numpy as np
from hypothesis import strategies as st

from jscope.checkpoint import Conversion, Rule

DTYPES = ("float32", "int8", "float16", "bool", "complex64")
FORMS = ("", "+1", ":02", ":_", "+1:_")


@st.composite
def conversions(draw, rules=3):
    """Draws a conversion, some arrays of theirs, and what they become."""
    parts = [draw(_rule(f"r{i}")) for i in range(draw(st.integers(1, rules)))]
    theirs, ours = {}, {}
    for _, left, right in parts:
        theirs |= left
        ours |= right
    return Conversion([rule for rule, _, _ in parts]), theirs, ours


@st.composite
def _rule(draw, tag):
    stacked, split, common = (
        {f"{letter}{i}": draw(st.integers(1, 3)) for i in range(draw(st.integers(0, most)))}
        for letter, most in (("s", 2), ("p", 2), ("a", 3))
    )
    where = dict(common)
    spelled, labels = {}, {}
    for name, size in (stacked | split).items():
        kind = draw(st.sampled_from(["index", "list", "spelling"]))
        labels[name] = [(f"{name}_{i}", f"{name}_{i}") for i in range(size)]
        if kind == "spelling":
            labels[name] = [(f"{name}_{i}", f"{name}.x{size - i}") for i in range(size)]
            where[name] = dict(labels[name])
        elif kind == "list":
            where[name] = [ours for ours, _ in labels[name]]
        else:
            spelled[name], labels[name] = draw(st.sampled_from(FORMS)), None
            if name in split or len(stacked) > 1 or draw(st.booleans()):
                where[name] = size
    # An axis whose size depends on which part of a group it is in: on the side that has the parts in one array.
    unequal = (
        draw(st.sampled_from([None, *(name for name in (*stacked, *split) if labels[name]), None])) if common else None
    )
    axis = next(iter(common), None) if unequal else None
    sizes = [draw(st.integers(1, 3)) for _ in range((stacked | split).get(unequal, 0))]
    if axis:
        where[axis] = dict(zip([ours for ours, _ in labels[unequal]], sizes, strict=True))
    kept = draw(_kept())
    order = {
        name: draw(st.permutations(range(size)))
        for name, size in common.items()
        if name != axis and draw(st.booleans())
    }
    left, right = (_groups(draw, [*common, *own], unequal, axis) for own in (split, stacked))
    name = draw(st.sampled_from(["w", "a/b", "kernel"]))
    rule = Rule(
        "/".join([tag, *kept[0], *(f"n{{{p}{spelled.get(p, '')}}}" for p in split), name]),
        ".".join([tag, *kept[1], *(f"n{{{s}{spelled.get(s, '')}}}" for s in stacked), "x"]),
        " -> ".join(
            " ".join(each[0] if len(each) == 1 else f"({' '.join(each)})" for each in side) for side in (left, right)
        ),
        where=where | kept[2],
        order=order,
    )
    dtype, seed = draw(st.sampled_from(DTYPES)), draw(st.integers(0, 1 << 16))
    random = np.random.default_rng(seed)
    theirs, ours = {}, {}
    for values_ours, values_theirs in kept[3]:
        whole = _Whole(random, dtype, stacked | split | common, unequal, axis, sizes)
        for side, other, template, labelled, into, values in (
            (left, stacked, rule.theirs, 1, theirs, values_theirs),
            (right, split, rule.ours, 0, ours, values_ours),
        ):
            for index in itertools.product(*(range(size) for size in other.values())):
                at = dict(zip(other, index, strict=True))
                array = whole.array(side, at, order if side is right else {})
                texts = {n: labels[n][i][labelled] if labels[n] else _written(i, spelled[n]) for n, i in at.items()}
                into[_filled(template, texts | values)] = array
    return rule, theirs, ours


@st.composite
def _kept(draw):
    """Draws what both names have: our text, their text, `where`, and what it stands for in each array."""
    kind = draw(st.sampled_from(["", "index", "spelling", "part", "path"]))
    if kind == "index":
        a, b = draw(st.sampled_from(FORMS)), draw(st.sampled_from(FORMS))
        values = draw(st.sets(st.integers(0, 12), min_size=1, max_size=2))
        return [f"k{{k{a}}}"], [f"k{{k{b}}}"], {}, [({"k": _written(i, a)}, {"k": _written(i, b)}) for i in values]
    if kind == "spelling":
        where = {"q": "q_proj", "k": "k_proj", "o": "out.proj"}
        return ["{k}"], ["{k}"], {"k": where}, [({"k": a}, {"k": b}) for a, b in where.items()]
    if kind == "part":
        return ["k_{k:s}"], ["{k:s}_k"], {}, [({"k": each}, {"k": each}) for each in ("x", "lm_head")]
    if kind == "path":
        paths = (("a", "b"), ("c",))
        return ["{k...}"], ["m", "{k...}"], {}, [({"k": "/".join(each)}, {"k": ".".join(each)}) for each in paths]
    return [], [], {}, [({}, {})]


class _Whole:
    """All elements: one array of all axes; with unequal parts, one for each part."""

    def __init__(self, random, dtype, sizes, unequal, axis, parts):
        self.axes = [name for name in sizes if name != unequal]
        self.unequal, self.axis = unequal, axis
        count = len(parts) if unequal else 1
        shapes = [[parts[i] if name == axis else sizes[name] for name in self.axes] for i in range(count)]
        self.parts = [(random.random(shape) * 200 - 100).astype(dtype) for shape in shapes]

    def array(self, side, at, order):
        """The array of a side, at an index of each placeholder in its name."""
        if self.unequal not in at:
            if not self.unequal:
                return self._laid(self.parts[0], side, at, order)
            # Group by group: the parts lie behind each other within the group of the placeholder.
            (group,) = [i for i, each in enumerate(side) if self.unequal in each]
            before = side[group][: side[group].index(self.unequal)]
            after = side[group][len(before) + 1 :]
            split = [*side[:group], before, after, *side[group + 1 :]]
            laid = [self._laid(part, split, at, order) for part in self.parts]
            whole = np.concatenate(laid, axis=group + 1)
            shape = whole.shape
            return whole.reshape(*shape[:group], shape[group] * shape[group + 1], *shape[group + 2 :])
        return self._laid(self.parts[at[self.unequal]], side, {k: v for k, v in at.items() if k != self.unequal}, order)

    def _laid(self, part, side, at, order):
        part = part[tuple(at.get(name, slice(None)) for name in self.axes)]
        left = [name for name in self.axes if name not in at]
        flat = [name for each in side for name in each]
        part = part.transpose([left.index(name) for name in flat])
        for name, each in order.items():
            part = np.take(part, each, flat.index(name))
        sizes = dict(zip(flat, part.shape, strict=True))
        return part.reshape([math.prod(sizes[name] for name in each) for each in side]).copy()


def _groups(draw, axes, unequal, axis):
    """Draws in which order the axes come, and which of them are one."""
    axes = draw(st.permutations(axes))
    if unequal in axes:
        rest = [name for name in axes if name != axis]
        at = rest.index(unequal)
        middle = draw(st.integers(at + 1, len(rest)))
        axes = [*rest[:middle], axis, *rest[middle:]]
    cuts = [draw(st.booleans()) for _ in axes[1:]]
    if unequal in axes:
        begin, end = axes.index(unequal), axes.index(axis)
        cuts[begin:end] = [False] * (end - begin)
        # Other placeholders may come before it in its group, or beside the group.
        while wrong := [name for name in axes[begin + 1 : end] if name[0] in "sp"]:
            axes = [wrong[0], *(name for name in axes if name != wrong[0])]
            cuts = [True, *cuts[: axes.index(unequal) - 1], *cuts[axes.index(unequal) :]]
            begin, end = axes.index(unequal), axes.index(axis)
            cuts[begin:end] = [False] * (end - begin)
        for i in range(end, len(axes) - 1):
            cuts[i] |= axes[i + 1][0] in "sp"
    side = [axes[:1]] if axes else []
    for name, cut in zip(axes[1:], cuts, strict=True):
        side = [*side, [name]] if cut else [*side[:-1], [*side[-1], name]]
    if draw(st.booleans()):
        side.insert(draw(st.integers(0, len(side))), [])
    return side


def _written(number, form):
    number += form.startswith("+1")
    if form.endswith("_"):
        return f"_{number}" if number else ""
    return f"{number:02}" if form.endswith("02") else str(number)


def _filled(template, texts):
    for name, text in texts.items():
        begin = template.index("{" + name)
        end = template.index("}", begin)
        template = template[:begin] + text + template[end + 1 :]
    return template
