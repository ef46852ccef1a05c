"""Several gateways behind HAProxy, each machine a network namespace of its own, with the files of deploy/haproxy."""
