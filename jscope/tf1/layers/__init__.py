"""`tf.layers`: layers as functions and as classes, with TensorFlow's names of variables; `jscope.nn` computes them."""

from jscope.tf1._lazy import finder
from jscope.tf1.layers._batch_norm import BatchNormalization as BatchNormalization
from jscope.tf1.layers._conv import Conv1D as Conv1D
from jscope.tf1.layers._conv import Conv2D as Conv2D
from jscope.tf1.layers._conv import Conv2DTranspose as Conv2DTranspose
from jscope.tf1.layers._conv import Conv3D as Conv3D
from jscope.tf1.layers._conv import Conv3DTranspose as Conv3DTranspose
from jscope.tf1.layers._conv import SeparableConv1D as SeparableConv1D
from jscope.tf1.layers._conv import SeparableConv2D as SeparableConv2D
from jscope.tf1.layers._dense import Dense as Dense
from jscope.tf1.layers._dense import Dropout as Dropout
from jscope.tf1.layers._dense import Flatten as Flatten
from jscope.tf1.layers._functions import average_pooling1d as average_pooling1d
from jscope.tf1.layers._functions import average_pooling2d as average_pooling2d
from jscope.tf1.layers._functions import average_pooling3d as average_pooling3d
from jscope.tf1.layers._functions import batch_normalization as batch_normalization
from jscope.tf1.layers._functions import conv1d as conv1d
from jscope.tf1.layers._functions import conv2d as conv2d
from jscope.tf1.layers._functions import conv2d_transpose as conv2d_transpose
from jscope.tf1.layers._functions import conv3d as conv3d
from jscope.tf1.layers._functions import conv3d_transpose as conv3d_transpose
from jscope.tf1.layers._functions import dense as dense
from jscope.tf1.layers._functions import dropout as dropout
from jscope.tf1.layers._functions import flatten as flatten
from jscope.tf1.layers._functions import max_pooling1d as max_pooling1d
from jscope.tf1.layers._functions import max_pooling2d as max_pooling2d
from jscope.tf1.layers._functions import max_pooling3d as max_pooling3d
from jscope.tf1.layers._functions import separable_conv1d as separable_conv1d
from jscope.tf1.layers._functions import separable_conv2d as separable_conv2d
from jscope.tf1.layers._layer import Layer as Layer
from jscope.tf1.layers._pool import AveragePooling1D as AveragePooling1D
from jscope.tf1.layers._pool import AveragePooling2D as AveragePooling2D
from jscope.tf1.layers._pool import AveragePooling3D as AveragePooling3D
from jscope.tf1.layers._pool import MaxPooling1D as MaxPooling1D
from jscope.tf1.layers._pool import MaxPooling2D as MaxPooling2D
from jscope.tf1.layers._pool import MaxPooling3D as MaxPooling3D

__getattr__, __dir__ = finder("layers")
