/*
 * cert: certificates for fake providers that speak TLS, for the daemon and for clients.
 */
#ifndef E2E_CERT_H
#define E2E_CERT_H

/* Writes a self-signed certificate for that subjectAltName ("IP:127.0.0.1", "DNS:other.test") and its key, as
 * PEM. valid_days may be negative: it has expired then. Fails the test when that does not work. */
void cert_make(const char *alt_name, int valid_days, const char *certificate_path, const char *key_path);

/* The same for a certificate that the issuer's key signs; usage is "clientAuth" or "serverAuth". */
void cert_issue(const char *issuer_path, const char *issuer_key_path, const char *usage, int valid_days,
                const char *certificate_path, const char *key_path);

#endif
