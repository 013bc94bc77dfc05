"""The broker: its topology as data, and two adapters of `domain.ports.Broker` that obey it.

`rabbitmq` is for many machines, `memory` for one process. One contract suite (`tests/contracts/test_broker.py`) holds
both to the same promises.
"""
