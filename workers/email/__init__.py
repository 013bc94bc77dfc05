"""The Email Service: takes claimed notifications from `email.queue`, writes the mail and hands it to a provider.

`service` renders and decides, `mime` and `headers` write the bytes, and each provider has a file of its own. The
package shares its name with one of the standard library's: imports are absolute, and no file here is run as a script.
"""
