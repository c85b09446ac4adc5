# Starts wstest, the Autobahn TestSuite's command. Python 2.7, like the suite.
#
# wstest lacks two things that this launcher adds before it runs:
# it listens on every interface, and it imports OpenSSL even where no case needs TLS.

from __future__ import print_function

import sys
import types

try:
    from twisted.internet import ssl  # noqa: F401
except ImportError:
    # PyPy has no pyOpenSSL here. ws:// needs no more than a name to call.
    import twisted.internet

    stub = types.ModuleType("twisted.internet.ssl")
    stub.ClientContextFactory = lambda: None
    sys.modules[stub.__name__] = twisted.internet.ssl = stub

from autobahntestsuite import wstest  # installs the epoll reactor, so it comes first
from twisted.internet import reactor

listen_tcp = reactor.listenTCP


def listen_on_loopback(port, factory, backlog=50, interface="127.0.0.1"):
    listening = listen_tcp(port, factory, backlog, interface or "127.0.0.1")
    # The scripts wait for this line. A probing connection would count as a client.
    print("listening on ws://127.0.0.1:%d" % port)
    sys.stdout.flush()
    return listening


reactor.listenTCP = listen_on_loopback
wstest.run()
