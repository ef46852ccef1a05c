"""Devices of the field, scripted byte by byte, played through the gateway."""
