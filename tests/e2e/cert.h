/*
 * cert: self-signed certificates for fake providers that speak TLS.
 */
#ifndef E2E_CERT_H
#define E2E_CERT_H

/* Writes a certificate for that subjectAltName ("IP:127.0.0.1", "DNS:other.test") and its key, as PEM.
 * valid_days may be negative: it has expired then. Fails the test when that does not work. */
void cert_make(const char *alt_name, int valid_days, const char *certificate_path, const char *key_path);

#endif
