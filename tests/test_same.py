"""Laws of telling initializers apart."""

from __future__ import annotations

import functools
import types
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope._util._same import same


def closure(scale):
    return lambda key, shape, dtype: scale * jax.random.normal(key, shape, dtype)


def default_argument(scale):
    return lambda key, shape, dtype, scale=scale: scale


def keyword_default(scale):
    def init(key, shape, dtype, *, scale=scale):
        return scale

    return init


def nested(scale):
    inner = closure(scale)
    return lambda *args: inner(*args)


def base(scale, key, shape, dtype):
    return scale


class Named(NamedTuple):
    scale: float
    unit: int = 1

    def scaled(self):
        return self.scale * self.unit


@dataclass(frozen=True)
class Value:
    scale: float

    def __call__(self, key, shape, dtype):
        return self.scale


def sharding():
    return jax.sharding.NamedSharding(jax.make_mesh((1,), ("data",)), jax.sharding.PartitionSpec("data"))


MAKERS = {
    "closure": closure,
    "default argument": default_argument,
    "keyword default": keyword_default,
    "nested closure": nested,
    "partial": lambda scale: functools.partial(base, scale),
    "partial with keywords": lambda scale: functools.partial(base, scale=scale),
    "dataclass": Value,
    "method of a dataclass": lambda scale: Value(scale).__call__,
    "jscope.initializers": jscope.initializers.normal,
    "jax.nn.initializers": jax.nn.initializers.normal,
    "variance scaling of JAX": lambda scale: jax.nn.initializers.variance_scaling(scale, "fan_in", "normal"),
    "closure over a named tuple": lambda scale: closure(Named(scale)),
    "closure over a namespace": lambda scale: closure(types.SimpleNamespace(scale=scale)),
    "closure over a number of NumPy": lambda scale: closure(np.float32(scale)),
    "closure over a precision": lambda scale: closure((scale, jax.lax.Precision.HIGHEST)),
    "closure over a sharding": lambda scale: closure((scale, sharding(), sharding().spec)),
    "closure over containers": lambda scale: closure((scale, [scale], {"a": scale}, {scale})),
}


@pytest.mark.parametrize("maker", MAKERS)
def test_made_anew_is_the_same(maker):
    """Two functions made by one call compare equal, by value, and hash alike."""
    one, again = (same(MAKERS[maker](0.02)) for _ in range(2))
    assert one == again
    assert hash(one) == hash(again)
    assert one.by_value


@pytest.mark.parametrize("maker", MAKERS)
def test_made_of_another_value_is_another(maker):
    """What a function closes over, or defaults to, tells it apart."""
    assert same(MAKERS[maker](0.02)) != same(MAKERS[maker](0.1))


@pytest.mark.parametrize(("one", "other"), [(1, True), (1, 1.0), (0.0, -0.0), ("1", 1), (1.0, 1.0 + 0j)])
def test_values_of_another_kind_are_not_the_same(one, other):
    """1, 1.0 and True are equal in Python, but compute other things."""
    assert same(closure(one)) != same(closure(other))


def test_nan_is_the_same_as_nan():
    """A scale of NaN compares by what it is."""
    assert same(closure(float("nan"))) == same(closure(float("nan")))


def test_arrays_are_told_apart_by_identity():
    """A function that closes over an array is the same only with the very same array, and is not `by_value`."""
    array = np.ones(3)
    assert same(closure(array)) == same(closure(array))
    assert same(closure(array)) != same(closure(array.copy()))
    assert not same(closure(array)).by_value
    assert not same(closure(jnp.ones(3))).by_value


def test_a_function_that_calls_itself_has_a_same():
    """Recursion through a closure ends."""

    def make():
        def f(n):
            return f(n - 1) if n else 0

        return f

    assert same(make()) == same(make())


def test_globals_of_another_module_tell_functions_apart():
    """Equal code that reads other globals computes other things."""
    source = "def f(key, shape, dtype): return scale"
    functions = []
    for scale in (1, 2):
        namespace = {"scale": scale}
        exec(compile(source, "same.py", "exec"), namespace)
        functions.append(namespace["f"])
    assert same(functions[0]) != same(functions[1])


def test_an_object_with_identity_is_itself_alone():
    """A callable object that says nothing about equality equals only itself."""

    class Opaque:
        def __call__(self, key, shape, dtype):
            return 0

    one = Opaque()
    assert same(one) == same(one)
    assert same(one) != same(Opaque())
    assert not same(one).by_value


def test_a_global_that_changed_makes_another_function():
    """A function that reads a global is another one once the global has another value, as in a notebook."""
    namespace = {"jnp": jnp, "scale": 1.0}
    exec("def f(key, shape, dtype): return jnp.full(shape, scale, dtype)", namespace)

    def model(s):
        return s.get_variable("w", (2,), initializer=namespace["f"])

    assert jscope.init(model, jax.random.key(0))["w"].tolist() == [1, 1]
    namespace["scale"] = 5.0
    assert jscope.init(model, jax.random.key(0))["w"].tolist() == [5, 5]


def test_an_unset_closure_cell_is_no_error():
    """A function whose closure is not filled yet can be an initializer, as long as nobody needs the value."""

    def make(filled):
        def f(key, shape, dtype):
            return jnp.zeros(shape, dtype) if shape else later

        if filled:
            later = 1
        return f

    params = jscope.init(lambda s: s.get_variable("w", (2,), initializer=make(filled=False)), jax.random.key(0))
    assert params["w"].shape == (2,)


def test_shared_parts_are_taken_apart_once():
    """Each function here has two ways to the next one: the last has two to the power of sixty."""

    def made(scale):
        function = closure(scale)
        for _ in range(60):
            function = (lambda one, other: lambda *args: one(*args) + other(*args))(function, function)
        return function

    assert same(made(0.02)) == same(made(0.02))
    assert same(made(0.02)) != same(made(0.1))
    assert same(made(0.02)).by_value


def test_what_is_shared_is_not_what_is_alike():
    """A part that is met again stands for itself, not for whatever stands in its place elsewhere."""
    one, other = Value(0.02), Value(0.1)
    pairs = [closure(pair) for pair in ([one, one], [one, other], [other, one], [other, other])]
    assert len({same(pair) for pair in pairs}) == 4


def test_recursive_functions_are_told_apart_by_their_form():
    """Those that call themselves, and each other."""

    def made(scale):
        def even(n):
            return scale if n == 0 else odd(n - 1)

        def odd(n):
            return 0.0 if n == 0 else even(n - 1)

        return even, odd

    (even, odd), (again, _), (another, _) = made(0.02), made(0.02), made(0.1)
    assert same(even) == same(again)
    assert len({same(even), same(odd), same(another)}) == 3
