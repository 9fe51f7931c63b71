/*
 * cert: makes certificates with libcrypto. Called by the tests of TLS, on either side of the daemon.
 */
#include "e2e/cert.h"

#include <check.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <sys/stat.h>

#define DAY_S (24L * 3600)

static void add_extension(X509 *cert, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *extension;

    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    ck_assert_ptr_nonnull(extension);
    ck_assert_int_eq(X509_add_ext(cert, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static X509 *make(EVP_PKEY *key, const char *name, const char *alt_name, int valid_days)
{
    X509 *cert = X509_new();
    X509_NAME *subject = X509_get_subject_name(cert);

    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -2 * DAY_S);
    X509_gmtime_adj(X509_getm_notAfter(cert), valid_days * DAY_S);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(cert, subject);
    X509_set_pubkey(cert, key);
    add_extension(cert, NID_subject_alt_name, alt_name);
    return cert;
}

static void write_pair(X509 *cert, EVP_PKEY *key, const char *certificate_path, const char *key_path)
{
    FILE *file = fopen(certificate_path, "w");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(PEM_write_X509(file, cert), 1);
    fclose(file);
    file = fopen(key_path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fchmod(fileno(file), 0600), 0);
    ck_assert_int_eq(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(file);
}

void cert_make(const char *alt_name, int valid_days, const char *certificate_path, const char *key_path)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    X509 *cert;

    ck_assert_ptr_nonnull(key);
    cert = make(key, "claviger test", alt_name, valid_days);
    add_extension(cert, NID_basic_constraints, "critical,CA:TRUE");
    ck_assert_int_gt(X509_sign(cert, key, EVP_sha256()), 0);
    write_pair(cert, key, certificate_path, key_path);
    X509_free(cert);
    EVP_PKEY_free(key);
}

void cert_issue(const char *issuer_path, const char *issuer_key_path, const char *usage, int valid_days,
                const char *certificate_path, const char *key_path)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    FILE *file = fopen(issuer_path, "r");
    FILE *key_file = fopen(issuer_key_path, "r");
    X509 *issuer;
    EVP_PKEY *issuer_key;
    X509 *cert;

    ck_assert(key != NULL && file != NULL && key_file != NULL);
    issuer = PEM_read_X509(file, NULL, NULL, NULL);
    issuer_key = PEM_read_PrivateKey(key_file, NULL, NULL, NULL);
    ck_assert(issuer != NULL && issuer_key != NULL);
    fclose(file);
    fclose(key_file);
    cert = make(key, "claviger client", "DNS:client.test", valid_days);
    X509_set_issuer_name(cert, X509_get_subject_name(issuer));
    add_extension(cert, NID_ext_key_usage, usage);
    ck_assert_int_gt(X509_sign(cert, issuer_key, EVP_sha256()), 0);
    write_pair(cert, key, certificate_path, key_path);
    X509_free(cert);
    X509_free(issuer);
    EVP_PKEY_free(key);
    EVP_PKEY_free(issuer_key);
}
