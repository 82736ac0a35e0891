"""What every system is asked when it trains: its arguments, and the device. Knows no system."""

import argparse
from pathlib import Path

import torch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the text, the time, the share of the text that is held out, and the seed."""
    parser.add_argument("text", type=Path)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--held-out", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)


def find_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
