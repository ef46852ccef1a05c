"""Mutated sessions: recorded good ones, changed at random on both legs, played to the running gateway."""
