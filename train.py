"""Reconstruct a head from a few photographs: headrecon from a checkout, `python train.py scene=demo views=3`."""

from recon.commands import entry

if __name__ == "__main__":
    entry.train()
