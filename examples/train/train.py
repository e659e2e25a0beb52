"""Train a super-resolution network of cclnn on folders of images. Read README.md beside this file first.

    python examples/train/train.py --data PHOTOS --out runs/small
    accelerate launch --num_processes 4 examples/train/train.py --preset paper --data DIV2K --out runs/paper

The program is cclnn_training/loop.py.
"""

from cclnn_training.loop import main

if __name__ == "__main__":
    main()
