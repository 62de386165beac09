"""TensorFlow 1's variable scopes, on JAX: the same names, the same sharing, the same defaults, the same errors.

Code written for `tf.compat.v1` runs inside `tf1.transform(f)`, where `f` takes no scope. `docs/from_tf1.md` is the
guide.
"""

from jax.numpy import bfloat16 as bfloat16
from jax.numpy import complex64 as complex64
from jax.numpy import float16 as float16
from jax.numpy import float32 as float32
from jax.numpy import float64 as float64
from jax.numpy import int8 as int8
from jax.numpy import int16 as int16
from jax.numpy import int32 as int32
from jax.numpy import int64 as int64
from jax.numpy import uint8 as uint8
from jax.numpy import uint16 as uint16
from jax.numpy import uint32 as uint32
from jax.numpy import uint64 as uint64

from jscope.tf1 import contrib as contrib
from jscope.tf1 import initializers as initializers
from jscope.tf1 import losses as losses
from jscope.tf1 import train as train
from jscope.tf1._arguments import VariableAggregation as VariableAggregation
from jscope.tf1._arguments import VariableSynchronization as VariableSynchronization
from jscope.tf1._arguments import constant_initializer as constant_initializer
from jscope.tf1._arguments import glorot_normal_initializer as glorot_normal_initializer
from jscope.tf1._arguments import glorot_uniform_initializer as glorot_uniform_initializer
from jscope.tf1._arguments import no_regularizer as no_regularizer
from jscope.tf1._arguments import ones_initializer as ones_initializer
from jscope.tf1._arguments import orthogonal_initializer as orthogonal_initializer
from jscope.tf1._arguments import random_normal_initializer as random_normal_initializer
from jscope.tf1._arguments import random_uniform_initializer as random_uniform_initializer
from jscope.tf1._arguments import truncated_normal_initializer as truncated_normal_initializer
from jscope.tf1._arguments import uniform_unit_scaling_initializer as uniform_unit_scaling_initializer
from jscope.tf1._arguments import variance_scaling_initializer as variance_scaling_initializer
from jscope.tf1._arguments import zeros_initializer as zeros_initializer
from jscope.tf1._collections import GraphKeys as GraphKeys
from jscope.tf1._collections import add_to_collection as add_to_collection
from jscope.tf1._collections import add_to_collections as add_to_collections
from jscope.tf1._collections import get_collection as get_collection
from jscope.tf1._collections import get_collection_ref as get_collection_ref
from jscope.tf1._collections import global_variables as global_variables
from jscope.tf1._collections import local_variables as local_variables
from jscope.tf1._collections import model_variables as model_variables
from jscope.tf1._collections import trainable_variables as trainable_variables
from jscope.tf1._creators import variable_creator_scope as variable_creator_scope
from jscope.tf1._entering import variable_op_scope as variable_op_scope
from jscope.tf1._entering import variable_scope as variable_scope
from jscope.tf1._errors import ArgumentError as ArgumentError
from jscope.tf1._errors import ArgumentTypeError as ArgumentTypeError
from jscope.tf1._errors import MissingReuseError as MissingReuseError
from jscope.tf1._errors import NestingError as NestingError
from jscope.tf1._errors import NoGraphError as NoGraphError
from jscope.tf1._get_variable import get_local_variable as get_local_variable
from jscope.tf1._get_variable import get_variable as get_variable
from jscope.tf1._name_scopes import name_scope as name_scope
from jscope.tf1._partition import fixed_size_partitioner as fixed_size_partitioner
from jscope.tf1._partition import min_max_variable_partitioner as min_max_variable_partitioner
from jscope.tf1._partition import variable_axis_size_partitioner as variable_axis_size_partitioner
from jscope.tf1._scopes import AUTO_REUSE as AUTO_REUSE
from jscope.tf1._scopes import VariableScope as VariableScope
from jscope.tf1._scopes import get_variable_scope as get_variable_scope
from jscope.tf1._shapes import Dimension as Dimension
from jscope.tf1._shapes import TensorShape as TensorShape
from jscope.tf1._template import Template as Template
from jscope.tf1._template import make_template as make_template
from jscope.tf1._transform import current_scope as current_scope
from jscope.tf1._transform import scoped as scoped
from jscope.tf1._transform import transform as transform
from jscope.tf1._transform import transform_with_state as transform_with_state
from jscope.tf1._variables import Variable as Variable
from jscope.tf1.losses import RegularizationLoss as RegularizationLoss
