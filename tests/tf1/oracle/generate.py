"""Random programs for the comparison with TensorFlow: more kinds of ops than `conformance/` has.

To the format of `conformance/README.md` they add: `name_scope`, `template` (make) and `call` (of a template),
`collection` (query), `set` (a setter of the current scope), `local` (get_local_variable), `again` (enter the same
context manager twice), partitioners, scopes without auxiliary name scope, values as initializers, partial shapes; and
at the end a map for `init_from_checkpoint`.
"""

from __future__ import annotations

import random

SCOPES = ["a", "b", "c", "a/b", "", "A", "b/", "a_1"]
DEFAULTS = ["a", "b", "c", "a_1"]
VARIABLES = ["w", "v", "d/v", "u"]
SHAPES = [[1], [2, 3], [], None, [None, 3], 3, [4]]
DTYPES = ["float32", "float16", "int32"]
TENSORS = ["w", "v", "a/w", "a/v", "a/d/v", "b/w", "b/v", "a/b/w", "a/b/v", "a//w", "c/w"]
"""What the checkpoint holds: tensors of shape [1], the value of each is its place here, and 100."""


class Generator:
    """Makes one program from a seed."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.labels = 0

    def chance(self, share):
        return self.random.random() < share

    def pick(self, items):
        return self.random.choice(items)

    def label(self):
        self.labels += 1
        return f"s{self.labels}"

    def program(self):
        return self.block(0) or [self.get()]

    def block(self, depth):
        return [self.op(depth) for _ in range(self.random.randint(1, 6 if depth == 0 else 4))]

    def op(self, depth):
        kinds = ["get"] * 8 + ["probe", "local", "collection", "set", "reuse_variables", "template", "call", "call"]
        if depth < 4:
            kinds += ["scope"] * 9 + ["name_scope", "again"]
        kind = self.pick(kinds)
        if kind in ("scope", "name_scope", "again"):
            return getattr(self, kind)(depth)
        return getattr(self, kind, lambda: {"op": kind})()

    def attributes(self, names, share):
        made = {
            "initializer": lambda: self.pick([0, 2, 3]),
            "dtype": lambda: self.pick(DTYPES),
            "regularizer": lambda: self.pick(["r1", "r2"]),
            "constraint": lambda: self.pick(["c1", "c2"]),
            "custom_getter": lambda: self.pick(["g1", "g2"]),
            "partitioner": lambda: self.pick([1, 2, 3]),
            "trainable": lambda: self.chance(0.5),
            "collections": lambda: self.pick([[], ["k"], ["k", "variables"]]),
            "value": lambda: self.pick([1, 2.5, [1, 2], [0.5]]),
        }
        return {name: made[name]() for name in names if self.chance(share)}

    def scope(self, depth):
        op = {
            "op": "scope",
            "name": None,
            "default_name": None,
            "reuse": self.pick([None] * 5 + [False, True, "auto", "auto"]),
        }
        way = self.random.random()
        if way < 0.35:
            op["name"] = self.pick(SCOPES)
        elif way < 0.65:
            op["default_name"] = self.pick(DEFAULTS)
        else:
            op["captured"] = f"s{self.random.randint(1, self.labels + 1)}"
        names = ["initializer", "dtype", "regularizer", "constraint", "custom_getter", "partitioner"]
        op |= self.attributes(names, 0.07)
        if self.chance(0.1):
            op["auxiliary_name_scope"] = False
        return op | {"as": self.label(), "body": self.block(depth + 1)}

    def name_scope(self, depth):
        return {"op": "name_scope", "name": self.pick(["a", "b", "x", "X", None, "a/"]), "body": self.block(depth + 1)}

    def again(self, depth):
        op = self.scope(depth + 1)
        return {**op, "op": "again"}

    def get(self):
        names = ["initializer", "dtype", "regularizer", "constraint", "trainable", "partitioner", "collections"]
        op = {"op": "get", "name": self.pick(VARIABLES), "shape": self.pick(SHAPES[:2] * 4 + SHAPES)}
        op |= self.attributes(names, 0.1)
        if self.chance(0.08):
            op |= {"shape": self.pick([None, None, [1]]), **self.attributes(["value"], 1.0)}
        return op

    def local(self):
        return {**self.get(), "op": "local"}

    def collection(self):
        return {"op": "collection", "key": self.pick(KEYS), "scope": self.pick([None, "a", "a/", "b", "current"])}

    def set(self):
        role = self.pick(["initializer", "dtype", "regularizer", "custom_getter"])
        return {"op": "set", **self.attributes([role], 1.0)}

    def template(self):
        op = {"op": "template", "name": self.pick(DEFAULTS), "now": self.chance(0.3), "unique": None}
        if self.chance(0.15):
            op["unique"] = self.pick(DEFAULTS)
        return op | {
            "as": f"t{self.random.randint(1, 3)}",
            "body": [self.get() for _ in range(self.random.randint(1, 2))],
        }

    def call(self):
        return {"op": "call", "template": f"t{self.random.randint(1, 3)}"}

    def assignment(self):
        """Pairs of names in the checkpoint and names of variables or scopes."""
        names = [*TENSORS, "a/", "b/", "a/b/", "/", "no", "no/", "a"]
        return [(self.pick(names), self.pick(names)) for _ in range(self.random.randint(1, 2))]


KEYS = ["variables", "trainable_variables", "local_variables", "k", "regularization_losses"]
