"""Laws of `jscope.partitioners`."""

import jax
import jax.numpy as jnp
import pytest

import jscope
from jscope import errors, partitioners
from jscope.partitioners import first, largest, last, names


def axes(partitioner, *shapes):
    """The axes of variables of these shapes below a scope with this default."""

    def model(scope):
        scope = scope.with_defaults(partitioner=partitioner)
        for i, shape in enumerate(shapes):
            scope.get_variable(f"v{i}", shape)

    return [spec.axes for spec in jscope.specs(model).flat().values()]


def test_names_speaks_of_one_rank():
    """What has another number of axes stays without names."""
    assert axes(names("embed", "mlp"), (2, 3), (3,), (2, 3, 4)) == [("embed", "mlp"), None, None]
    assert axes(names(), (), (3,)) == [(), None]


def test_last_counts_from_the_end():
    """A kernel has more axes before them, a bias has the last of them, a scalar none."""
    found = axes(last("embed", "mlp"), (3, 3, 2, 3), (2, 3), (3,), ())
    assert found == [(None, None, "embed", "mlp"), ("embed", "mlp"), ("mlp",), ()]


def test_largest_names_one_axis():
    """The first of equal ones, a multiple of what is asked for, of what is not small."""
    assert axes(largest("fsdp"), (2, 8, 8), (3,)) == [(None, "fsdp", None), ("fsdp",)]
    assert axes(largest("fsdp", min_size=10), (2, 5), (9,), ()) == [(None, "fsdp"), None, None]
    assert axes(largest("fsdp", multiple_of=4), (4, 6), (6, 3)) == [("fsdp", None), None]


def test_first_takes_the_first_answer():
    """So ranks may be told apart, and there may be a default."""
    by_rank = first(names("in", "out"), names("out"), largest("fsdp"))
    assert axes(by_rank, (2, 3), (3,), (2, 3, 4)) == [("in", "out"), ("out",), (None, None, "fsdp")]
    assert axes(first(names("a")), (2, 3)) == [None]


def test_own_axes_come_before_the_default():
    """`axes=` of a call wins, and `jscope.OFF` switches the default off."""

    def model(scope):
        scope = scope.with_defaults(partitioner=last("embed", "mlp"))
        scope.get_variable("a", (2, 3), axes=("x", None))
        scope.get_variable("b", (2, 3), partitioner=jscope.OFF)
        scope.get_variable("c", (2, 3), partitioner=names("y", "z"))

    assert [spec.axes for spec in jscope.specs(model).flat().values()] == [("x", None), None, ("y", "z")]


def test_stacked_axes_are_not_the_partitioners():
    """It sees the shape of one copy; the lift puts the name of its axis before what it says."""

    def layer(scope, x, _):
        return jnp.tanh(x @ scope.get_variable("w", (3, 3), partitioner=last("embed", "mlp"))), None

    def model(scope, x):
        return jscope.scan(layer, scope, x, length=2, axis="layers")[0]

    assert jscope.specs(model, jnp.ones(3))["w"].axes == ("layers", "embed", "mlp")


@pytest.mark.parametrize("make", [lambda: names("a", None), lambda: last("a"), lambda: largest("a", min_size=3)])
def test_partitioners_are_values(make):
    """Equal ones are equal and hash alike; unequal ones and other kinds are not; the repr makes them anew."""
    assert make() == make()
    assert hash(make()) == hash(make())
    assert make() != names("b")
    assert first(make()) == first(make())
    assert eval(repr(first(make())), vars(partitioners)) == first(make())
    assert names("a") != last("a")


def test_mistakes_are_named():
    """A tuple in place of names, and what cannot be called."""
    with pytest.raises(errors.InvalidArgumentError, match=r'names\("embed", "mlp"\); got \(\'a\', \'b\'\)'):
        names(("a", "b"))
    with pytest.raises(errors.InvalidArgumentError, match=r"takes partitioners, .* not 'embed'"):
        first("embed")


def test_partitioners_draw_nothing():
    """Names do not change initial values."""

    def model(scope, **options):
        return scope.get_variable("w", (4, 4), **options)

    plain, named = (jscope.init(model, jax.random.key(0), **o) for o in ({}, {"partitioner": largest("a")}))
    assert (plain["w"] == named["w"]).all()
