"""`tf.contrib.framework`: `arg_scope`, and the variables of models."""

from jscope.tf1 import nest as nest
from jscope.tf1._lazy import finder
from jscope.tf1._name_scopes import get_name_scope as get_name_scope
from jscope.tf1._steps import assert_global_step as assert_global_step
from jscope.tf1._steps import create_global_step as create_global_step
from jscope.tf1._steps import get_global_step as get_global_step
from jscope.tf1._steps import get_or_create_global_step as get_or_create_global_step
from jscope.tf1.contrib.framework._arg_scope import add_arg_scope as add_arg_scope
from jscope.tf1.contrib.framework._arg_scope import arg_scope as arg_scope
from jscope.tf1.contrib.framework._arg_scope import arg_scope_func_key as arg_scope_func_key
from jscope.tf1.contrib.framework._arg_scope import arg_scoped_arguments as arg_scoped_arguments
from jscope.tf1.contrib.framework._arg_scope import current_arg_scope as current_arg_scope
from jscope.tf1.contrib.framework._arg_scope import has_arg_scope as has_arg_scope
from jscope.tf1.contrib.framework._variables import add_model_variable as add_model_variable
from jscope.tf1.contrib.framework._variables import filter_variables as filter_variables
from jscope.tf1.contrib.framework._variables import get_local_variables as get_local_variables
from jscope.tf1.contrib.framework._variables import get_model_variables as get_model_variables
from jscope.tf1.contrib.framework._variables import get_trainable_variables as get_trainable_variables
from jscope.tf1.contrib.framework._variables import get_unique_variable as get_unique_variable
from jscope.tf1.contrib.framework._variables import get_variable_full_name as get_variable_full_name
from jscope.tf1.contrib.framework._variables import get_variables as get_variables
from jscope.tf1.contrib.framework._variables import get_variables_by_name as get_variables_by_name
from jscope.tf1.contrib.framework._variables import get_variables_by_suffix as get_variables_by_suffix
from jscope.tf1.contrib.framework._variables import get_variables_to_restore as get_variables_to_restore
from jscope.tf1.contrib.framework._variables import global_variable as global_variable
from jscope.tf1.contrib.framework._variables import local_variable as local_variable
from jscope.tf1.contrib.framework._variables import model_variable as model_variable
from jscope.tf1.contrib.framework._variables import variable as variable

__getattr__, __dir__ = finder("contrib.framework")
