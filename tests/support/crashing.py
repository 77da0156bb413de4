"""A program that crashes, like a demuxer that frees the wrong memory."""

import os

if __name__ == "__main__":
    os.abort()
