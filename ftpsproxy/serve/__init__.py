"""The gateway as a whole: who is let in, how many, in which process, until when."""
