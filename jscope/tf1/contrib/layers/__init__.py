"""`tf.contrib.layers`: layers with `weights` and `biases`, normalizations, initializers and regularizers."""

from jscope.tf1._lazy import finder
from jscope.tf1.contrib.layers import initializers as initializers
from jscope.tf1.contrib.layers import regularizers as regularizers
from jscope.tf1.contrib.layers import utils as utils
from jscope.tf1.contrib.layers._conv import avg_pool2d as avg_pool2d
from jscope.tf1.contrib.layers._conv import avg_pool3d as avg_pool3d
from jscope.tf1.contrib.layers._conv import conv1d as conv1d
from jscope.tf1.contrib.layers._conv import conv2d as conv2d
from jscope.tf1.contrib.layers._conv import conv2d_in_plane as conv2d_in_plane
from jscope.tf1.contrib.layers._conv import conv2d_transpose as conv2d_transpose
from jscope.tf1.contrib.layers._conv import conv3d as conv3d
from jscope.tf1.contrib.layers._conv import conv3d_transpose as conv3d_transpose
from jscope.tf1.contrib.layers._conv import convolution as convolution
from jscope.tf1.contrib.layers._conv import convolution1d as convolution1d
from jscope.tf1.contrib.layers._conv import convolution2d as convolution2d
from jscope.tf1.contrib.layers._conv import convolution2d_in_plane as convolution2d_in_plane
from jscope.tf1.contrib.layers._conv import convolution2d_transpose as convolution2d_transpose
from jscope.tf1.contrib.layers._conv import convolution3d as convolution3d
from jscope.tf1.contrib.layers._conv import convolution3d_transpose as convolution3d_transpose
from jscope.tf1.contrib.layers._conv import max_pool2d as max_pool2d
from jscope.tf1.contrib.layers._conv import max_pool3d as max_pool3d
from jscope.tf1.contrib.layers._conv import separable_conv2d as separable_conv2d
from jscope.tf1.contrib.layers._conv import separable_convolution2d as separable_convolution2d
from jscope.tf1.contrib.layers._dense import bias_add as bias_add
from jscope.tf1.contrib.layers._dense import dropout as dropout
from jscope.tf1.contrib.layers._dense import flatten as flatten
from jscope.tf1.contrib.layers._dense import fully_connected as fully_connected
from jscope.tf1.contrib.layers._dense import linear as linear
from jscope.tf1.contrib.layers._dense import maxout as maxout
from jscope.tf1.contrib.layers._dense import one_hot_encoding as one_hot_encoding
from jscope.tf1.contrib.layers._dense import repeat as repeat
from jscope.tf1.contrib.layers._dense import softmax as softmax
from jscope.tf1.contrib.layers._dense import stack as stack
from jscope.tf1.contrib.layers._dense import unit_norm as unit_norm
from jscope.tf1.contrib.layers._features import embed_sequence as embed_sequence
from jscope.tf1.contrib.layers._features import spatial_softmax as spatial_softmax
from jscope.tf1.contrib.layers._norm import batch_norm as batch_norm
from jscope.tf1.contrib.layers._norm import group_norm as group_norm
from jscope.tf1.contrib.layers._norm import instance_norm as instance_norm
from jscope.tf1.contrib.layers._norm import layer_norm as layer_norm
from jscope.tf1.contrib.layers.initializers import variance_scaling_initializer as variance_scaling_initializer
from jscope.tf1.contrib.layers.initializers import xavier_initializer as xavier_initializer
from jscope.tf1.contrib.layers.initializers import xavier_initializer_conv2d as xavier_initializer_conv2d
from jscope.tf1.contrib.layers.regularizers import apply_regularization as apply_regularization
from jscope.tf1.contrib.layers.regularizers import l1_l2_regularizer as l1_l2_regularizer
from jscope.tf1.contrib.layers.regularizers import l1_regularizer as l1_regularizer
from jscope.tf1.contrib.layers.regularizers import l2_regularizer as l2_regularizer
from jscope.tf1.contrib.layers.regularizers import sum_regularizer as sum_regularizer

__getattr__, __dir__ = finder("contrib.layers")
