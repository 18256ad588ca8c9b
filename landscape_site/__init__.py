"""The process around the audit application: settings, start-up, services. Knows no domain."""
