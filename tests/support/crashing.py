"""A program that crashes, as a demuxer does that frees what is not its own."""

import os

if __name__ == "__main__":
    os.abort()
