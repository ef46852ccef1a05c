"""The data connections of sessions, and the transfers over them."""
