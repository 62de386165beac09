"""The initializers of `tf` itself, which old code reaches through `slim.init_ops`."""

from jscope.tf1._arguments import constant_initializer as constant_initializer
from jscope.tf1._arguments import glorot_normal_initializer as glorot_normal_initializer
from jscope.tf1._arguments import glorot_uniform_initializer as glorot_uniform_initializer
from jscope.tf1._arguments import ones_initializer as ones_initializer
from jscope.tf1._arguments import orthogonal_initializer as orthogonal_initializer
from jscope.tf1._arguments import random_normal_initializer as random_normal_initializer
from jscope.tf1._arguments import random_uniform_initializer as random_uniform_initializer
from jscope.tf1._arguments import truncated_normal_initializer as truncated_normal_initializer
from jscope.tf1._arguments import uniform_unit_scaling_initializer as uniform_unit_scaling_initializer
from jscope.tf1._arguments import variance_scaling_initializer as variance_scaling_initializer
from jscope.tf1._arguments import zeros_initializer as zeros_initializer
