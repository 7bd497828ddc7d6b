"""Command lines: arguments and printing, nothing else; `python -m recon.commands.NAME`, or the entry points."""
