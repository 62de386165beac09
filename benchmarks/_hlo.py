"""When two compiled programs are the same: equal in everything but names and metadata."""

from __future__ import annotations

import re
from collections import Counter

METADATA = re.compile(r", metadata=\{[^}]*\}")
TABLES = re.compile(r"(FileNames|FunctionNames|FileLocations|StackFrames|\d+ )")
NAMES = re.compile(r"%[\w.-]+|(?<![\w.%])[A-Za-z_][\w.-]*(?=: )")
OPERATION = re.compile(r"= \S+ ([\w-]+)\(")


def bare(text):
    r"""Returns the text of a compiled program with its names numbered, and without where they come from.

    >>> bare('HloModule jit_f\n%w.1 = f32[] parameter(0), metadata={op_name="w"}\nROOT %sin = f32[] sine(%w.1)')
    'HloModule\n%0 = f32[] parameter(0)\nROOT %1 = f32[] sine(%0)'
    """
    text = re.sub(r"(?m)^HloModule \S+", "HloModule", METADATA.sub("", text))
    names = {}
    text = NAMES.sub(lambda match: names.setdefault(match[0].lstrip("%"), f"%{len(names)}"), text)
    return "\n".join(line for line in text.splitlines() if line and not TABLES.match(line))


def operations(text):
    """Returns how often each operation stands in the text of a program.

    >>> operations("ROOT %sin = f32[] sine(%w.1)")
    Counter({'sine': 1})
    """
    return Counter(OPERATION.findall(text))
