"""Local stand-ins for the world outside: a mailbox that speaks SMTP and an endpoint that speaks FCM."""
