"""ResNet under the names of torchvision, and ResNet-50 under those of Keras.

A file of theirs has params and state. So has what is made of it: restore both in one, with `Specs` of both, and split
them by `specs.params` and `specs.state`. The tables are for blocks in one stack (`Config.scanned`).
"""

from jscope.checkpoint import Constant, Conversion, Rule

_TORCH = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
_KERAS = {"part": list(_TORCH)}


def torchvision(config):
    """Returns the table for `torchvision.models.resnet50` and the like.

    How many batches a norm has seen is nothing that ours counts: it is written as 0.
    """
    ours = ("0", "1", "2") if config.bottleneck else ("0", "2")
    parts = {"part": _TORCH}
    convs = {"n": {name: f"conv{i + 1}" for i, name in enumerate(ours)}}
    norms = {"n": {name: f"bn{i + 1}" for i, name in enumerate(ours)}}
    first, others = "layer{stage+1}.0.", "layer{stage+1}.{i+1}."
    rules = [
        Rule("stem/conv/kernel", "conv1.weight", "o c h w -> h w c o"),
        Rule("stem/norm/{part}", "bn1.{part}", where=parts),
        Rule("stage_{stage}/first/{n}/conv/kernel", first + "{n}.weight", "o c h w -> h w c o", where=convs),
        Rule("stage_{stage}/first/{n}/norm/{part}", first + "{n}.{part}", where=norms | parts),
        Rule("stage_{stage}/first/projection/conv/kernel", first + "downsample.0.weight", "o c h w -> h w c o"),
        Rule("stage_{stage}/first/projection/norm/{part}", first + "downsample.1.{part}", where=parts),
        Rule("stage_{stage}/blocks/{n}/conv/kernel", others + "{n}.weight", "o c h w -> i h w c o", where=convs),
        Rule("stage_{stage}/blocks/{n}/norm/{part}", others + "{n}.{part}", "d -> i d", where=norms | parts),
        Rule("logits/kernel", "fc.weight", "o d -> d o"),
        Rule("logits/bias", "fc.bias"),
    ]
    seen = Constant("{path...}.num_batches_tracked", 0, "int64", beside="{path...}.running_var")
    return Conversion(rules, constants=[seen])


def keras(config):
    """Returns the table for the paths of variables of `keras.applications.ResNet50`.

    A file has them if it was written from `{variable.path: variable.value for variable in model.variables}`; names in a
    `.weights.h5` are numbers. The model is `resnet.PUBLISHED["ResNet-50, Keras"]`.
    """
    del config
    names = {"n": {"0": "1", "1": "2", "2": "3", "projection": "0"}}
    first, others = "conv{stage+2}_block1_{n}_", "conv{stage+2}_block{i+2}_{n}_"
    kernel_or_bias = {"part": ["kernel", "bias"]}
    rules = [
        Rule("stem/conv/{part}", "conv1_conv/{part}", where=kernel_or_bias),
        Rule("stem/norm/{part}", "conv1_bn/{part}", where=_KERAS),
        Rule("stage_{stage}/first/{n}/conv/{part}", first + "conv/{part}", where=names | kernel_or_bias),
        Rule("stage_{stage}/first/{n}/norm/{part}", first + "bn/{part}", where=names | _KERAS),
        Rule("stage_{stage}/blocks/{n}/conv/kernel", others + "conv/kernel", "h w c o -> i h w c o", where=names),
        Rule("stage_{stage}/blocks/{n}/conv/bias", others + "conv/bias", "o -> i o", where=names),
        Rule("stage_{stage}/blocks/{n}/norm/{part}", others + "bn/{part}", "d -> i d", where=names | _KERAS),
        Rule("logits/{part}", "predictions/{part}", where=kernel_or_bias),
    ]
    return Conversion(rules, separators=("/", "/"))
