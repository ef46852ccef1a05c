"""Reading the log again: lines become events, events are chosen, and a view shows them.

Whatever stands in a log, nothing here keeps more of it than a bound allows, and nothing in it is fatal: what is no line
of ours is counted. Needs the extra `ftpsproxy[logs]`.
"""
