"""Attacks on the promises of the README's Security section, one file for each promise."""
