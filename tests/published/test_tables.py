"""The tables of `examples/models/tables`: what was published by others computes the same in ours, and comes back.

Their models were run in small by the programs in `oracle/`, with arrays that are drawn by name here as there.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import jscope
from examples.models import bert, resnet
from examples.models.tables import bert as bert_tables
from examples.models.tables import gpt2 as gpt2_tables
from examples.models.tables import llama as llama_tables
from examples.models.tables import resnet as resnet_tables
from jscope import checkpoint
from jscope.checkpoint import safetensors
from jscope.errors import StructureMismatchError
from tests import processes
from tests.checkpoint.layer_tables import CASES
from tests.checkpoint.test_conversions_files import check_devices
from tests.checkpoint.test_plan import Arrays
from tests.crossed import mostly_slow
from tests.published.apart import RANDOM
from tests.published.cases import CLASSES, load
from tests.published.models import BERT_ARGS, PUBLISHED, QUICK, SMALL, SMALL_BERT, SMALL_LLAMA


@pytest.mark.parametrize("name", mostly_slow(PUBLISHED, "gpt2", "bert_google", "llama_meta", "llama_tied", "vit"))
def test_ours_computes_what_theirs_does(tmp_path, name):
    """From a file of theirs, with params and state in one."""
    case, (arrays, outputs) = PUBLISHED[name], load(name)
    safetensors.save(tmp_path / "theirs.safetensors", arrays)
    values = checkpoint.restore(case.specs(), tmp_path / "theirs.safetensors", conversion=case.table(case.config))
    found = case.run(values)
    for key, expected in outputs.items():
        scale = max(1, np.abs(expected).max())
        np.testing.assert_allclose(np.asarray(found[key]) / scale, expected / scale, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", mostly_slow(PUBLISHED, "gpt2_openai", "bert_google", "llama_meta", "vit"))
def test_tables_are_taken_back(name):
    """In memory, bit for bit; what is tied to an array that is there comes besides, as its copy."""
    case, (arrays, _) = PUBLISHED[name], load(name)
    table = case.table(case.config)
    back = table.inverse.arrays(table.arrays(arrays))
    assert back.keys() - arrays.keys() <= set(case.tied)
    assert not jscope.tree.diff({key: back[key] for key in arrays}, arrays)
    assert table.inverse.inverse == table
    assert checkpoint.Conversion.from_toml(table.to_toml()) == table


@pytest.mark.parametrize("name", mostly_slow(PUBLISHED, "gpt2_openai", "bert_encoder", "llama_fused", "llama_meta"))
def test_files_are_taken_back(tmp_path, name):
    """Through a file of ours; and specs of ours tell what is in a file of theirs."""
    case, (arrays, _) = PUBLISHED[name], load(name)
    table = case.table(case.config)
    here, there, back = (tmp_path / f"{each}.safetensors" for each in ("here", "there", "back"))
    safetensors.save(there, arrays)
    values = checkpoint.restore(case.specs(), there, conversion=table)
    safetensors.save(here, values)
    safetensors.save(back, checkpoint.restore(values, here), conversion=table.inverse)
    with safetensors.open(back) as file:
        assert file.keys() - arrays.keys() <= set(case.tied)
        assert not jscope.tree.diff({key: file[key][...] for key in arrays}, arrays)
    told = case.specs().convert(table.inverse)
    assert {key: told[key].shape for key in arrays} == {key: each.shape for key, each in arrays.items()}


@pytest.mark.parametrize("name", mostly_slow(PUBLISHED, "gpt2_openai", "bert", "llama_fused", "llama_meta"))
def test_tables_on_eight_devices(tmp_path, name):
    """Both ways, each device gets its part."""
    case, (arrays, _) = PUBLISHED[name], load(name)
    table = case.table(case.config)
    # Without what is counted in int64, which devices have not; reading leaves it out anyway.
    arrays = {key: each for key, each in arrays.items() if each.dtype == np.float32}
    check_devices((table, arrays, table.arrays(arrays)), tmp_path)


@pytest.mark.slow
def test_tables_in_two_processes(tmp_path):
    """All that ship, and as many random ones as `JSCOPE_TABLES` says: each process reads what its devices have.

    See `apart.py`.
    """
    program, port = Path(__file__).parent / "apart.py", processes.free_port()
    printed = processes.run(
        *([program, rank, 2, port, tmp_path] for rank in range(2)), timeout=processes.TIMEOUT + RANDOM
    )
    assert all(f"{len(CASES) + len(QUICK)} tables, and {RANDOM} random ones" in each for each in printed)


KNOWN = ("gpt2", "bert", "llama", "llama_meta", "llama_tied", "vit")


@pytest.mark.parametrize("name", mostly_slow(PUBLISHED, *KNOWN))
def test_the_table_of_a_file_is_recognized(name):
    """Among the tables of all that was published, which fit the shapes of this model or do not."""
    case, (arrays, _) = PUBLISHED[name], load(name)
    # Of the same model, where sizes are: the tables of others would be refused for their names anyway.
    tables = {
        key: each.table(case.config if type(each.config) is type(case.config) else each.config)
        for key, each in PUBLISHED.items()
    }
    proposal = checkpoint.plan(case.specs(), Arrays(arrays), tables=tables)
    assert {row.grade for row in proposal.rows} == {"certain"}
    assert proposal.conversion == case.table(case.config)
    del arrays[next(iter(arrays))]
    assert checkpoint.plan(case.specs(), Arrays(arrays), tables=tables).recognized is None


WRONG = {
    "names without the prefix, of a file that has it": (
        "gpt2",
        gpt2_tables.hugging_face(SMALL, prefix=""),
        r"no array: +`wte.weight`, which is to be `embedding/embeddings`. Did you mean `transformer.wte.weight`",
    ),
    "matrices in one, of a file that has them apart": (
        "llama",
        llama_tables.hugging_face(SMALL_LLAMA, fused=True),
        r"no array: +`model.layers.{i}.self_attn.qkv_proj.weight`, which is to be `layers/attention/{part}/kernel`",
    ),
    "another number of heads": (
        "llama",
        llama_tables.hugging_face(replace(SMALL_LLAMA, kv_heads=4)),
        r"`layers/attention/key/kernel` is float32\[2, 16, 4, 2\], expected float32\[2, 16, 2, 4\]",
    ),
    "heads that do not divide": (
        "gpt2",
        gpt2_tables.hugging_face(replace(SMALL, heads=3)),
        r"Rule `layers/attention/{part}/kernel` from .*: 24 elements of `\(part h k\)` are not divisible by 9",
    ),
    "bottlenecks, of a file that has none": (
        "resnet18",
        resnet_tables.torchvision(resnet.Config(classes=CLASSES)),
        r"`layer1.0.conv2.weight` .*, which would be `stage_0/first/1/conv/kernel`, and the model has none",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_table_for_another_version_is_reported(tmp_path, what):
    """One report, which names the rule or the array."""
    name, table, message = WRONG[what]
    safetensors.save(tmp_path / "theirs.safetensors", load(name)[0])
    with pytest.raises(StructureMismatchError, match=message):
        checkpoint.restore(PUBLISHED[name].specs(), tmp_path / "theirs.safetensors", conversion=table)


@pytest.mark.parametrize("lacking", ["transformer.wpe.weight", "transformer.h.0.ln_1.weight"])
def test_arrays_that_are_missing_are_reported(tmp_path, lacking):
    """One alone, or one of a stack."""
    case, (arrays, _) = PUBLISHED["gpt2"], load("gpt2")
    del arrays[lacking]
    safetensors.save(tmp_path / "theirs.safetensors", arrays)
    message = "no array: +`transformer.wpe.weight`" if "wpe" in lacking else "1 values up to 1, but not 0"
    with pytest.raises(StructureMismatchError, match=message):
        checkpoint.restore(case.specs(), tmp_path / "theirs.safetensors", conversion=case.table(case.config))


def test_an_encoder_is_taken_out_of_a_file_for_pretraining(tmp_path):
    """Its heads are reported, unless they are dropped."""
    case, (arrays, _) = PUBLISHED["bert"], load("bert")
    table, specs = case.table(case.config), jscope.specs(bert.bert, *BERT_ARGS, SMALL_BERT)
    safetensors.save(tmp_path / "theirs.safetensors", arrays)
    with pytest.raises(StructureMismatchError, match=r"`cls.predictions.bias` .*, and the model has none"):
        checkpoint.restore(specs, tmp_path / "theirs.safetensors", conversion=table)
    alone = replace(table, drop=[*table.drop, "cls.{path...}"])
    params = checkpoint.restore(specs, tmp_path / "theirs.safetensors", conversion=alone)
    assert params["pooler"]["bias"].tolist() == arrays["bert.pooler.dense.bias"].tolist()


def test_old_names_of_norms_and_old_masks_are_known():
    """What is published as `bert-base-uncased` and as `gpt2` has names that no version writes today."""
    arrays, _ = load("bert")
    renamed = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): each
        for name, each in arrays.items()
    }
    renamed["bert.embeddings.position_ids"] = np.arange(6)[None]
    old = bert_tables.hugging_face(SMALL_BERT, gamma="gamma", beta="beta")
    assert not jscope.tree.diff(old.arrays(renamed), bert_tables.hugging_face(SMALL_BERT).arrays(arrays))
    arrays, _ = load("gpt2")
    bare = {name.removeprefix("transformer."): each for name, each in arrays.items()}
    masks = {f"h.{i}.attn.bias": np.tri(6)[None, None] for i in range(2)}
    published = gpt2_tables.hugging_face(SMALL, prefix="")
    assert not jscope.tree.diff(published.arrays(bare | masks), gpt2_tables.hugging_face(SMALL).arrays(arrays))
