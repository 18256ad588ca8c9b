"""Django's PostgreSQL backend, with named errors and a client that does not wait for ever."""
