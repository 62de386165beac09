"""What is known of the variables of a model before they have values is one mapping.

`Specs` maps paths to what variables are. Whatever is a function of what variables
*are*, rather than of their values, starts here: initial values, penalties, constraints, masks, checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from jscope import _json, _path
from jscope._check import checked_tree, differences, with_shardings
from jscope._materialize import materialize
from jscope._read import find
from jscope._spec import VariableSpec
from jscope._types import Converter, Key, StrPath
from jscope._util import _lazy, _text
from jscope._util._show import table
from jscope.errors import InvalidArgumentError, MissingVariableError, NameConflictError, StructureMismatchError

Which: TypeAlias = "str | Callable[[VariableSpec], bool]"
"""Which specs: a regular expression to be found in the path, or a predicate."""


class Specs(Mapping[str, Any]):
    """An immutable mapping from paths to `VariableSpec`s; `specs["encoder"]` is the part below a scope.

    >>> import jax, jscope
    >>> specs = jscope.transform(lambda scope: (scope / "a").get_variable("w", (2, 3))).specs()
    >>> print(specs)
    name   shape   dtype     kind    initializer
    a/w    2, 3    float32   param   glorot_uniform()
    1 variable, 6 elements, 24 bytes
    >>> list(specs), specs["a/w"].shape, list(specs["a"])
    (['a/w'], (2, 3), ['w'])

    What is made of specs by their paths nests, as params and state do. These are two trees: where a path is a param and
    also a prefix of state (`w` and `w/average`), ask `specs.params` and `specs.state` one after the other.
    """

    __slots__ = ("_flat",)

    def __init__(self, specs: Mapping[str, Any]) -> None:
        self._flat: dict[str, VariableSpec] = dict(_path.items(specs))

    def __getitem__(self, name: str) -> Any:
        if name in self._flat:
            return self._flat[name]
        # After the look-up: names of TensorFlow may have empty parts.
        _path.check(name)
        found = {inner: spec for path, spec in self._flat.items() if (inner := _path.relative(path, name))}
        if not found:
            raise MissingVariableError(f"There is no variable or scope `{name}`.{_text.did_you_mean(name, self._flat)}")
        # A part of the specs answers all that the whole does: masks, labels, checks.
        return Specs(found)

    def __iter__(self) -> Iterator[str]:
        return iter(self._flat)

    def __len__(self) -> int:
        return len(self._flat)

    def __str__(self) -> str:
        specs = list(self.flat().values())
        size, nbytes = sum(spec.size for spec in specs), sum(spec.nbytes for spec in specs)
        total = f"{len(specs)} variable{'s' * (len(specs) != 1)}, {size:,} element{'s' * (size != 1)}, {nbytes:,} bytes"
        rows = [
            (name, ", ".join(map(str, spec.shape)) or "()", spec.dtype.name, spec.kind, _json.name_of(spec.initializer))
            for name, spec in self.flat().items()
        ]
        return table(("name", "shape", "dtype", "kind", "initializer"), rows) + f"\n{total}"

    def __repr__(self) -> str:
        return f"<Specs of {len(self.flat())} variables>\n{self}"

    def __treescope_repr__(self, path: str | None, renderer: object) -> object:
        return _lazy.later("_treescope").render_specs(self, path, renderer)

    def flat(self) -> dict[str, VariableSpec]:
        """Returns the specs by name, in the order in which they were created."""
        return dict(self._flat)

    @property
    def params(self) -> Specs:
        """The specs of trainable variables."""
        return self.select(lambda spec: spec.trainable)

    @property
    def state(self) -> Specs:
        """The specs of variables that are not trainable."""
        return self.select(lambda spec: not spec.trainable)

    def select(self, which: Which = "", *, collection: str | None = None) -> Specs:
        """Returns the specs whose path matches, and which are in `collection` if one is given."""
        chosen = _chooser(which, collection)
        return Specs({name: spec for name, spec in self._flat.items() if chosen(spec)})

    def map(self, fn: Callable[[VariableSpec], Any]) -> dict[str, Any]:
        """Returns a nested dict of `fn(spec)` for every spec.

        Raises:
          NameConflictError: A path is a param and also a prefix of state, or the other way round.
        """
        # Of one kind they make a tree; else collecting had refused them.
        mixed = len({spec.trainable for spec in self._flat.values()}) > 1
        for name in self._flat if mixed else ():
            for prefix in filter(self._flat.__contains__, _path.prefixes(name)):
                kinds = ["a param" if spec.trainable else "state" for spec in (self[prefix], self[name])]
                raise NameConflictError(
                    f"`{prefix}` is {kinds[0]} and a prefix of `{name}`, which is {kinds[1]}: one dict cannot hold "
                    "both.\nAsk `specs.params` and `specs.state` one after the other."
                )
        return _path.nested((name, fn(spec)) for name, spec in self._flat.items())

    def mask(self, which: Which = "", *, collection: str | None = None) -> dict[str, Any]:
        """Returns a nested dict of bools, true where `select` would choose: for `optax.masked`.

        It mirrors the params. State is left out, unless there is nothing else: `specs.state.mask(...)`.

        >>> import jscope
        >>> specs = jscope.transform(lambda s: (s.get_variable("w", (2,)), s.get_variable("b", (2,)))).specs()
        >>> specs.mask("w$")
        {'w': True, 'b': False}
        """
        if not callable(which):
            _text.warn_if_useless(_text.pattern(which), self, "mask: ")
        return (self.params or self).map(_chooser(which, collection))

    def labels(self, rules: Mapping[str, str], default: str | None = None) -> dict[str, Any]:
        """Returns a nested dict of labels, for `optax.multi_transform`: the first regex in `rules` that matches.

        It mirrors the params. State is left out, unless there is nothing else: `specs.state.labels(...)`.

        Raises:
          InvalidArgumentError: Nothing matches a variable, and there is no default.
        """
        if not isinstance(rules, Mapping):
            raise InvalidArgumentError(f"labels needs a dict of regex: label, not {rules!r}.")
        patterns = [(_text.pattern(regex), value) for regex, value in rules.items()]
        for pattern, _ in patterns:
            _text.warn_if_useless(pattern, self, "labels: ")

        def label(spec: VariableSpec) -> str:
            found = next((value for pattern, value in patterns if pattern.search(spec.path)), default)
            if found is None:
                raise InvalidArgumentError(
                    f"No label for `{spec.path}`: none of {list(rules)} matches it. Add a pattern, or a `default=`."
                )
            return found

        return (self.params or self).map(label)

    def shape_dtype(self) -> dict[str, Any]:
        """Returns a nested dict of `jax.ShapeDtypeStruct`s."""
        return self.map(VariableSpec.shape_dtype)

    def convert(self, conversion: Converter) -> Specs:
        """Returns the specs in another naming and layout, as a `jscope.checkpoint.Conversion` says.

        They tell shapes and dtypes; initial values are known only here. `specs.convert(conversion.inverse)` is what is
        saved by `conversion.inverse`.
        """
        return Specs(conversion.specs(self.flat()))

    def materialize(
        self,
        key: Key,
        sharding: Any = None,
        *,
        to: StrPath | None = None,
        shard_bytes: int | None = None,
        conversion: Converter | None = None,
    ) -> dict[str, Any]:
        """Returns a nested dict of initial values: those that `init` with the same key gives.

        Args:
          key: One random key.
          sharding: Where to put them: one sharding for all, or a nested dict of shardings (or None).
          to: Where to write them instead, one variable at a time, so that memory is needed for the largest only. What
            ends in `.safetensors` is a file, which is replaced as a whole; anything else a new directory of such files
            with an index, as Hugging Face's are. What is returned are read-only NumPy arrays that lie in the files.
          shard_bytes: How many bytes of arrays a file in that directory may have at most; 5 GB by default.
          conversion: What makes other names and layouts of the variables, each while it is written, as for
            `jscope.checkpoint.safetensors.save`: the inverse of the one that restores them. What is returned has these.

        Raises:
          StructureMismatchError: The dict of shardings lacks some variables, or the conversion does not fit.
          InitializerError: An initial value depends on the model's inputs, or has the wrong shape or dtype.
        """
        if to is not None or shard_bytes is not None or conversion is not None:
            return _lazy.later("checkpoint._initial").written(self, key, sharding, to, shard_bytes, conversion)
        values = materialize(with_shardings(self.flat(), sharding), key)
        # By path: in a part of the specs, such as `specs["encoder"]`, names are shorter, but values stay the same.
        return self.map(lambda spec: values[spec.path])

    def regularization_loss(self, params: Mapping[str, Any], state: Mapping[str, Any] | None = None) -> jax.Array:
        """Returns the sum of all penalties, a float32 scalar.

        Penalties of state variables count only where `state` is given. A stacked variable pays for each of its copies.
        """
        total, params = jnp.zeros((), jnp.float32), checked_tree("params", params)
        for name, spec in self.flat().items():
            if spec.regularizer is not None and (spec.trainable or state is not None):
                value = find("", name, params, state or {}, None)
                penalties = _per_copy(_callable(spec, "regularizer"), spec)(value)
                # In one dtype, whatever the variables have: under strict promotion, JAX adds no others.
                total += jnp.sum(penalties).astype(jnp.float32)
        return total

    def apply_constraints(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Returns `params` with every constrained variable projected: call it after the optimizer's update."""
        values = dict(_path.items(checked_tree("params", params)))
        for name, spec in self.flat().items():
            # State may have a constraint, too, but is not among the params.
            if spec.constraint is not None and name in values:
                values[name] = _per_copy(_callable(spec, "constraint"), spec)(values[name])
        return _path.nested(values.items())

    def check(self, params: Mapping[str, Any], state: Mapping[str, Any] | None = None) -> None:
        """Raises one report of everything missing, unexpected, mis-shaped and mis-typed, if there is anything.

        Raises:
          StructureMismatchError: With the report.
        """
        in_params = dict(_path.items(checked_tree("params", params)))
        in_state = dict(_path.items(checked_tree("state", state or {})))
        # Whoever passes no state asks about params only: the state is not missing.
        expected = self.flat() if state is not None else self.params.flat()
        lines = differences(expected, in_params | in_state)
        for role, found, names in (("params", in_params, self.state.flat()), ("state", in_state, self.params.flat())):
            if state is not None and (wrong := [name for name in found if name in names and name in expected]):
                more = f" and {len(wrong) - 1} more" * (len(wrong) > 1)
                lines.append(f"  swapped:    `{wrong[0]}`{more} in the {role}: give `(params, state)`, in this order")
        if flat := _path.unsplit(params):
            lines.append(f"  flat:       `{flat}` is one key: nest the params by `jscope.tree.unflatten(params)`")
        if lines:
            raise StructureMismatchError("\n".join(["The params do not fit the model:", *lines]))

    def to_json(self) -> str:
        """Returns the specs as JSON: callables by their names, arrays by shape and dtype.

        A variable is a line, sorted by name, without the place in a file that created it. So the text changes only
        where the variables do, and may be kept under version control: see `docs/seeing.md`.
        """
        return _json.encode(self.flat())

    @classmethod
    def from_json(cls, text: str) -> Specs:
        """Returns the specs that `to_json` wrote; callables come back as their names."""
        return cls(_json.decode(text))


def specs_of(specs: Iterable[VariableSpec]) -> Specs:
    """Returns the `Specs` of these variables."""
    return Specs({spec.path: spec for spec in specs})


def _chooser(which: Which, collection: str | None) -> Callable[[VariableSpec], bool]:
    pattern = _text.pattern(which) if not callable(which) else None

    def chosen(spec: VariableSpec) -> bool:
        # In the full path, also for a part of the specs: a regex means the same everywhere.
        matches = bool(pattern.search(spec.path) if pattern is not None else which(spec))  # pyright: ignore[reportCallIssue]
        return matches and (collection is None or collection in spec.collections)

    return chosen


def _callable(spec: VariableSpec, role: str) -> Callable[[jax.Array], jax.Array]:
    function = getattr(spec, role)
    if isinstance(function, str):
        raise InvalidArgumentError(
            f"The {role} of `{spec.path}` is known only by name ({function}): these specs come from JSON.\n"
            "Make them from the model: `model.specs(*inputs)`."
        )
    return function


def _per_copy(function: Callable[[jax.Array], jax.Array], spec: VariableSpec) -> Callable[[jax.Array], jax.Array]:
    # A norm over all copies together would be another one than that of the unrolled model.
    for _ in spec.stack:
        function = jax.vmap(function)
    return function
