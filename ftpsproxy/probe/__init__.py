"""What a server is, found out step by step, and the settings by which the gateway works with it.

`steps` is what is said on the way; `link` a control connection with a limit for every wait; `reach` who is there at
all; `identity` what certificates it shows, and who vouches for them; `session` a session with a server that is verified
or pinned, `data` its data connections, `upload` a file up and down; `settings` what of all that has to be configured;
`probe` the order of it.

Before a server is verified or pinned it hears nothing but AUTH, QUIT and TLS. Nothing here prints.
"""

from ftpsproxy.probe.probe import Report, Request, run
from ftpsproxy.probe.session import Login
from ftpsproxy.probe.steps import Step

__all__ = ["Login", "Report", "Request", "Step", "run"]
