"""Everything behind a queue: the workers, the dispatcher, the status relay, and the brokers, bells and providers that
they speak to. Only the composition root (`api.bootstrap`) imports from here.
"""
