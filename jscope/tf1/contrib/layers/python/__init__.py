"""Where TensorFlow keeps the parts of `tf.contrib.layers`, and old imports look for them."""
