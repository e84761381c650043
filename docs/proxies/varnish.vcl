# Varnish in front of Fantail. Event streams are piped: Varnish looks at the request, and then passes bytes on.
# Tested with Varnish 7.1. Replace addresses with yours. TLS ends in front of Varnish, as at hitch.
# With `pass`, or by default, Varnish takes all that a node writes into its memory, however slowly the client reads.
vcl 4.1;

import directors;

# A node that answers at all is well; what is in the way of one that is away is closed without an answer until the probe has seen it.
probe alive { .url = "/"; .interval = 1s; .window = 2; .threshold = 2; .initial = 2; }
backend one { .host = "127.0.0.1"; .port = "8080"; .probe = alive; }
# backend two { .host = "10.0.0.2"; .port = "8080"; .probe = alive; }

sub vcl_init {
    new fantail = directors.round_robin();
    fantail.add_backend(one);
    # fantail.add_backend(two);
}

sub vcl_recv {
    # /session is where a page makes a cookie of its token (--token-cookie).
    if (req.url ~ "^/(events|history|session)") {
        set req.backend_hint = fantail.backend();
        # X-Forwarded-For was appended. Start the nodes with --trusted-proxies and this proxy's address.
        return (pipe);
    }
}

sub vcl_pipe {
    # One request a connection: the next one may be for somebody else.
    set bereq.http.Connection = "close";
}
