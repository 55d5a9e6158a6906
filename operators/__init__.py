"""The stages of Acuity as Holoscan operators, one a file: each translates its ports into one library call."""
