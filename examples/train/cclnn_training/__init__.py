"""The parts of the training loop. `loop` is the program; README.md beside this folder says what each part does."""
