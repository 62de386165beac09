"""What a model costs, by scope, before anything runs: see `summary`."""

from jscope._summary._graph import Graph as Graph
from jscope._summary._summary import Amounts as Amounts
from jscope._summary._summary import Row as Row
from jscope._summary._summary import Summary as Summary
from jscope._summary._summary import summary as summary
from jscope._summary._trace import equations_of as equations_of
