"""What `checkpoint.plan` calls certain is right; the values of one model under many names and layouts tell."""

import re

import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import checkpoint
from jscope.checkpoint import Conversion, safetensors
from jscope.checkpoint._planning._planner import plan
from jscope.cli import main
from jscope.errors import StructureMismatchError
from tests.checkpoint import namings, strangers

ALL = namings.TUNED | namings.OTHERS
VALUES = namings.values()
ROWS = {"certain", "likely", "undecided"}


class Arrays:
    """Arrays in memory as a reader."""

    path, metadata = "memory", {}

    def __init__(self, arrays):
        self.arrays = arrays

    def get_variable_to_shape_map(self):
        return {name: list(array.shape) for name, array in self.arrays.items()}

    def get_variable_to_dtype_map(self):
        return {name: array.dtype for name, array in self.arrays.items()}

    def has_tensor(self, name):
        return name in self.arrays

    def get_tensor(self, name):
        return self.arrays[name]

    def close(self):
        pass


def is_right(rules, ours, theirs):
    """Whether rules make arrays of ours, with the values that these have."""
    conversion = Conversion(rules)
    taken = {name: array for name, array in theirs.items() if conversion.takes(name)}
    try:
        made = conversion.plan(taken, ours)[-1]
        source = jscope.checkpoint._conversions._source.from_arrays(taken)
        arrays = {name: each.read(source, [(0, n) for n in each.type.shape]) for name, each in made.made.items()}
    except jscope.errors.JscopeError:
        return False
    return bool(arrays) and all(name in ours and np.array_equal(array, ours[name]) for name, array in arrays.items())


def judged(ours, theirs):
    """Each row, with whether what it proposes, or any of its candidates, is right."""
    rows = plan(jscope.tree.unflatten(ours), Arrays(theirs)).rows
    return [
        (row, any(is_right(rules, ours, theirs) for rules in ([row.rules] if row.rules else row.candidates)))
        for row in rows
    ]


def wrong_certain(ours, theirs):
    rows = plan(jscope.tree.unflatten(ours), Arrays(theirs)).rows
    return [row for row in rows if row.grade == "certain" and not is_right(row.rules, ours, theirs)]


def some(step, pairs=None):
    """Some pairs: all of them are slow."""
    every = [(a, b) for a, b in pairs or namings.pairs(ALL) if not ALL[a].fused]
    return [
        pytest.param(a, b, id=f"{a} from {b}", marks=() if n % step == 0 else pytest.mark.slow)
        for n, (a, b) in enumerate(every)
    ]


@pytest.mark.parametrize(("ours", "theirs"), some(1, namings.pairs(namings.TUNED)))
def test_every_row_is_right_or_lists_what_is(ours, theirs):
    """In namings that the vocabulary was made with, and what is certain or likely is right."""
    for row, right in judged(ALL[ours].arrays(VALUES), ALL[theirs].arrays(VALUES)):
        assert right, row


@pytest.mark.parametrize(("ours", "theirs"), some(12))
def test_certain_is_right_whatever_is_missing(ours, theirs):
    """A tenth, or a third, of the arrays."""
    here, there = ALL[ours].arrays(VALUES), ALL[theirs].arrays(VALUES)
    for share in (0, 0.1, 0.3):
        random = np.random.default_rng([len(ours), len(theirs), int(10 * share)])
        rest = {name: array for name, array in there.items() if random.random() >= share}
        assert not wrong_certain(here, rest)


@pytest.mark.parametrize(("ours", "theirs"), some(12))
def test_nothing_of_another_model_is_certain(ours, theirs):
    """Of a network of convolutions, and of one with some layers of this model's shapes."""
    here = ALL[ours].arrays(VALUES)
    _, other = namings.convnet()
    few = dict(list(ALL[theirs].arrays(namings.values(7)).items())[:6])
    for file in (other, other | few):
        assert not [row for row, _ in judged(here, file) if row.grade == "certain"]


STRANGERS = strangers.SEEN | strangers.LATER
NN = namings.pairs(strangers.OURS, STRANGERS)


def shared(ours, theirs, sizes=None):
    """The arrays of both, without positions that one of them has not."""
    here, there = (strangers.OURS | STRANGERS)[ours], (strangers.OURS | STRANGERS)[theirs]
    found = strangers.values(here.is_gated)
    if not here.is_gated and "-" in (here.names["pos"], there.names.get("pos")):
        found = {key: value for key, value in found.items() if key[0] != "pos"}
    return here.arrays(found), there.arrays(found if sizes is None else strangers.values(there.is_gated, 5, sizes))


def of_one_model(pairs):
    """The pairs that are of one model."""
    every = strangers.OURS | STRANGERS
    return [(a, b) for a, b in pairs if every[a].is_gated == every[b].is_gated]


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_what_others_call_it_is_listed(step):
    """For models of `jscope.nn`, files in many manners: 95 of 100 rows are right or list what is; none is wrong."""
    rows = [row for pair in of_one_model(NN)[::step] for row in judged(*shared(*pair))]
    assert not [row for row, right in rows if row.grade == "certain" and not right]
    assert sum(right for _, right in rows) >= 0.95 * len(rows)
    assert sum(row.grade == "certain" for row, _ in rows) >= 0.3 * len(rows)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0, 0.1, 0.3])
def test_nothing_certain_is_wrong_between_strangers(share):
    """Each from some others, with arrays missing."""
    rows = []
    for ours, theirs in of_one_model(namings.pairs(STRANGERS))[int(10 * share) :: 9]:
        here, there = shared(ours, theirs)
        random = np.random.default_rng([len(ours), len(theirs), int(10 * share)])
        rows += judged(here, {name: array for name, array in there.items() if random.random() >= share})
    assert not [row for row, right in rows if row.grade == "certain" and not right]
    # What is in one array on both sides may be in another order there; and what is missing is not listed.
    assert share or sum(right for _, right in rows) >= 0.93 * len(rows)


@pytest.mark.slow
def test_nothing_of_another_stranger_is_certain():
    """Of other sizes, or with other parts."""
    for ours, theirs in namings.pairs(strangers.OURS | STRANGERS)[::11]:
        rows = judged(*shared(ours, theirs, strangers.OTHER_SIZES))
        assert not [row for row, _ in rows if row.grade == "certain"], (ours, theirs)


@pytest.mark.parametrize("style", ["hash", "number"])
@pytest.mark.parametrize(("ours", "theirs"), some(24))
def test_unreadable_names_are_not_certain(style, ours, theirs):
    """And each row lists what is right, where arrays fit one by one: a stack cannot be made of what has no order."""
    random = np.random.default_rng(0)
    here, there = ALL[ours].arrays(VALUES), ALL[theirs].arrays(VALUES)
    names = [f"p_{n}" if style == "number" else f"x{random.bytes(5).hex()}" for n in random.permutation(len(there))]
    rows = judged(here, dict(zip(names, there.values(), strict=True)))
    assert {row.grade for row, _ in rows} <= ROWS - {"certain"}
    if not (ALL[ours].stacked or ALL[theirs].stacked or ALL[theirs].fused):
        assert all(right for _, right in rows)


Q, K, V = (np.arange(12.0).reshape(4, 3) + 100 * n for n in range(3))
WAYS = {
    "what they have apart, we have in one": (
        {"attn/qkv/kernel": np.concatenate([Q, K, V], 1)},
        {"attn.q_proj.weight": Q.T, "attn.k_proj.weight": K.T, "attn.v_proj.weight": V.T},
    ),
    "in one there, but of another attention": (
        {
            "cross/qkv/kernel": np.concatenate([K, V, Q], 1),
            "attn/query/kernel": Q,
            "attn/key/kernel": K,
            "attn/value/kernel": V,
        },
        {
            "cross.qkv.weight": np.concatenate([K, V, Q], 1).T,
            "attn.q.weight": Q.T,
            "attn.k.weight": K.T,
            "attn.v.weight": V.T,
        },
    ),
    "layers along another axis than the first": (
        {f"layers/{i}/mlp/up/kernel": x for i, x in enumerate((Q, K))},
        {"decoder/mlp/up/kernel": np.stack([Q, K], 1)},
    ),
    "numbers that count nothing": (
        {f"layers/{i}/attn/{part}/kernel": x + i for i in range(2) for part, x in (("query", Q), ("key", K))},
        {f"block.{i}.sub.0.attn.{part}.weight": (x + i).T for i in range(2) for part, x in (("q", Q), ("k", K))},
    ),
    "a number within a word": (
        {f"layers/{i}/up/kernel": Q + i for i in range(2)},
        {f"w2v2.layers.{i}.up.weight": (Q + i).T for i in range(2)},
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_is_laid_out_otherwise_is_found(way):
    """At least likely, and right."""
    rows = judged(*WAYS[way])
    assert all(right and row.grade != "undecided" for row, right in rows), rows


def by_head(of_theirs):
    """Query, key and value of one head beside each other: in one of the two, which have no axis of heads."""
    random, h, k, d = np.random.default_rng(0), 4, 3, 10
    parts = {p: (random.random((d, h * k)), random.random(h * k)) for p in ("query", "key", "value")}
    apart, whole = {}, {}
    for n, leaf in enumerate(("kernel", "bias")):
        each = [values[n].reshape(*values[n].shape[:-1], h, k) for values in parts.values()]
        fused = np.stack(each, -2).reshape(*each[0].shape[:-2], -1)
        apart |= {f"layers/0/attention/{part}/{leaf}": values[n] for part, values in parts.items()}
        whole[f"layers/0/attention/query_key_value/{leaf}"] = fused
    return (apart, whole) if of_theirs else (whole, apart)


@pytest.mark.parametrize("of_theirs", [True, False])
def test_how_many_heads_there_are_is_listed(of_theirs):
    """Where neither side has an axis of heads no shape tells it: a reference output does."""
    ours, theirs = by_head(of_theirs)
    rows = judged(ours, theirs)
    assert all(right and row.grade == "undecided" for row, right in rows), rows
    like = jscope.tree.unflatten(ours)
    proposal = plan(like, Arrays(theirs))
    text = "b=2 c=6, or b=3 c=4, or b=4 c=3, or b=6 c=2"
    assert text in str(proposal)
    assert f"\n# # {text}\n" in proposal.to_toml()
    proposal = plan(
        like,
        Arrays(theirs),
        check=lambda params: max(abs(x - ours[name]).max() for name, x in jscope.tree.flatten(params).items()),
    )
    assert {row.grade for row in proposal.rows} == {"certain"}
    assert all(is_right(row.rules, ours, theirs) for row in proposal.rows)


def test_a_reference_output_decides_what_they_have_apart():
    """Also where several arrays of theirs become one of ours."""
    ours, theirs = WAYS["what they have apart, we have in one"]
    (row,) = plan(
        jscope.tree.unflatten(ours),
        Arrays(theirs),
        check=lambda params: abs(params["attn"]["qkv"]["kernel"] - ours["attn/qkv/kernel"]).max(),
    ).rows
    assert (row.grade, row.reason) == ("certain", "the reference output")
    assert is_right(row.rules, ours, theirs)


def test_what_contains_all_tells_nothing_and_a_decoder_is_not_an_encoder():
    """A prefix of all names is left out; where there is an encoder, `decoder` is not."""
    shapes = {f"layers/{i}/{name}": np.ones((2, 3)) + n for i in range(3) for n, name in enumerate(("up/w", "gate/w"))}
    shapes |= {"norm/gamma": np.ones(3), "norm/beta": np.ones(3), "tok/w": np.ones((9, 3)), "pos/w": np.ones((7, 3))}
    inside = {f"zoo/{name}": array for name, array in shapes.items()}
    assert {row.grade for row in plan(jscope.tree.unflatten(shapes), Arrays(inside)).rows} == {"certain"}
    halves = {f"{half}/{name}": array for half in ("encoder", "decoder") for name, array in shapes.items()}
    other = {name: array for name, array in halves.items() if name.startswith("decoder")}
    mine = {name: array for name, array in halves.items() if name.startswith("encoder")}
    assert not [row for row in plan(jscope.tree.unflatten(mine), Arrays(other)).rows if row.grade == "certain"]


def test_a_network_of_convolutions():
    """Kernels of PyTorch have other axes; that those of the window keep their order is likely at best."""
    ours, theirs = namings.convnet()
    rows = judged(ours, theirs)
    assert all(right for _, right in rows)
    assert {row.grade for row, _ in rows if "conv" in row.ours} <= {"likely", "undecided"}


@pytest.mark.parametrize("name", ["layers/{}/lstm/kernel", "deconv/{}/kernel"])
def test_what_names_do_not_tell_is_not_certain(name):
    """The order of gates, and flips."""
    ours = {name.format(i): np.ones((2, 3)) for i in range(2)}
    assert [row.grade for row in plan(jscope.tree.unflatten(ours), Arrays(ours)).rows] == ["likely"]


def attention(scope, x):
    """A layer whose three square matrices all count."""
    q, k, v = (x @ (scope / "attention" / part).get_variable("kernel", (4, 4)) for part in ("query", "key", "value"))
    return jnp.tanh(q) * k**2 + v


@pytest.mark.parametrize("lie", [False, True])
def test_a_reference_output_decides(lie, tmp_path):
    """Square matrices, and query and key that were swapped."""
    model = jscope.transform(attention)
    random = np.random.default_rng(0)
    x = random.standard_normal((5, 4)).astype(np.float32)
    theirs = {part: random.standard_normal((4, 4)).astype(np.float32) for part in ("query", "key", "value")}
    names = {"query": "key", "key": "query"} if lie else {}
    params = {"attention": {part: {"kernel": theirs[names.get(part, part)].T} for part in theirs}}
    reference = model.apply(params, x)
    path = tmp_path / "x.safetensors"
    safetensors.save(path, {f"attn.{part}.weight": array for part, array in theirs.items()})

    def distance(params):
        return abs(model.apply(params, x) - reference).max()

    assert not checkpoint.plan(model.specs(x), path).is_decided
    proposal = checkpoint.plan(model.specs(x), path, check=distance)
    assert [row.grade for row in proposal.rows] == ["certain"] * 3
    assert not jscope.tree.diff(checkpoint.restore(model.specs(x), path, conversion=proposal.conversion), params)


def test_a_reference_output_that_nothing_fits_decides_nothing(tmp_path):
    """The nearest is told, and what was not certain stays so; NaN is far."""
    model, x = jscope.transform(attention), np.ones((2, 4), np.float32)
    path = tmp_path / "x.safetensors"
    safetensors.save(path, {f"attn.{part}.weight": np.eye(4, dtype=np.float32) for part in ("query", "key", "value")})
    for far in (3.0, float("nan")):
        proposal = checkpoint.plan(model.specs(x), path, check=lambda params, far=far: far)
        assert not proposal.conversion.rules
        assert all("nothing tried fits" in row.reason for row in proposal.rows)
    path2 = tmp_path / "y.safetensors"
    safetensors.save(path2, {"w": np.ones(3)})
    with pytest.raises(StructureMismatchError, match=r"nothing in .* for `attention/"):
        checkpoint.plan(model.specs(x), path2, check=lambda params: 0.0)


def test_what_is_written_is_read(tmp_path):
    """The TOML has the rules, and the rest in comments, whatever the names are."""
    ours, theirs = ALL["ours, stacked"].arrays(VALUES), ALL["gpt2"].arrays(VALUES)
    proposal = plan(jscope.tree.unflatten(ours), Arrays(theirs | {"odd\nname": np.ones(1)}))
    text = proposal.to_toml()
    assert Conversion.from_toml(text) == proposal.conversion
    assert len(re.findall("^# (certain|likely): ", text, re.MULTILINE)) == len(proposal.conversion.rules)
    assert proposal.unused
    assert "undecided" in text
    assert "undecided" in str(proposal)


def test_the_command_line_prints_the_table(tmp_path, capsys):
    """As TOML into a pipe; 1 is the status where something is undecided."""
    specs = jscope.specs(lambda scope: (scope / "norm").get_variable("gamma", (3,)))
    (tmp_path / "specs.json").write_text(specs.to_json())
    safetensors.save(tmp_path / "x.safetensors", {"ln_f.weight": np.ones(3, np.float32)})
    command = ["plan", str(tmp_path / "x.safetensors"), str(tmp_path / "specs.json")]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert [(rule.ours, rule.theirs) for rule in Conversion.from_toml(out).rules] == [("norm/gamma", "ln_f.weight")]
    assert "1 row: 1 certain, 0 likely, 0 undecided" in err
    safetensors.save(tmp_path / "x.safetensors", {"ln_f.weight": np.ones(4, np.float32)})
    assert main(command) == 1
    assert "# undecided: norm/gamma, no shape fits" in capsys.readouterr().out
