"""The only writer of the audit trail.

Each public function opens its own transaction and joins the caller's if there is one; to make
several events one, wrap the calls in `transaction.atomic()`.
"""
