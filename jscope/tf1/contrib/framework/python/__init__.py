"""Where TensorFlow keeps the parts of `tf.contrib.framework`, and old imports look for them."""
