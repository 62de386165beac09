"""What is wrong with a rule, a table or the arrays is told with the rule, what was found, and what was asked for."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jscope
from jscope.checkpoint import Constant, Conversion, ConversionError, Function, Rule
from tests.checkpoint.test_conversions_files import GPT2

RULES = {
    "lone brace": (lambda: Rule("a{", "b"), r"`a\{` has a `\{` that does not belong"),
    "unknown placeholder": (lambda: Rule("a{i!}", "b"), "does not belong to a placeholder"),
    "touching": (lambda: Rule("a{i}{j}", "b{i}{j}"), r"\{i\} and \{j\} touch"),
    "twice": (lambda: Rule("{i}/{i}", "{i}"), r"has \{i\} twice"),
    "one side": (lambda: Rule("a", "b.{i}"), r"\{i\} is in one name only.*give `axes`"),
    "stacked left": (lambda: Rule("a", "b.{i}", "i d -> d"), r"\{i\} is in their name only.*right of `->` only"),
    "split right": (lambda: Rule("a/{p}", "b", "d -> p d", where={"p": 2}), "left of `->` only"),
    "kept axis": (lambda: Rule("a/{i}", "b.{i}", "i d -> d i"), "in both names, so it is not an axis"),
    "axis lost": (lambda: Rule("a", "b", "d e -> d"), "`e` is an axis of one side only"),
    "axis twice": (lambda: Rule("a", "b", "d d -> d"), "has `d` twice on one side"),
    "no arrow": (lambda: Rule("a", "b", "d e"), "must have one `->`"),
    "number": (lambda: Rule("a", "b", "d 2 -> d 2"), "is wrong at `2`"),
    "ellipsis": (lambda: Rule("a", "b", "... d -> d ..."), "is wrong at"),
    "nested": (lambda: Rule("a", "b", "((a b) c) -> a b c"), "is wrong at"),
    "not closed": (lambda: Rule("a", "b", "(a b -> a b"), "not closed"),
    "open alone": (lambda: Rule("a/{x:s}", "b", "x d -> d"), "whose order nobody knows"),
    "kinds": (lambda: Rule("a/{x:s}", "b.{x}"), "part in one name and index in the other"),
    "format of values": (lambda: Rule("{x:02}", "{x}", where={"x": ["a"]}), "only an index has a format"),
    "offset of values": (lambda: Rule("{x+1}", "{x}", where={"x": ["a"]}), "only an index has an offset"),
    "unknown in where": (lambda: Rule("a", "b", where={"q": 2}), "`q` is in `where` or `order`, but in no name"),
    "petabytes": (lambda: Rule("a", "b", "(h k) -> h k", where={"h": 1 << 60}), "sizes are from 1 to"),
    "zero": (lambda: Rule("a", "b", "(h k) -> h k", where={"h": 0}), "sizes are from 1 to"),
    "values twice": (lambda: Rule("{x}", "{x}", where={"x": ["a", "a"]}), "value 'a' of `x` twice"),
    "spellings twice": (lambda: Rule("{x}", "{x}", where={"x": {"a": "c", "b": "c"}}), "value 'c' of `x` twice"),
    "where": (lambda: Rule("{x}", "{x}", where={"x": 1.5}), "it can be a size, a list"),
    "order": (lambda: Rule("a", "b", "d -> d", order={"d": [0, 2]}), "each of 0 to n-1 once"),
    "order of one side": (lambda: Rule("a", "b.{i}", "d -> i d", order={"i": [0, 1]}), "an axis of both sides"),
    "order without axes": (lambda: Rule("a/{d}", "b.{d}", order={"d": [0]}), "give `axes`"),
    "sizes without values": (lambda: Rule("a", "b", "(h k) -> h k", where={"h": {"q": 1}}), "there is none"),
    "sizes apart": (
        lambda: Rule("a/{p}", "b", "p h -> h", where={"p": ["q", "k"], "h": {"q": 2, "k": 1}}),
        "must come after it in one group",
    ),
    "dtype": (lambda: Rule("a", "b", dtype="float33"), "NumPy and JAX do not know"),
    "function": (lambda: Rule("a", "b", function="os.system('x')"), "cannot be the name of a function"),
    "function not given": (lambda: Rule("a", "b", function="pad"), "the function `pad` is not among"),
    "kind": (lambda: Rule("a", 3), "`theirs` must be a string, not 3"),
    "empty": (lambda: Rule("", "b"), "must be printable, and not empty"),
    "too open": (lambda: Rule("{a:s}-{b:s}-{c:s}-{d:s}-{e:s}", "x"), "more than 4 placeholders"),
}


@pytest.mark.parametrize("name", RULES)
def test_a_rule_that_contradicts_itself(name):
    """The message begins with the rule."""
    make, match = RULES[name]
    with pytest.raises(ConversionError, match=match) as caught:
        Conversion([make()])
    assert str(caught.value).startswith("Rule `")


ones = np.ones
ARRAYS = {
    "gap": (Rule("a", "b.{i}", "d -> i d"), {"b.0": ones(2), "b.2": ones(2)}, r"2 values up to 2, but not 1"),
    "huge index": (Rule("a", "b.{i}", "d -> i d"), {"b.0": ones(2), "b.99999999999": ones(2)}, "but not"),
    "grid": (Rule("a", "b.{i}.{j}", "-> i j"), {"b.0.0": ones(()), "b.1.1": ones(())}, "must be 4 arrays"),
    "lists": (Rule("a", "b.{x}", "d -> x d", where={"x": ["q", "k"]}), {"b.q": ones(2)}, "must be 2 arrays"),
    "not divisible": (Rule("a", "b", "(h k) -> h k", where={"h": 3}), {"b": ones(4)}, "4 elements.*divisible by 3"),
    "size": (Rule("a", "b", "h -> h", where={"h": 3}), {"b": ones(4)}, "`h` is 3 by the rule, and 4 in the array"),
    "count": (Rule("a", "b.{i}", "d -> i d", where={"i": 3}), {"b.0": ones(2)}, "1 arrays along {i}.*says 3"),
    "sizes missing": (Rule("a", "b", "(h k) -> h k"), {"b": ones(4)}, "size of `h` is not known"),
    "rank": (Rule("a", "b", "h k -> k h"), {"b": ones(4)}, r"unmatched:  `b` float64\[4\], but `b` has 2 axes"),
    "shapes differ": (Rule("a", "b.{i}", "d -> i d"), {"b.0": ones(2), "b.1": ones(3)}, "`d` is 2 by the rule, and 3"),
    "dtypes differ": (Rule("a", "b.{i}", "d -> i d"), {"b.0": ones(2), "b.1": ones(2, int)}, "is int64"),
    "dtype": (Rule("a", "b", dtype="float32 -> float64"), {"b": ones(2)}, "is float64.2., expected float32"),
    "target": (Rule("{p...}", "x.{p...}"), {"x....y": ones(2)}, "unmatched"),
    "upwards": (Rule("{x}/a", "{x}.a", where={"x": {"..": "up"}}), {"up.a": ones(2)}, r"'\.\./a' cannot be the name"),
    "many": (Rule("a/{p}", "b", "p d -> d", where={"p": 1 << 30}), {"b": ones((1 << 30, 0))}, "1,073,741,824 arrays"),
    "not taken apart": (Rule("{a:s}_{b:s}", "{a:s}.{b:s}"), {"x.y_z": ones(2)}, "would not be taken apart again"),
    "nothing": (Rule("a", "h.w"), {"h.v": ones(2)}, r"no array:   `h.w`, which is to be `a`. Did you mean `h.v`"),
    "near": (Rule("a", "h.w"), {"h.w": ones(2), "h.v": ones(2)}, r"`h.v` float64\[2\]\. Did you mean `h.w`\?"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_that_do_not_fit_a_rule(name):
    """The report has a line that says so."""
    rule, arrays, match = ARRAYS[name]
    with pytest.raises(jscope.errors.StructureMismatchError, match=match):
        Conversion([rule]).arrays(arrays)


def test_names_that_clash():
    """Two rules for one name of ours, or of theirs; and a name that would be a leaf and a scope."""
    arrays = {"x": ones(2), "y": ones(2)}
    with pytest.raises(jscope.errors.StructureMismatchError, match="made twice: `a`, from `x` and from `y`"):
        Conversion([Rule("a", "x"), Rule("a", "y")]).arrays(arrays)
    with pytest.raises(jscope.errors.StructureMismatchError, match="used twice: `x`, for `a` and for `b`"):
        Conversion([Rule("a", "x"), Rule("b", "x"), Rule("c", "y")]).arrays(arrays)
    with pytest.raises(jscope.errors.NameConflictError, match="is a leaf, but also a prefix"):
        jscope.tree.convert(arrays, Conversion([Rule("a", "x"), Rule("a/b", "y")]))


def test_a_table_for_another_version_of_the_model():
    """Every rule without arrays is told, with the nearest name; and every array without a rule."""
    new = {"h.0.attn.qkv.weight": ones((8, 24)), "h.0.ln_1.weight": ones(8), "ln_final.weight": ones(8)}
    with pytest.raises(jscope.errors.StructureMismatchError) as caught:
        GPT2.arrays(new)
    lines = str(caught.value).splitlines()
    assert len(lines) == 5
    assert "no array:   `ln_f.weight`, which is to be `norm/gamma`. Did you mean `ln_final.weight`" in lines[2]


def test_ties_are_checked():
    """What two names of theirs make must be equal; one of ours may be made into two of theirs."""
    table = Conversion([Rule("w", "wte"), Rule("w", "head", tied=True, optional=True)])
    w = np.arange(4.0)
    for arrays in ({"wte": w, "head": w.copy()}, jax.device_put({"wte": w, "head": w.copy()})):
        assert list(table.arrays(arrays)) == ["w"]
    assert list(table.arrays({"wte": w})) == ["w"]
    assert sorted(table.inverse.arrays({"w": w})) == ["head", "wte"]
    for arrays in ({"wte": w, "head": w + 1}, jax.device_put({"wte": w, "head": w + 1})):
        with pytest.raises(ConversionError, match="`wte` and `head` are tied, but their values differ"):
            table.arrays(arrays)
    with pytest.raises(jscope.errors.StructureMismatchError, match="is tied, and is"):
        table.arrays({"wte": w, "head": w[:2]})


def test_constants_come_back():
    """Reading leaves them out; writing makes them, beside what they belong to."""
    table = Conversion(
        [Rule("{p...}/mean", "{p...}.running_mean")],
        constants=[
            Constant("{p...}.num_batches_tracked", 0, "int64", beside="{p...}.running_mean"),
            Constant("position_ids", "range", "int32", (1, 3)),
        ],
    )
    theirs = {
        "a.b.running_mean": ones(2),
        "a.b.num_batches_tracked": np.array(0),
        "position_ids": np.arange(3, dtype=np.int32)[None],
    }
    ours = table.arrays(theirs)
    assert list(ours) == ["a/b/mean"]
    back = table.inverse.arrays(ours)
    assert {name: (each.dtype, each.tolist()) for name, each in back.items()} == {
        name: (each.dtype, each.tolist()) for name, each in theirs.items()
    }
    assert Conversion.from_toml(table.to_toml()) == table
    for wrong, match in (
        (lambda: Constant("x", "zeros"), "must be a number or"),
        (lambda: Constant("x", 0, "int3"), "is not a dtype"),
        (lambda: Constant("x", 0, shape=(1 << 40,)), "has more than"),
        (lambda: Constant("x", 0, shape=(-1,)), "must be a list of sizes"),
        (lambda: Conversion([], constants=[Constant("{i}.x", 0)]), "its `beside` does not have"),
    ):
        with pytest.raises(ConversionError, match=match):
            wrong()


def test_what_is_lost_is_told():
    """Narrower dtypes, functions and what is dropped; a dtype that comes back is not lost."""
    half = Function(lambda x: x / 2, lambda x: x * 2, lossy=True)
    table = Conversion(
        [Rule("a", "x", dtype="bfloat16 -> float32"), Rule("b", "y", dtype="float32"), Rule("c", "z", function="half")],
        drop=["mask"],
        functions={"half": half},
    )
    assert table.lossy == [
        "`b` from `y`: any dtype becomes float32",
        "`c` from `z`: `half` is lossy",
        "`mask` is dropped",
    ]
    assert table.inverse.lossy[0] == "`x` from `a`: float32 becomes bfloat16"
    theirs = {"x": jax.numpy.ones(2, "bfloat16"), "y": ones(2, "float16"), "z": ones(2, "float32"), "mask": ones(1)}
    ours = table.arrays(theirs)
    assert {name: str(each.dtype) for name, each in ours.items()} == dict.fromkeys("abc", "float32")
    assert table.inverse.arrays(ours)["x"].dtype == "bfloat16"
    no_way_back = Conversion([Rule("c", "z", function="half")], functions={"half": Function(half.forward)})
    with pytest.raises(jscope.errors.StructureMismatchError, match="`half` has no inverse"):
        no_way_back.inverse.arrays({"c": ones(2, "float32")})


TOML = {
    "not toml": ("[[rule]", "is not TOML"),
    "twice": ('drop = []\ndrop = ["a"]', "is not TOML.*A key that is there twice"),
    "unknown key": ('[[rule]]\nours = "a"\ntheirs = "b"\naxis = ""', "of `a` has the key `axis`.*Did you mean `axes`"),
    "unknown table": ("[rules]", r"has the key `rules`"),
    "lacking": ('[[rule]]\nours = "a"', r"of `a` lacks `theirs`; it has ours"),
    "kind": ('[[rule]]\nours = "a"\ntheirs = 3', "`theirs` must be a string"),
    "not tables": ('rule = ["a"]', "must be tables"),
    "separators": ('separators = ["/"]', "must be two texts"),
    "list": ('drop = "a"', "must be a list"),
    "then": ("then = 3", "must be a table of what follows"),
    "deep": ("drop = " + "[" * 100_000, "is not TOML"),
}


@pytest.mark.parametrize("name", TOML)
def test_a_table_that_is_not_one(name):
    """The message says what is wrong with it."""
    text, match = TOML[name]
    with pytest.raises(ConversionError, match=match):
        Conversion.from_toml(text)


@settings(max_examples=200)
@given(st.text("{}abi+:_0.s/ ", max_size=12), st.text("abi()->1 ", max_size=16))
def test_any_text_is_a_rule_or_an_error(name, axes):
    """Never another error, whatever is written."""
    try:
        table = Conversion([Rule(name, name, axes)])
    except ConversionError:
        return
    assert table.inverse.inverse == table
    assert Conversion.from_toml(table.to_toml()) == table


def test_a_table_prints_what_it_says():
    """Names, axes, and what else there is."""
    rows = [" ".join(line.split()) for line in str(GPT2).splitlines()]
    assert rows == [
        "ours theirs axes notes",
        "layers/attention/{part}/kernel h.{i}.attn.c_attn.weight d (part h k) -> i d h k part: query key value, h: 4",
        "layers/{norm}/gamma h.{i}.{norm}.weight d -> i d norm: attention_norm=ln_1 mlp_norm=ln_2",
        "norm/gamma ln_f.weight",
        "h.{i}.attn.bias dropped",
    ]
